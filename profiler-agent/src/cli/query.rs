//! `profiler-agent query`: what the host did, from the windows that the running agent keeps.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use jiff::Zoned;
use profiler_proto::pprof::{Profile, decode};

use super::args::{RootArg, format_parser};
use super::drawing::{color_wanted, draw, format_of};
use super::output::Output;
use super::stored::{Picked, Question, answer};
use super::when::{Asked, shown_unix_ns};
use crate::http::client::{Client, ClientError, DEFAULT_SOCKET};
use crate::model::choice::EventChoice;
use crate::model::query::{Filter, Range};
use crate::store::Reader;
use crate::view::{Format, Options, Root};

/// How long the agent may take for an answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Threads that merge the windows of a directory.
const MOST_THREADS: usize = 4;

/// Where an agent keeps its windows when nothing else is said.
const DEFAULT_STORE: &str = "/var/lib/profiler-agent/store";

const EXAMPLES: &str = "\
Examples:
  profiler-agent query --last 10m                              the hottest functions of ten minutes
  profiler-agent query --from 03:10 --to 03:20 -o night.svg    a flame graph of last night
  profiler-agent query --last 1h --service redis --event off-cpu
  profiler-agent query --store /mnt/store --from 2026-11-24T03:10 --to 04:00 -o host.pb.gz";

/// Show what the host did: from the windows that the running agent keeps
///
/// Asks the agent that runs on this host; where none runs, its store is read directly. A time of day is
/// the last such one; without an end it is until now, without any time it is the last hour. Windows are
/// taken whole.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct QueryArgs {
    /// From when: 03:10, 2026-11-24T03:10, or with an offset
    #[arg(long, value_name = "TIME", conflicts_with = "last")]
    from: Option<String>,

    /// Until when [default: now]
    #[arg(long, value_name = "TIME", conflicts_with = "last", requires = "from")]
    to: Option<String>,

    /// The time until now: 10m, 1h
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    last: Option<Duration>,

    /// Of one service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,

    /// Of one process
    #[arg(long)]
    pid: Option<u32>,

    /// With this label: comm, thread, tid, cgroup, state, …; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    label: Vec<(String, String)>,

    /// Which time
    #[arg(long, value_enum, default_value_t = EventArg::Wall)]
    event: EventArg,

    /// Functions in the table
    #[arg(long, default_value_t = 20, value_name = "N")]
    top: usize,

    /// What to show [default: by the ending of --output, else text]
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    format: Option<Format>,

    /// Where to write it; `-` is standard output [default: -]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// What stands at the root of the stacks [default: thread where both kinds of time are shown, else
    /// host]
    #[arg(long, value_enum)]
    root: Option<RootArg>,

    /// Read the store in this directory, and ask no agent
    #[arg(long, value_name = "DIRECTORY")]
    store: Option<PathBuf>,

    /// The agent's socket
    #[arg(long, default_value = DEFAULT_SOCKET, value_name = "PATH")]
    socket: PathBuf,
}

/// `--event`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EventArg {
    /// Time on the CPU
    OnCpu,
    /// Time off the CPU
    OffCpu,
    /// Both, side by side
    Wall,
}

impl From<EventArg> for EventChoice {
    fn from(event: EventArg) -> Self {
        match event {
            EventArg::OnCpu => Self::OnCpu,
            EventArg::OffCpu => Self::OffCpu,
            EventArg::Wall => Self::Wall,
        }
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
/// For the user: a time that cannot be meant, no store, nothing in that time.
pub fn run(args: QueryArgs) -> anyhow::Result<()> {
    let output = Output::prepare(args.output.as_deref().unwrap_or("-".as_ref()))?;
    let format = format_of(args.format, args.output.as_deref())?;
    let asked = Asked { from: args.from.clone(), to: args.to.clone(), last: args.last };
    let range = asked.range(&Zoned::now())?;
    let filter = Filter {
        pid: args.pid,
        service: args.service.clone(),
        labels: args.label.clone(),
        event: args.event.into(),
    };
    let profile = profile(&args, range, filter)?;
    let options = Options {
        root: args.root.map(Root::from),
        pid: args.pid,
        top: args.top,
        color: output.is_stdout() && color_wanted(),
        ..Options::default()
    };
    draw(&output, format, &profile, &options)?;
    if !output.is_stdout() {
        let start = shown_unix_ns(u64::try_from(profile.time_nanos).unwrap_or_default());
        let length = profile.duration_nanos / 1_000_000_000;
        eprintln!("{output}: {length} s of windows, from {start}");
    }
    Ok(())
}

fn profile(args: &QueryArgs, range: Range, filter: Filter) -> anyhow::Result<Profile> {
    if let Some(directory) = &args.store {
        return read(directory, range, filter);
    }
    match ask(&args.socket, range, &filter) {
        Ok(profile) => Ok(profile),
        Err(no_agent @ ClientError::NoAgent { .. }) => {
            let directory = Path::new(DEFAULT_STORE);
            if !directory.exists() {
                bail!(
                    "{no_agent}; and there is no store in {DEFAULT_STORE}: name one with --store"
                );
            }
            read(directory, range, filter)
        }
        Err(error) => Err(error.into()),
    }
}

/// Asks the agent that runs.
fn ask(socket: &Path, range: Range, filter: &Filter) -> Result<Profile, ClientError> {
    let moment = |ns: u64| format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
    let (from, to) = (moment(range.from_unix_ns), moment(range.to_unix_ns));
    let pid = filter.pid.map(|pid| pid.to_string());
    let labels: Vec<String> = filter.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let event = filter.event.name();
    let mut parameters =
        vec![("from", &*from), ("to", &*to), ("event", event), ("format", Format::Pprof.name())];
    parameters.extend(pid.as_deref().map(|pid| ("pid", pid)));
    parameters.extend(filter.service.as_deref().map(|service| ("service", service)));
    parameters.extend(labels.iter().map(|label| ("label", &**label)));
    let bytes = Client::new(socket).get_blocking("/api/v1/query", &parameters, PATIENCE)?;
    let broken = |error: profiler_proto::pprof::DecodeError| ClientError::Broken {
        socket: socket.to_path_buf(),
        why: error.to_string(),
    };
    decode(&bytes).map_err(broken)
}

/// Reads a store in which no agent need be at work.
fn read(directory: &Path, range: Range, filter: Filter) -> anyhow::Result<Profile> {
    let reader = Reader::open(directory)?;
    for problem in reader.problems() {
        eprintln!("profiler-agent: left out: {problem}");
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    let question = Question { picked: Picked::Touched(range), filter, deadline: None, threads };
    answer(&reader, &question).with_context(|| format!("the store {}", directory.display()))
}

#[cfg(test)]
mod tests;
