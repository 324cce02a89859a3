//! `profiler-agent report`: shows a profile that was recorded before, by this agent or another tool.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use profiler_proto::pprof::{Profile, decode};

use super::output::Output;
use crate::view::{self, Format, Options, Root, Time};

const EXAMPLES: &str = "\
Examples:
  profiler-agent report host.pb.gz                             the 20 hottest functions
  profiler-agent report host.pb.gz --pid 812 --top 50          of one process
  profiler-agent report host.pb.gz -o flame.svg --root thread  a flame graph, by thread
  profiler-agent report wall.pb.gz --event off-cpu             only the blocked time";

/// Show a profile: the hottest functions, a flame graph, or folded stacks
///
/// Reads any pprof file, packed or plain, also of other tools.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ReportArgs {
    /// The profile
    #[arg(value_name = "FILE.pb.gz")]
    file: PathBuf,

    /// Functions in the table
    #[arg(long, default_value_t = 20, value_name = "N")]
    top: usize,

    /// What to show [default: by the ending of --output, else text]
    #[arg(long, value_enum)]
    format: Option<ReportFormat>,

    /// Where to write it; `-` is standard output [default: -]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// What stands at the root of the stacks [default: thread where a profile has both kinds of
    /// time, else host]
    #[arg(long, value_enum)]
    root: Option<RootArg>,

    /// Show one kind of time of a profile that has both
    #[arg(long, value_enum)]
    event: Option<EventArg>,

    /// Show one process only
    #[arg(long)]
    pid: Option<u32>,
}

/// `--format` of `report`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// A table of the hottest functions
    Text,
    /// A flame graph
    Svg,
    /// A line per stack
    Folded,
}

/// `--root`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RootArg {
    /// The whole; processes of the same name are one
    Host,
    /// Each process
    Process,
    /// Each process, and under it each of its threads
    Thread,
}

impl From<RootArg> for Root {
    fn from(root: RootArg) -> Self {
        match root {
            RootArg::Host => Self::Host,
            RootArg::Process => Self::Process,
            RootArg::Thread => Self::Thread,
        }
    }
}

/// `--event` of `report`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EventArg {
    /// Time on the CPU
    OnCpu,
    /// Time off the CPU
    OffCpu,
}

/// Runs the command.
///
/// # Errors
/// For the user: which file, and why.
pub fn run(args: ReportArgs) -> anyhow::Result<()> {
    let output = Output::prepare(args.output.as_deref().unwrap_or("-".as_ref()))?;
    let format = args.format()?;
    let profile = read(&args)?;
    let options = Options {
        root: args.root.map(Root::from),
        time: args.event.map(|event| match event {
            EventArg::OnCpu => Time::OnCpu,
            EventArg::OffCpu => Time::OffCpu,
        }),
        pid: args.pid,
        top: args.top,
        color: output.is_stdout() && color_wanted(),
    };
    // Drawn before it is written, so that what cannot be drawn is told as such.
    let mut drawing = Vec::new();
    view::render(format, &profile, &options, &mut drawing)
        .with_context(|| format!("cannot show {}", args.file.display()))?;
    let written = output.write(|w| w.write_all(&drawing));
    // `report … | head` closes the pipe early: nothing is wrong.
    match written {
        Err(error) if output.is_stdout() && error.is_broken_pipe() => Ok(()),
        other => Ok(other?),
    }
}

impl ReportArgs {
    fn format(&self) -> anyhow::Result<Format> {
        if let Some(format) = self.format {
            return Ok(match format {
                ReportFormat::Text => Format::Text,
                ReportFormat::Svg => Format::Svg,
                ReportFormat::Folded => Format::Folded,
            });
        }
        match self.output.as_deref().map(|path| (path, Format::from_path(path))) {
            Some((_, Some(format))) => Ok(format),
            Some((path, None)) if path.extension().is_some() => anyhow::bail!(
                "{} does not end in .txt, .svg or .folded: say what to write with --format",
                path.display()
            ),
            _ => Ok(Format::Text),
        }
    }
}

fn read(args: &ReportArgs) -> anyhow::Result<Profile> {
    let path = args.file.display();
    let bytes = fs::read(&args.file).with_context(|| format!("cannot read {path}"))?;
    decode(&bytes).with_context(|| {
        format!("{path} cannot be read as a profile (`record --output NAME.pb.gz` writes one)")
    })
}

/// Colour is for people at a terminal who did not turn it off (<https://no-color.org>).
fn color_wanted() -> bool {
    let off = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !off
}
