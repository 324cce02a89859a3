//! The flags of `record`, as the user writes them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::args::{RootArg, format_parser};
use crate::kernel::plan::Feature;
use crate::kernel::user;
use crate::model::choice::EventChoice;
use crate::view::Format;

/// The file that a recording goes to when `--output` does not say.
const DEFAULT_OUTPUT: &str = "flame.svg";

const EXAMPLES: &str = "\
Examples:
  profiler-agent record                              ten seconds of the whole host, on CPU
  profiler-agent record --event wall                 on CPU and blocked, side by side
  profiler-agent record --pid 4242 --event off-cpu   where one process waits
  profiler-agent record --duration 60s -o x.pb.gz    for `report` or `go tool pprof`
  profiler-agent record -o build.svg -- make -j4     a command and its children, to the end";

/// Record what the host, some processes or one command does, and write a profile or a flame graph.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct RecordArgs {
    /// Only this process (repeat for more)
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: Vec<u32>,

    /// Only processes in this cgroup of the v2 hierarchy, or below it (repeat for more)
    #[arg(long, value_name = "PATH")]
    pub cgroup: Vec<PathBuf>,

    /// Only threads of exactly this name (repeat for more)
    #[arg(long, value_name = "NAME")]
    pub comm: Vec<String>,

    /// Only what this user runs, by name or number (repeat for more)
    #[arg(long, value_name = "USER", value_parser = user::number)]
    pub user: Vec<u32>,

    /// Not this process (repeat for more)
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub exclude_pid: Vec<u32>,

    /// No processes in this cgroup of the v2 hierarchy, or below it (repeat for more)
    #[arg(long, value_name = "PATH")]
    pub exclude_cgroup: Vec<PathBuf>,

    /// No threads of exactly this name (repeat for more)
    #[arg(long, value_name = "NAME")]
    pub exclude_comm: Vec<String>,

    /// Nothing that this user runs, by name or number (repeat for more)
    #[arg(long, value_name = "USER", value_parser = user::number)]
    pub exclude_user: Vec<u32>,

    /// What to record: time on the CPU, time blocked, or both
    #[arg(long, value_enum, default_value_t = EventArg::OnCpu)]
    pub event: EventArg,

    /// Samples per second and CPU, 1 to 10000
    #[arg(long, value_name = "HZ", default_value_t = 99, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub frequency: u32,

    /// How long to record, such as 10s, 500ms or 2m [default: 10s; with a COMMAND, until it exits]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,

    /// Count blocks shorter than this, but keep no stack of them
    #[arg(long, value_name = "TIME", default_value = "1us", value_parser = humantime::parse_duration)]
    pub min_block: Duration,

    /// Blocks per second and CPU whose stack is kept; of the rest the time is shared out
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub max_blocks: u32,

    /// Where to write; `-` is standard output
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_OUTPUT)]
    pub output: PathBuf,

    /// What to write [default: by the extension of the output: .svg, .pb.gz, .folded, .txt]
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    pub format: Option<Format>,

    /// What a flame graph or folded text has at its root [default: process; thread for --event wall]
    #[arg(long, value_enum)]
    pub root: Option<RootArg>,

    /// Memory that debug information may take, in MiB; with 0, functions have names but no lines
    #[arg(long, value_name = "MIB", default_value_t = 24, value_parser = clap::value_parser!(u64).range(..=65_536))]
    pub symbol_memory: u64,

    /// Memory that unwind tables may take, in the kernel and in the agent together, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(8..=65_536))]
    pub unwind_memory: u64,

    /// Where unwind tables are kept for the next recording: a directory to which only the agent's user may write
    #[arg(long, value_name = "DIR", default_value = "/var/cache/profiler-agent/unwind")]
    pub unwind_cache: PathBuf,

    /// What they may take there, in MiB; with 0, none are kept
    #[arg(long, value_name = "MIB", default_value_t = 128, value_parser = clap::value_parser!(u64).range(..=65_536))]
    pub unwind_cache_size: u64,

    /// Pretend that the kernel lacks a feature (for tests of the fallbacks)
    #[arg(long, hide = true, value_name = "FEATURE")]
    pub without: Vec<Feature>,

    /// Start this command, and record it and its children from its first instruction to its exit
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<std::ffi::OsString>,
}

/// `--event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EventArg {
    /// Time on the CPU, sampled
    OnCpu,
    /// Time off the CPU, measured
    OffCpu,
    /// Both, in one profile, never added up
    Wall,
}

impl From<EventArg> for EventChoice {
    fn from(arg: EventArg) -> Self {
        match arg {
            EventArg::OnCpu => Self::OnCpu,
            EventArg::OffCpu => Self::OffCpu,
            EventArg::Wall => Self::Wall,
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed =
        humantime::parse_duration(text).map_err(|e| format!("{e} (try 10s, 500ms, 2m)"))?;
    match parsed {
        d if d < Duration::from_millis(10) => Err("at least 10ms".to_owned()),
        d if d > Duration::from_secs(24 * 3600) => Err("at most 24h".to_owned()),
        d => Ok(d),
    }
}
