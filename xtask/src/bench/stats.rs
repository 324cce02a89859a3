//! How often the agent's BPF programs ran and for how long, as the kernel counts it.
//!
//! The kernel keeps sums, so a single run is told only where the sums are read before it and after it,
//! and nothing else ran between: [`single_runs`] reads them so often that this is so for many.

use std::collections::BTreeMap;
use std::fs;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use aya::sys::{Stats, enable_stats};

use crate::sh;

/// Lets the kernel count, until what this returns is dropped. It counts for whoever holds the
/// descriptor, so that it stops by itself when this process is killed.
pub fn count() -> Result<OwnedFd> {
    enable_stats(Stats::RunTime).context("the kernel does not count the runs of BPF programs")
}

/// Runs of one program since it was loaded. A program that was entered by a tail call is part of
/// the one that called it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Runs {
    /// Nanoseconds.
    pub ns: u64,
    /// Runs.
    pub count: u64,
}

impl Runs {
    /// What was added since an earlier moment.
    pub fn since(self, earlier: Self) -> Self {
        Self { ns: self.ns - earlier.ns, count: self.count - earlier.count }
    }

    /// Nanoseconds per run.
    pub fn mean_ns(self) -> f64 {
        if self.count == 0 { 0.0 } else { self.ns as f64 / self.count as f64 }
    }
}

/// The programs that a process holds, by their ids.
pub fn programs(pid: u32) -> Result<BTreeMap<u32, Runs>> {
    let mut programs = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A descriptor may be closed while we look.
        let Ok(info) = fs::read_to_string(entry?.path()) else { continue };
        let Some((id, runs)) = told(&info) else { continue };
        programs.insert(id, runs);
    }
    Ok(programs)
}

/// The id and the runs of the program that a descriptor is of.
fn told(info: &str) -> Option<(u32, Runs)> {
    let field = |name: &str| -> Option<u64> {
        info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    };
    let id = u32::try_from(field("prog_id:")?).ok()?;
    Some((id, Runs { ns: field("run_time_ns:")?, count: field("run_cnt:")? }))
}

/// Between two readings of the sums: much less than between two samples.
const PAUSE: Duration = Duration::from_micros(150);

/// Runs that were told one by one, of all that there were.
#[derive(Clone, Debug, Default)]
pub struct Singles {
    /// Nanoseconds of each, ascending.
    ns: Vec<u64>,
    /// All runs meanwhile.
    pub all: u64,
}

impl Singles {
    /// How many were told one by one.
    pub fn told(&self) -> usize {
        self.ns.len()
    }

    /// The time that this share of them did not exceed.
    pub fn quantile_ns(&self, share: f64) -> f64 {
        let last = self.ns.len().saturating_sub(1);
        self.ns.get((last as f64 * share) as usize).copied().unwrap_or_default() as f64
    }
}

/// Tells single runs of a process's program of this name for a while. Two that ended between the same
/// two readings are left out.
pub fn single_runs(pid: u32, wanted: &str, time: Duration) -> Result<Singles> {
    let counts = Counts::of(pid, wanted)?;
    // Every CPU is busy, and who waits for one reads too late.
    renice("-20")?;
    let singles = tell_apart(&counts, time);
    renice("0")?;
    singles
}

fn tell_apart(counts: &Counts, time: Duration) -> Result<Singles> {
    let begun = Instant::now();
    let mut singles = Singles::default();
    let mut before = counts.read()?;
    while begun.elapsed() < time {
        std::thread::sleep(PAUSE);
        let now = counts.read()?;
        let new = now.since(before);
        before = now;
        singles.all += new.count;
        if new.count == 1 {
            singles.ns.push(new.ns);
        }
    }
    singles.ns.sort_unstable();
    Ok(singles)
}

/// Sets the priority of this process.
fn renice(nice: &str) -> Result<()> {
    let own = std::process::id().to_string();
    sh::output(Command::new("renice").args(["-n", nice, "-p", &own])).map(drop)
}

/// What tells of a program's runs, to be read again and again.
pub struct Counts(File);

impl Counts {
    /// Of a process's program of this name.
    pub fn of(pid: u32, wanted: &str) -> Result<Self> {
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
            let path = entry?.path();
            let Ok(info) = fs::read_to_string(&path) else { continue };
            if told(&info).and_then(|(id, _)| name(id)).as_deref() == Some(wanted) {
                return Ok(Self(File::open(path)?));
            }
        }
        anyhow::bail!("process {pid} holds no program {wanted}")
    }

    /// The runs up to now.
    pub fn read(&self) -> Result<Runs> {
        let mut buffer = [0; 1024];
        let length = self.0.read_at(&mut buffer, 0)?;
        let info = str::from_utf8(buffer.get(..length).unwrap_or_default())?;
        told(info).map(|(_, runs)| runs).context("the kernel tells no runs of the program")
    }
}

/// The name of a program; `None` when it has gone, as those that only probed the kernel do.
pub fn name(id: u32) -> Option<String> {
    let shown =
        Command::new("bpftool").args(["prog", "show", "id", &id.to_string()]).output().ok()?;
    let text = String::from_utf8(shown.stdout).ok()?;
    let words: Vec<&str> = text.split_whitespace().collect();
    words.windows(2).find_map(|pair| match pair {
        ["name", name] => Some((*name).to_owned()),
        _ => None,
    })
}
