//! The command `profiler-agent`: parses, sets up the log, runs, and ends with an exit code.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use profiler_agent::cli::{Cli, LogLevel};
use profiler_agent::kernel::allocator;
use profiler_agent::model::fence;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What the messages of the BPF programs are filed under: their crate.
const BPF_PROGRAMS: &str = "profiler_ebpf";

fn main() -> ExitCode {
    allocator::prefer_small();
    let cli = Cli::parse();
    start_log(cli.log_level);
    log_panics();
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("profiler-agent: {}", message(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error with its causes, each said once: the library's errors name their cause themselves.
fn message(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| {
        if said.is_empty() {
            cause
        } else if said.contains(&cause) {
            said
        } else {
            format!("{said}: {cause}")
        }
    })
}

/// The log goes to standard error, since profiles may go to standard output. Libraries speak only of
/// what is wrong: the level is for what the agent and its BPF programs say.
fn start_log(level: LogLevel) {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let ours = Targets::new()
        .with_default(LevelFilter::from(level.min(LogLevel::Warn)))
        .with_target("profiler_agent", LevelFilter::from(level))
        .with_target(BPF_PROGRAMS, LevelFilter::from(level));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(false);
    tracing_subscriber::registry().with(lines).with(ours).init();
}

/// A panic goes to the log like everything else. One on hostile debug information is caught and
/// counted by the stage that reads it, so it is no more than a detail there.
fn log_panics() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if fence::is_inside() {
            tracing::debug!("data that cannot be read: {panic}");
        } else {
            default(panic);
        }
    }));
}
