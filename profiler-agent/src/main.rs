//! The command `profiler-agent`: parses, sets up the log, runs, and ends with an exit code.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use profiler_agent::cli::{Cli, LogLevel};
use tracing_subscriber::filter::LevelFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(cli.log_level);
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("profiler-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The log goes to standard error, since profiles may go to standard output.
fn start_log(level: LogLevel) {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from(level))
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(false)
        .init();
}
