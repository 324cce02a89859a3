//! `burst`: asks the running agent for more samples for a while.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use crate::http::BurstStarted;
use crate::http::client::{Client, DEFAULT_SOCKET};

const EXAMPLES: &str = "\
Examples:
  profiler-agent burst                                 as configured: 1000 Hz for 30 s
  profiler-agent burst --frequency 500 --duration 1m
  profiler-agent burst --pid 4242                      of one process; the others are sampled as before";

/// The agent answers at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sample faster for a while, for an incident; it is over by itself
///
/// Asks the agent that runs on this host (`profiler-agent run`). A burst that is asked for while one is on
/// extends it. SIGUSR1 asks for the same, as configured under `[burst]`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct BurstArgs {
    /// Samples per second and CPU, 1 to 10000 [default: burst.frequency of the agent]
    #[arg(long, value_name = "HZ", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    frequency: Option<u32>,

    /// For how long, 1s to 10m [default: burst.duration of the agent]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,

    /// Only of this process
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pid: Option<u32>,

    /// The agent's socket
    #[arg(long, default_value = DEFAULT_SOCKET, value_name = "PATH")]
    socket: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// For the user: there is no agent, or it refused.
pub fn run(args: &BurstArgs) -> anyhow::Result<()> {
    let asked = [
        ("frequency", args.frequency.map(|hz| hz.to_string())),
        ("duration", args.duration.map(|time| humantime::format_duration(time).to_string())),
        ("pid", args.pid.map(|pid| pid.to_string())),
    ];
    let parameters: Vec<(&str, &str)> =
        asked.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
    let answer = Client::new(&args.socket).post_blocking("/api/v1/burst", &parameters, PATIENCE)?;
    let BurstStarted { frequency, seconds } =
        serde_json::from_slice(&answer).context("the agent's answer is of another version")?;
    let of = args.pid.map_or(String::new(), |pid| format!(" of process {pid}"));
    println!("{frequency} samples a second and CPU{of}, for {seconds} s from now");
    Ok(())
}
