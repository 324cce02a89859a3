//! A recording by the agent's own binary, as a user makes it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use profiler_proto::pprof::{self, Profile};

use crate::stacks::{self, Stack};
use crate::wait;
use crate::workload::repository;

/// Names the binary to test; otherwise `target/debug/profiler-agent` is built and taken.
pub const BINARY_VARIABLE: &str = "PROFILER_AGENT";

/// What a recording's file is called.
const FILE: &str = "recording.pb.gz";

/// The agent's binary, built when nobody named one.
pub fn binary() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(BINARY_VARIABLE) {
        return Ok(named.into());
    }
    static BUILT: std::sync::OnceLock<Result<PathBuf, String>> = std::sync::OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.clone().map_err(anyhow::Error::msg)
}

fn build() -> Result<PathBuf> {
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--package", "profiler-agent"])
        .current_dir(repository())
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("cannot build profiler-agent: {status}");
    }
    Ok(repository().join("target/debug/profiler-agent"))
}

/// What a run of the agent did.
#[derive(Debug)]
pub struct Run {
    /// How it ended.
    pub status: ExitStatus,
    /// What it, and a command that it started, printed on standard output.
    pub stdout: String,
    /// What it said on standard error.
    pub stderr: String,
}

impl Run {
    /// A number that the agent told in its log: `key=number`, in the last line that has these words.
    pub fn told(&self, words: &str, key: &str) -> Result<u64> {
        let line = self.stderr.lines().rev().find(|line| line.contains(words));
        let line = line.with_context(|| format!("nothing about {words} in {}", self.stderr))?;
        let number = line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        let number = number.and_then(|number| number.parse().ok());
        number.with_context(|| format!("no number {key} in {line}"))
    }
}

/// Runs the agent to its end.
pub fn run<S: AsRef<OsStr>>(args: &[S]) -> Result<Run> {
    finish(Command::new(binary()?).args(args))
}

/// Runs a prepared command to its end.
pub fn finish(command: &mut Command) -> Result<Run> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    Ok(Run {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// A recording that succeeded: its profile passed the strict check.
#[derive(Debug)]
pub struct Recording {
    /// How the agent ended, and what it said.
    pub run: Run,
    /// The profile as it is in the file.
    pub profile: Profile,
    /// Its samples, with names.
    pub stacks: Vec<Stack>,
    file: tempfile::TempDir,
}

/// Records into a pprof file with these flags (and `-- COMMAND`).
pub fn record<S: AsRef<OsStr>>(args: &[S]) -> Result<Recording> {
    record_by(&mut Command::new(binary()?), args)
}

/// The same by a command that becomes the agent.
pub fn record_by<S: AsRef<OsStr>>(command: &mut Command, args: &[S]) -> Result<Recording> {
    let file = tempfile::tempdir()?;
    command.arg("record").arg("--output").arg(file.path().join(FILE)).args(args);
    let run = finish(command)?;
    Recording::read(run, file)
}

/// A recording that goes on until it is interrupted. The agent is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    file: tempfile::TempDir,
}

impl Running {
    /// Starts it as [`record`] does, and waits until programs are loaded.
    pub fn start<S: AsRef<OsStr>>(args: &[S]) -> Result<Self> {
        let file = tempfile::tempdir()?;
        let words = std::fs::File::create(file.path().join("stderr"))?;
        let mut command = Command::new(binary()?);
        command.args(["record", "--duration", "10m", "--output"]).arg(file.path().join(FILE));
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(words);
        let child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
        let running = Self { child, file };
        wait::until("the agent's programs", Duration::from_secs(20), || {
            Ok((running.holds("anon_inode:bpf-prog")? > 0).then_some(()))
        })?;
        Ok(running)
    }

    /// How many of its descriptors are links to this.
    pub fn holds(&self, target: &str) -> Result<usize> {
        let links = std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.flatten();
        let targets = links.filter_map(|link| std::fs::read_link(link.path()).ok());
        Ok(targets.filter(|to| to.as_os_str() == target).count())
    }

    /// What it said so far on standard error.
    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.file.path().join("stderr"))?)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.child.id().cast_signed()), signal)?)
    }

    /// Ends it as Ctrl-C does, and reads what it wrote.
    pub fn interrupt(mut self) -> Result<Recording> {
        self.signal(Signal::SIGINT)?;
        let status = self.child.wait()?;
        let stderr = self.log()?;
        let file = std::mem::replace(&mut self.file, tempfile::tempdir()?);
        Recording::read(Run { status, stdout: String::new(), stderr }, file)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already when all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a profile and checks it strictly.
pub fn read(path: &Path) -> Result<Profile> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let profile = pprof::decode(&bytes).context("not a profile")?;
    if let Err(violations) = pprof::validate(&profile) {
        let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
        bail!("the profile breaks the format's rules:\n{}", list.join("\n"));
    }
    Ok(profile)
}

impl Recording {
    fn read(run: Run, file: tempfile::TempDir) -> Result<Self> {
        if !run.status.success() {
            bail!("the agent failed: {}\n{}", run.status, run.stderr);
        }
        let profile = read(&file.path().join(FILE)).with_context(|| run.stderr.clone())?;
        let stacks = stacks::of(&profile);
        Ok(Self { run, profile, stacks, file })
    }

    /// The file, for as long as this lives.
    pub fn path(&self) -> PathBuf {
        self.file.path().join(FILE)
    }

    /// How long it recorded, in seconds.
    pub fn seconds(&self) -> f64 {
        self.profile.duration_nanos as f64 / 1e9
    }

    /// The sum of one kind of value over the stacks that are wanted.
    pub fn total(&self, kind: &str, wanted: impl Fn(&Stack) -> bool) -> u64 {
        self.stacks.iter().filter(|stack| wanted(stack)).map(|stack| stack.value(kind)).sum()
    }

    /// The comments of the profile, one text each.
    pub fn comments(&self) -> Vec<&str> {
        let string = |index: &i64| self.profile.string_table.get(usize::try_from(*index).ok()?);
        self.profile.comment.iter().filter_map(string).map(String::as_str).collect()
    }

    /// What the agent counted of itself, by name: the comments `count.NAME: N`.
    pub fn counts(&self) -> BTreeMap<&str, u64> {
        self.comments()
            .into_iter()
            .filter_map(|comment| {
                let (name, count) = comment.strip_prefix("count.")?.split_once(": ")?;
                Some((name, count.parse().ok()?))
            })
            .collect()
    }

    /// One of the counts; 0 where it is not there.
    pub fn count(&self, name: &str) -> u64 {
        self.counts().get(name).copied().unwrap_or_default()
    }
}
