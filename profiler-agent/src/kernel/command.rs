//! A command that is started, but held before its first instruction until the recording runs.
//!
//! Between fork and exec the child tells its process id through one pipe and waits on another. The
//! standard library's `spawn` returns only after exec, so it waits on a thread of its own meanwhile.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};
use std::thread::{self, JoinHandle};

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

/// Why a command did not run.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No command was given.
    #[error("no command was given after `--`")]
    Empty,
    /// It could not be executed.
    #[error("{program}: {source}")]
    Exec {
        /// As it was given.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It could not be started or waited for.
    #[error("the command could not be {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl CommandError {
    /// The exit code that a shell would give: 127 where there is no such program, 126 where it cannot
    /// be executed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Exec { source, .. } if source.kind() == io::ErrorKind::NotFound => 127,
            Self::Exec { .. } => 126,
            Self::Empty | Self::System { .. } => 125,
        }
    }
}

/// A command that waits for its release. Dropping it instead ends it.
pub struct Held {
    program: String,
    pid: u32,
    gate: OwnedFd,
    spawning: JoinHandle<io::Result<Child>>,
}

impl Held {
    /// Starts a command, given as program and arguments, up to its first instruction.
    pub fn start(command: &[OsString]) -> Result<Self, CommandError> {
        let (program, arguments) = command.split_first().ok_or(CommandError::Empty)?;
        let not_started = |source: io::Error| CommandError::System { action: "started", source };
        let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(|e| not_started(e.into()));
        let (announced, announce) = pipe()?;
        let (wait, gate) = pipe()?;

        let mut command = Command::new(program);
        command.args(arguments);
        let (announce_fd, wait_fd, gate_fd) =
            (announce.as_raw_fd(), wait.as_raw_fd(), gate.as_raw_fd());
        // SAFETY: the closure runs after fork, where only async-signal-safe calls are allowed: it makes
        // system calls on descriptors that are open then, and allocates nothing.
        unsafe { command.pre_exec(move || hold(announce_fd, wait_fd, gate_fd)) };
        let spawning = thread::Builder::new()
            .name("command".to_owned())
            .spawn(move || {
                // Both are the child's now: the announcement must end when the child does.
                let _ours = (announce, wait);
                command.spawn()
            })
            .map_err(not_started)?;

        let program = program.to_string_lossy().into_owned();
        let mut pid = [0; 4];
        match File::from(announced).read_exact(&mut pid) {
            Ok(()) => Ok(Self { program, pid: u32::from_ne_bytes(pid), gate, spawning }),
            // There was no fork.
            Err(_) => Err(finish(program, spawning)
                .err()
                .unwrap_or_else(|| not_started(io::Error::other("it started without saying so")))),
        }
    }

    /// Its process id, which it keeps.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets it run. Fails if there is no such program.
    pub fn release(self) -> Result<Running, CommandError> {
        let Self { program, gate, spawning, .. } = self;
        // A child that was killed meanwhile is reported by its exit status.
        let _ = File::from(gate).write_all(&[1]);
        finish(program, spawning).map(Running)
    }
}

/// A command that runs.
pub struct Running(Child);

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> Result<ExitStatus, CommandError> {
        self.0.wait().map_err(not_awaited)
    }

    /// Its exit status, if it has ended.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, CommandError> {
        self.0.try_wait().map_err(not_awaited)
    }
}

/// The child's part, between fork and exec.
fn hold(announce: RawFd, wait: RawFd, gate: RawFd) -> io::Result<()> {
    // SAFETY: getpid and close touch no memory; the descriptor is the child's copy, which would keep
    // the gate open when the agent is gone.
    let pid = unsafe {
        libc::close(gate);
        libc::getpid()
    };
    let mut byte = 0u8;
    // SAFETY: both buffers live on this stack and have the lengths that are given.
    let released = unsafe {
        libc::write(announce, (&raw const pid).cast(), size_of_val(&pid)) == 4
            && libc::read(wait, (&raw mut byte).cast(), 1) == 1
    };
    // Without a release the agent is gone, or has given up: then the command must not run.
    if released { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ECANCELED)) }
}

fn finish(program: String, spawning: JoinHandle<io::Result<Child>>) -> Result<Child, CommandError> {
    match spawning.join() {
        Ok(Ok(child)) => Ok(child),
        Ok(Err(source)) => Err(CommandError::Exec { program, source }),
        Err(_) => {
            let source = io::Error::other("the thread that started it panicked");
            Err(CommandError::System { action: "started", source })
        }
    }
}

fn not_awaited(source: io::Error) -> CommandError {
    CommandError::System { action: "waited for", source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(command: &[&str]) -> Held {
        Held::start(&command.iter().map(OsString::from).collect::<Vec<_>>()).unwrap()
    }

    fn executable(pid: u32) -> io::Result<std::path::PathBuf> {
        std::fs::read_link(format!("/proc/{pid}/exe"))
    }

    #[test]
    fn it_waits_before_its_first_instruction_and_keeps_its_pid() {
        let held = held(&["sh", "-c", "exit 7"]);
        let pid = held.pid();
        assert_eq!(executable(pid).unwrap(), std::env::current_exe().unwrap(), "not executed yet");
        let mut running = held.release().unwrap();
        assert_eq!(running.pid(), pid);
        assert_eq!(running.wait().unwrap().code(), Some(7));
        assert_eq!(running.try_wait().unwrap().and_then(|s| s.code()), Some(7));
    }

    #[test]
    fn what_cannot_run_gives_a_shells_exit_code() {
        for (program, code) in [("/no/such/program", 127), ("/etc/passwd", 126), ("/etc", 126)] {
            let error = held(&[program]).release().err().expect("it must not run");
            assert_eq!(error.exit_code(), code, "{error}");
            assert!(error.to_string().starts_with(program), "{error}");
        }
        assert_eq!(Held::start(&[]).err().map(|e| e.exit_code()), Some(125));
    }

    #[test]
    fn dropped_before_its_release_it_never_runs() {
        let directory = tempfile::tempdir().unwrap();
        let witness = directory.path().join("it-ran");
        let held = held(&["touch", witness.to_str().unwrap()]);
        let Held { gate, spawning, .. } = held;
        drop(gate);
        assert!(spawning.join().unwrap().is_err());
        assert!(!witness.exists());
    }
}
