//! `record`: one recording of the host, of some processes or of a command, written as one file.
//!
//! [`args`] are the flags; [`setup`] checks them before anything is started; [`supervisor`] decides
//! when the recording is over, while [`progress`] shows how it does; [`summary`] says what came of it.

pub mod args;
mod progress;
mod setup;
mod summary;
mod supervisor;

use std::process::ExitCode;

use tokio::sync::watch;

pub use args::RecordArgs;

use self::setup::Setup;
use self::supervisor::Supervisor;
use super::LogLevel;
use crate::kernel::command::{CommandError, Held};
use crate::pipeline::{self, Control, Progress};

/// Runs the subcommand; the exit code is the recorded command's where there was one.
///
/// # Errors
/// For the user: what was refused, and the way out.
pub fn run(args: RecordArgs, log: LogLevel) -> anyhow::Result<ExitCode> {
    let mut setup = Setup::new(args, log)?;
    let command = setup.hold_command()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(record(setup, command)) {
        Err(error) => match error.downcast_ref::<CommandError>() {
            // As a shell does: 127 where there is no such program, 126 where it is none.
            Some(command) => {
                eprintln!("profiler-agent: {command}");
                Ok(ExitCode::from(command.exit_code()))
            }
            None => Err(error),
        },
        ended => ended,
    }
}

async fn record(setup: Setup, command: Option<Held>) -> anyhow::Result<ExitCode> {
    let (stop, stopped) = watch::channel(false);
    let (progress, shown) = watch::channel(Progress::default());
    let config = setup.pipeline.clone();
    let mut supervisor = Supervisor::new(&setup, stop, shown)?;
    let (mut control, _) = Control::new(stopped, progress);
    let worker = tokio::task::spawn_blocking(move || pipeline::record(&config, &mut control));

    let command = supervisor.release(command).await?;
    let recording = supervisor.watch(worker, command.as_ref()).await?;
    setup.require_samples(&recording)?;
    let profile = setup.encode(&recording);
    setup.write(&profile)?;
    summary::print(&setup, &recording, &profile);
    match command {
        Some(command) => supervisor.outlive(command).await,
        None => Ok(ExitCode::SUCCESS),
    }
}
