//! What the agent takes at one moment: memory, descriptors, threads, maps in the kernel, room on the disk.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::daemon::{Daemon, Room};

const MIB: f64 = 1024.0 * 1024.0;

/// A figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Memory that is resident.
    Rss,
    /// The part of it that is no file's.
    Anonymous,
    /// File descriptors.
    Descriptors,
    /// Threads.
    Threads,
    /// Maps of BPF.
    Maps,
    /// What those of them take that it holds a descriptor of.
    MapBytes,
    /// What is mapped of maps, of the others too: the arena of unwind tables lies in such.
    Mapped,
    /// What the store takes.
    Store,
    /// What the cache of unwind tables takes.
    Cache,
}

impl What {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Rss,
        Self::Anonymous,
        Self::Descriptors,
        Self::Threads,
        Self::Maps,
        Self::MapBytes,
        Self::Mapped,
        Self::Store,
        Self::Cache,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rss => "RSS",
            Self::Anonymous => "anonymous memory",
            Self::Descriptors => "descriptors",
            Self::Threads => "threads",
            Self::Maps => "kernel maps",
            Self::MapBytes => "bytes of kernel maps",
            Self::Mapped => "mapped of kernel maps",
            Self::Store => "store",
            Self::Cache => "cache of unwind tables",
        }
    }

    /// What it is counted in.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Descriptors | Self::Threads | Self::Maps => "",
            _ => "MiB",
        }
    }
}

/// All figures at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Time since the soak began.
    pub at: Duration,
    /// In the order of [`What::ALL`].
    pub values: [f64; What::ALL.len()],
}

impl Sample {
    /// Looks at an agent, now.
    ///
    /// # Errors
    /// Where it is gone.
    pub fn take(at: Duration, agent: &Daemon, room: &Room) -> Result<Self> {
        let (maps, map_bytes) = maps(agent.pid())?;
        let kib = |field| agent.status_kib(field).map(|kib| kib as f64 / 1024.0);
        let values = What::ALL.map(|what| {
            Ok(match what {
                What::Rss => kib("VmRSS")?,
                What::Anonymous => kib("RssAnon")?,
                What::Descriptors => entries(agent.pid(), "fd")?,
                What::Threads => entries(agent.pid(), "task")?,
                What::Maps => maps as f64,
                What::MapBytes => map_bytes as f64 / MIB,
                What::Mapped => mapped(agent.pid())? as f64 / MIB,
                What::Store => bytes_in(&room.path("store")) as f64 / MIB,
                What::Cache => bytes_in(&room.path("unwind")) as f64 / MIB,
            })
        });
        let values: Vec<f64> = values.into_iter().collect::<Result<_>>()?;
        let values = values.try_into().ok().context("a figure is missing")?;
        Ok(Self { at, values })
    }

    /// One of them.
    pub fn value(&self, what: What) -> f64 {
        let found = What::ALL.iter().zip(&self.values).find(|(other, _)| **other == what);
        found.map_or(f64::NAN, |(_, value)| *value)
    }
}

/// How many entries a directory of a process in `/proc` has.
fn entries(pid: u32, directory: &str) -> Result<f64> {
    Ok(fs::read_dir(format!("/proc/{pid}/{directory}"))?.count() as f64)
}

/// Maps that a process holds, and what they take in the kernel: each once, however many descriptors it has.
fn maps(pid: u32) -> Result<(usize, u64)> {
    let mut maps = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))?.flatten() {
        // It may have been closed since.
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name))?;
            value.trim().parse::<u64>().ok()
        };
        if let (Some(id), Some(bytes)) = (field("map_id:"), field("memlock:")) {
            maps.insert(id, bytes);
        }
    }
    Ok((maps.len(), maps.values().sum()))
}

/// Bytes of a process's memory that belong to maps of BPF.
fn mapped(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let length = |line: &str| {
        let (from, to) = line.split_once(' ')?.0.split_once('-')?;
        Some(u64::from_str_radix(to, 16).ok()? - u64::from_str_radix(from, 16).ok()?)
    };
    Ok(text.lines().filter(|line| line.ends_with("bpf-map")).filter_map(length).sum())
}

/// Bytes that the files in a directory and below it take on the disk. One that goes meanwhile takes nothing.
fn bytes_in(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let bytes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(about) if about.is_dir() => bytes_in(&entry.path()),
        Ok(about) => about.blocks() * 512,
        Err(_) => 0,
    });
    bytes.sum()
}
