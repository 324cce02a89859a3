//! A workload that runs.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::de::DeserializeOwned;

use crate::workload::Workload;

/// A workload that has begun its interesting part. It is killed when this is dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    output: BufReader<ChildStdout>,
    /// Lines that it printed before it was ready.
    pub preamble: Vec<String>,
}

impl Program {
    /// Builds and starts a workload, and waits until it says that it is ready.
    pub fn start<S: AsRef<OsStr>>(workload: &Workload, args: &[S]) -> Result<Self> {
        Self::start_binary(&workload.build()?, args)
    }

    /// The same for a binary.
    pub fn start_binary<S: AsRef<OsStr>>(binary: &Path, args: &[S]) -> Result<Self> {
        Self::started(Command::new(binary).args(args))
    }

    /// The same for a command that becomes one.
    pub fn started(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {command:?}"))?;
        let output = child.stdout.take().context("no standard output")?;
        let mut program = Self { child, output: BufReader::new(output), preamble: Vec::new() };
        loop {
            let mut line = String::new();
            if program.output.read_line(&mut line)? == 0 {
                bail!("{command:?} ended before it was ready: {}", program.child.wait()?);
            }
            match line.trim_end() {
                "ready" => return Ok(program),
                other => program.preamble.push(other.to_owned()),
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end and reads the JSON that it printed there.
    pub fn truth<T: DeserializeOwned>(mut self) -> Result<T> {
        let mut text = String::new();
        self.output.read_to_string(&mut text)?;
        truth(&text)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The JSON that a workload printed as the last line of its output.
pub fn truth<T: DeserializeOwned>(output: &str) -> Result<T> {
    let line = output.lines().rev().find(|line| line.starts_with('{'));
    let line = line.with_context(|| format!("the workload printed no truth: {output:?}"))?;
    serde_json::from_str(line).with_context(|| format!("not the truth that was expected: {line}"))
}

/// What `blocker` prints.
#[derive(Debug, serde::Deserialize)]
pub struct BlockerTruth {
    /// Nanoseconds blocked, by the function that blocks.
    pub blocked: HashMap<String, u64>,
    /// Nanoseconds from begin to end, by thread name.
    pub lived: HashMap<String, u64>,
}

/// What `pacer` prints.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
pub struct PacerTruth {
    /// Time that its threads were off the CPU, all together.
    pub off_ns: u64,
    /// CPU time of the process.
    pub cpu_ns: u64,
    /// Time from begin to end.
    pub wall_ns: u64,
    /// Context switches of its threads.
    pub switches: u64,
}

/// What `spinner` prints.
#[derive(Debug, serde::Deserialize)]
pub struct SpinnerTruth {
    /// CPU time of the process.
    pub cpu_ns: u64,
    /// Time from begin to end.
    pub wall_ns: u64,
}

/// What `split` prints: CPU time by path.
#[derive(Debug, serde::Deserialize)]
pub struct SplitTruth {
    /// Of the path that gets three quarters.
    pub path_heavy: u64,
    /// Of the other.
    pub path_light: u64,
}

/// What `spawner` prints.
#[derive(Debug, serde::Deserialize)]
pub struct SpawnerTruth {
    /// For each process: when it ended (CLOCK_REALTIME, ns), and its CPU time in `short_lived_work`.
    pub children: Vec<(u64, u64)>,
}

impl SpawnerTruth {
    /// CPU time in `short_lived_work` of the processes that ended in a span of CLOCK_REALTIME, ns.
    pub fn worked_ns(&self, span: std::ops::Range<u64>) -> u64 {
        self.children
            .iter()
            .filter(|(ended, _)| span.contains(ended))
            .map(|(_, worked)| worked)
            .sum()
    }
}

/// What `storm` prints.
#[derive(Debug, serde::Deserialize)]
pub struct StormTruth {
    /// Programs that it ran.
    pub programs: u64,
    /// How long that took.
    pub ns: u64,
}

/// What `family` prints.
#[derive(Debug, serde::Deserialize)]
pub struct FamilyTruth {
    /// CPU time of all children.
    pub children_ns: u64,
}
