//! A command that is started, but held before its first instruction until the recording runs.
//!
//! Between fork and exec the child tells its process id through one pipe and waits on another. The
//! standard library's `spawn` returns only after exec, so it runs on a thread of its own. That thread
//! stays until the command has ended: it is the parent that a command means which asks to die with its
//! parent (`PR_SET_PDEATHSIG`).

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvError, Sender, channel};
use std::thread;

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
    news: Receiver<News>,
}

/// What the command's thread has to tell, in this order.
enum News {
    /// The command was executed, or could not be.
    Executed(io::Result<()>),
    /// It has ended.
    Ended(io::Result<ExitStatus>),
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
        let (tell, news) = channel();
        thread::Builder::new()
            .name("command".to_owned())
            .spawn(move || run(command, (announce, wait), &tell))
            .map_err(not_started)?;

        let program = program.to_string_lossy().into_owned();
        let mut pid = [0; 4];
        match File::from(announced).read_exact(&mut pid) {
            Ok(()) => Ok(Self { program, pid: u32::from_ne_bytes(pid), gate, news }),
            // There was no fork.
            Err(_) => Err(executed(program, &news).err().unwrap_or_else(gone)),
        }
    }

    /// Its process id, which it keeps.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets it run. Fails if there is no such program.
    pub fn release(self) -> Result<Running, CommandError> {
        let Self { program, pid, gate, news } = self;
        // A child that was killed meanwhile is reported by its exit status.
        let _ = File::from(gate).write_all(&[1]);
        executed(program, &news)?;
        Ok(Running { pid, news })
    }
}

/// A command that runs.
pub struct Running {
    pid: u32,
    news: Receiver<News>,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for its end.
    pub fn wait(self) -> Result<ExitStatus, CommandError> {
        match self.news.recv() {
            Ok(News::Ended(result)) => {
                result.map_err(|source| CommandError::System { action: "waited for", source })
            }
            Ok(News::Executed(_)) | Err(RecvError) => Err(gone()),
        }
    }
}

/// The command's thread. `ours` are the child's ends of the pipes: they are closed here once it has its
/// own, so that the announcement ends when the child does.
fn run(mut command: Command, ours: (OwnedFd, OwnedFd), tell: &Sender<News>) {
    let spawned = command.spawn();
    drop(ours);
    // Nobody may listen any more; the child is waited for all the same.
    match spawned {
        Ok(mut child) => {
            let _ = tell.send(News::Executed(Ok(())));
            let _ = tell.send(News::Ended(child.wait()));
        }
        Err(error) => {
            let _ = tell.send(News::Executed(Err(error)));
        }
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

fn executed(program: String, news: &Receiver<News>) -> Result<(), CommandError> {
    match news.recv() {
        Ok(News::Executed(Ok(()))) => Ok(()),
        Ok(News::Executed(Err(source))) => Err(CommandError::Exec { program, source }),
        Ok(News::Ended(_)) | Err(RecvError) => Err(gone()),
    }
}

fn gone() -> CommandError {
    let source = io::Error::other("the thread that looks after it is gone");
    CommandError::System { action: "followed", source }
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
        let running = held.release().unwrap();
        assert_eq!(running.pid(), pid);
        assert_eq!(running.wait().unwrap().code(), Some(7));
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
    fn one_that_dies_with_its_parent_lives_as_long_as_the_agent() {
        let shell = ["setpriv", "--pdeathsig", "KILL", "sh", "-c", "sleep 0.2; exit 7"];
        let running = held(&shell).release().unwrap();
        assert_eq!(running.wait().unwrap().code(), Some(7));
    }

    #[test]
    fn dropped_before_its_release_it_never_runs() {
        let directory = tempfile::tempdir().unwrap();
        let witness = directory.path().join("it-ran");
        let held = held(&["touch", witness.to_str().unwrap()]);
        let Held { gate, news, .. } = held;
        drop(gate);
        assert!(matches!(news.recv(), Ok(News::Executed(Err(_)))));
        assert!(!witness.exists());
    }
}
