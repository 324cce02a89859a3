//! An agent that records while it is watched.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use profiler_tests::agent::{BINARY_VARIABLE, read};
use profiler_tests::stacks::{self, Stack};
use profiler_tests::wait;

use super::stats::{self, Runs, Singles};
use crate::sh;

/// A release build of the agent, recording.
pub struct Observed {
    child: Child,
    /// When it was started.
    pub started: Instant,
    directory: tempfile::TempDir,
}

/// What a recording left.
pub struct Recorded {
    /// Its stacks.
    pub stacks: Vec<Stack>,
    /// How long it was, in seconds.
    pub seconds: f64,
    /// The agent's peak of memory in MiB, the naming and writing at the end included.
    pub peak_mib: f64,
}

impl Recorded {
    /// The sum of one kind of value.
    pub fn total(&self, kind: &str) -> u64 {
        self.stacks.iter().map(|stack| stack.value(kind)).sum()
    }

    /// User frames of a mean sample.
    pub fn mean_frames(&self, kind: &str) -> f64 {
        let frames: u64 =
            self.stacks.iter().map(|stack| stack.value(kind) * stack.user().len() as u64).sum();
        frames as f64 / self.total(kind).max(1) as f64
    }
}

impl Observed {
    /// Starts a recording into a profile with these flags.
    pub fn start(args: &[&str]) -> Result<Self> {
        Self::start_of(&binary(), args)
    }

    /// The same of another binary.
    pub fn start_of(binary: &Path, args: &[&str]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let started = Instant::now();
        let child = Command::new(binary)
            .args(["record", "--output"])
            .arg(directory.path().join("bench.pb.gz"))
            .args(args)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        Ok(Self { child, started, directory })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The runs of each of its programs, by name.
    pub fn programs(&self) -> Result<BTreeMap<u32, Runs>> {
        stats::programs(self.pid())
    }

    /// Waits until one of its programs has run.
    pub fn wait_for_first_run(&self) -> Result<()> {
        self.wait_for_runs(1)
    }

    /// Waits until one of its programs has run so often.
    pub fn wait_for_runs(&self, count: u64) -> Result<()> {
        wait::until("runs of a program", Duration::from_secs(20), || {
            // It may hold no descriptor yet.
            let programs = self.programs().unwrap_or_default();
            Ok(programs.values().any(|runs| runs.count >= count).then_some(()))
        })
    }

    /// Watches it for a while: the runs of each program in that time, by name.
    pub fn watch(&self, time: Duration) -> Result<BTreeMap<String, Runs>> {
        let before = self.programs()?;
        std::thread::sleep(time);
        let after = self.programs()?;
        let mut runs = BTreeMap::new();
        for (id, now) in after {
            let earlier = before.get(&id).copied().unwrap_or_default();
            if let Some(name) = stats::name(id) {
                runs.insert(name, now.since(earlier));
            }
        }
        Ok(runs)
    }

    /// Watches single runs of the program of this name for a while.
    pub fn single_runs(&self, name: &str, time: Duration) -> Result<Singles> {
        stats::single_runs(self.pid(), name, time)
    }

    /// CPU time that it has taken, of all its threads.
    pub fn cpu(&self) -> Result<Duration> {
        cpu(self.pid())
    }

    /// Ends the recording as Ctrl-C does, and reads it.
    pub fn stop(self) -> Result<Recorded> {
        sh::output(Command::new("kill").args(["-INT", &self.pid().to_string()]))?;
        self.finish()
    }

    /// Waits for its end, and reads the recording.
    pub fn finish(mut self) -> Result<Recorded> {
        let mut peak = 0.0_f64;
        let status = wait::until("the agent to end", Duration::from_secs(60), || {
            // It has none any more once it has ended.
            peak = peak.max(peak_mib(self.pid()).unwrap_or_default());
            Ok(self.child.try_wait()?)
        })?;
        if !status.success() {
            bail!("the agent failed: {status}");
        }
        let profile = read(&self.file())?;
        Ok(Recorded {
            stacks: stacks::of(&profile),
            seconds: profile.duration_nanos as f64 / 1e9,
            peak_mib: peak,
        })
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("bench.pb.gz")
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        // It has ended already when all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The agent that is measured.
pub fn binary() -> PathBuf {
    match std::env::var_os(BINARY_VARIABLE) {
        Some(named) => PathBuf::from(named),
        None => sh::workspace().join("target/release/profiler-agent"),
    }
}

/// CPU time of a process, by the scheduler's own clock.
pub fn cpu(pid: u32) -> Result<Duration> {
    let mut ns = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end while we look.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        ns += text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or_default();
    }
    Ok(Duration::from_nanos(ns))
}

/// The peak of a process's memory in MiB.
pub fn peak_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    Ok(kib.context("no VmHWM")?.trim().parse::<f64>()? / 1024.0)
}
