//! How often the agent's BPF programs ran and for how long, as the kernel counts it.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::process::Command;

use anyhow::{Context as _, Result};
use aya::sys::{Stats, enable_stats};

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
        let field = |name: &str| -> Option<u64> {
            info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        };
        let (Some(id), Some(ns), Some(count)) =
            (field("prog_id:"), field("run_time_ns:"), field("run_cnt:"))
        else {
            continue;
        };
        programs.insert(u32::try_from(id)?, Runs { ns, count });
    }
    Ok(programs)
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
