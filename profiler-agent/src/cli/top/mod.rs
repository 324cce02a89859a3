//! `profiler-agent top`: what is hottest now, as a table that renews itself.
//!
//! - [`asking`] asks the running agent, again and again, on a thread beside the screen.
//! - [`table`] makes lines of an answer; [`plain`] prints them, [`screen`] draws them in a terminal.

mod asking;
mod plain;
mod screen;
mod table;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use self::asking::Question;
use self::table::Sort;
use crate::http::client::{Client, DEFAULT_SOCKET};

const EXAMPLES: &str = "\
Examples:
  profiler-agent top                       the whole host, renewed every 2 s; q leaves
  profiler-agent top --service redis       one service
  profiler-agent top --sort off-cpu        what waits most
  profiler-agent top --once --interval 10s > now.txt";

/// Show what is hottest now, in a table that renews itself
///
/// Asks the agent that runs on this host (`profiler-agent run`). On-CPU time is told in CPUs, off-CPU
/// time in threads that wait; the two are never added up.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct TopArgs {
    /// Of one service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,

    /// Of one process
    #[arg(long)]
    pid: Option<u32>,

    /// How long each table looks, whole seconds
    #[arg(long, default_value = "2s", value_name = "TIME", value_parser = interval)]
    interval: Duration,

    /// Print one table and end
    #[arg(long)]
    once: bool,

    /// What stands first
    #[arg(long, value_enum, default_value_t = SortArg::OnCpu)]
    sort: SortArg,

    /// The agent's socket
    #[arg(long, default_value = DEFAULT_SOCKET, value_name = "PATH")]
    socket: PathBuf,
}

/// `--sort`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SortArg {
    /// Time on the CPU
    OnCpu,
    /// Time off the CPU
    OffCpu,
}

/// Runs the command.
///
/// # Errors
/// For the user: no agent, or a terminal that cannot be used.
pub fn run(args: &TopArgs) -> anyhow::Result<()> {
    let question = Question {
        client: Client::new(&args.socket),
        service: args.service.clone(),
        pid: args.pid,
        interval: args.interval,
    };
    let sort = match args.sort {
        SortArg::OnCpu => Sort::OnCpu,
        SortArg::OffCpu => Sort::OffCpu,
    };
    if args.once {
        let top = question.ask_blocking()?;
        return plain::print(&top, sort).map(drop);
    }
    if std::io::stdout().is_terminal() && std::io::stdin().is_terminal() {
        return screen::show(question, sort);
    }
    // In a pipe: one table after the other, until nobody reads them.
    loop {
        let top = question.ask_blocking()?;
        if !plain::print(&top, sort)? {
            return Ok(());
        }
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| format!("{error}, such as 2s"))?;
    let whole = time.subsec_nanos() == 0 && (1..=60).contains(&time.as_secs());
    if whole { Ok(time) } else { Err("whole seconds from 1s to 60s, please".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_in_whole_seconds() {
        assert_eq!(interval("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(interval("1min"), Ok(Duration::from_secs(60)));
        for text in ["0s", "500ms", "1500ms", "2min", "two"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }

    #[test]
    fn without_an_agent_it_says_how_to_start_one() {
        let directory = tempfile::tempdir().unwrap();
        let args = TopArgs {
            service: None,
            pid: None,
            interval: Duration::from_secs(1),
            once: true,
            sort: SortArg::OnCpu,
            socket: directory.path().join("agent.sock"),
        };
        let error = run(&args).unwrap_err().to_string();
        assert!(error.contains("profiler-agent run"), "{error}");
    }
}
