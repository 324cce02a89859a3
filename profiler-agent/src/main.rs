//! The command `profiler-agent`: parses, sets up the log, runs, and ends with an exit code.

use std::process::ExitCode;

use clap::Parser;
use profiler_agent::cli::Cli;
use profiler_agent::kernel::allocator;
use profiler_agent::model::fence;
use profiler_agent::telemetry::log;

fn main() -> ExitCode {
    allocator::prefer_small();
    let cli = Cli::parse();
    // To standard error, since profiles may go to standard output.
    log::start(cli.log_level.into());
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
