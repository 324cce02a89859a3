//! Who decides when a recording is over: the clock, Ctrl-C, the end of what is recorded.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use nix::sys::signal::{Signal as NixSignal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::progress::ProgressLine;
use super::setup::Setup;
use crate::kernel::command::{CommandError, Held};
use crate::pipeline::{Progress, RecordError, Recording};

/// How often progress is shown, and watched processes are looked for.
const TICK: Duration = Duration::from_millis(200);

/// The command that is recorded, once it runs.
#[derive(Debug)]
pub struct Command {
    pid: u32,
    exit: JoinHandle<Result<ExitStatus, CommandError>>,
}

/// Watches over one recording.
#[derive(Debug)]
pub struct Supervisor {
    interrupt: Signal,
    terminate: Signal,
    stop: watch::Sender<bool>,
    progress: watch::Receiver<Progress>,
    line: ProgressLine,
    watched: Vec<u32>,
}

impl Supervisor {
    /// Takes over the signals from here on.
    pub fn new(
        setup: &Setup,
        stop: watch::Sender<bool>,
        progress: watch::Receiver<Progress>,
    ) -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            stop,
            progress,
            line: ProgressLine::new(setup.pipeline.duration),
            watched: setup.watched.clone(),
        })
    }

    /// Lets the command run once the kernel side sees it. Where attaching failed, it never runs, and
    /// the recording's own error is the one to show.
    pub async fn release(&mut self, held: Option<Held>) -> Result<Option<Command>, CommandError> {
        let attached = self.progress.wait_for(|p| p.attached).await.is_ok();
        let Some(held) = held.filter(|_| attached) else { return Ok(None) };
        let running = held.release().inspect_err(|_| self.end())?;
        let pid = running.pid();
        Ok(Some(Command { pid, exit: tokio::task::spawn_blocking(move || running.wait()) }))
    }

    /// Waits for the recording, and ends it when its time has come.
    pub async fn watch(
        &mut self,
        mut worker: JoinHandle<Result<Recording, RecordError>>,
        command: Option<&Command>,
    ) -> anyhow::Result<Recording> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                recording = &mut worker => return Ok(recording??),
                _ = self.interrupt.recv() => self.end(),
                _ = self.terminate.recv() => {
                    command.inspect(|c| c.terminate());
                    self.end();
                }
                _ = tick.tick() => {
                    self.line.show(&self.progress.borrow());
                    if self.nothing_left(command) {
                        self.end();
                    }
                }
            }
        }
    }

    /// Waits for a command that outlives its recording, and gives its exit code.
    pub async fn outlive(&mut self, mut command: Command) -> anyhow::Result<ExitCode> {
        loop {
            tokio::select! {
                status = &mut command.exit => return Ok(exit_code(status??)),
                // The terminal sends Ctrl-C to the command as well.
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => command.terminate(),
            }
        }
    }

    fn end(&self) {
        self.stop.send_replace(true);
    }

    /// Whether all that is recorded has ended.
    fn nothing_left(&self, command: Option<&Command>) -> bool {
        let gone = |pid: &u32| !Path::new(&format!("/proc/{pid}")).exists();
        match command {
            Some(command) => command.exit.is_finished(),
            None => !self.watched.is_empty() && self.watched.iter().all(gone),
        }
    }
}

impl Command {
    /// Passes on a request to end.
    fn terminate(&self) {
        if let Ok(pid) = i32::try_from(self.pid) {
            // A command that has just ended needs no signal.
            let _ = kill(Pid::from_raw(pid), NixSignal::SIGTERM);
        }
    }
}

/// The exit code of a shell for the same end: 128 and the signal for one that was killed.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
