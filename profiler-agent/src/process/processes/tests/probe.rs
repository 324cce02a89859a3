//! Real processes that do what a test tells them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

/// A directory with the program in it.
pub(super) struct Workshop {
    dir: TempDir,
}

impl Workshop {
    pub(super) fn new() -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "these tests open other processes' files: run them as root"
        );
        let workshop = Self { dir: tempfile::tempdir().expect("a temporary directory") };
        workshop.build(include_str!("probe.c"), "probe", &["-static-pie", "-pthread"]);
        workshop
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Compiles C source to a file of that name.
    pub(super) fn build(&self, source: &str, name: &str, flags: &[&str]) -> PathBuf {
        let input = self.path(&format!("{name}.c"));
        // No two tests have a binary in common, or one would find the other's.
        let own = format!("{source}\nconst char workshop[] = {:?};\n", self.dir.path());
        fs::write(&input, own).expect("space for the source");
        let output = self.path(name);
        let mut compiler = Command::new("cc");
        compiler
            .args(["-O1", "-Wl,--build-id=sha1", "-w", "-o"])
            .arg(&output)
            .args(flags)
            .arg(&input);
        let status =
            compiler.status().expect("a C compiler named cc: apt-get install gcc libc6-dev");
        assert!(status.success(), "cc failed on {name}");
        output
    }
}

/// A process that runs the program.
pub(super) struct Probe {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Probe {
    /// Starts it, and waits until it listens.
    pub(super) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut probe = Self { child, stdin, stdout };
        assert_eq!(probe.answer(), "ready");
        probe
    }

    pub(super) fn of(path: impl AsRef<Path>) -> Self {
        Self::start(Command::new(path.as_ref()))
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives a command, and waits for the answer.
    pub(super) fn tell(&mut self, command: &str) -> String {
        writeln!(self.stdin, "{command}").expect("it listens");
        self.answer()
    }

    /// Gives a command whose answer is a number.
    pub(super) fn ask(&mut self, command: &str) -> u64 {
        let answer = self.tell(command);
        answer.parse().unwrap_or_else(|_| panic!("{command}: {answer:?}"))
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it answers");
        line.trim_end().to_owned()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
