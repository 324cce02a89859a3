//! Who a sample belongs to, and where in which file its addresses lie.
//!
//! Processes are known from `/proc` (once, at the start, and lazily for one that was missed) and from
//! then on from what the kernel tells: mappings, names, forks, exits. A stack's addresses become
//! places in files the moment it arrives, while the mapping is known and the file can be opened, so
//! that the process may be gone long before its frames are named.

mod processes;

mod attribute;
mod identity;
mod stacks;

mod address_space;
mod headless;
mod life;
mod table;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;

mod backing;
mod binary;
mod elf;
mod jit;
mod mapped_file;
mod vdso;

mod backoff;
mod container;
mod maps;
mod mounts;
mod open;
mod patience;
mod procfs;
pub mod service;
mod status;
mod text;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::model::frame::Stack;
use crate::model::observation::ThreadInfo;

pub use processes::{Processes, ScanError};

/// How much is remembered, at most. Every bound has a count of what it turned away.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where procfs is mounted: of the pid namespace that the kernel side reports in.
    pub proc: PathBuf,
    /// Processes, dead ones included.
    pub max_processes: usize,
    /// Executable mappings, of all processes together. Children share those of their parent until
    /// one of the two changes them.
    pub max_mappings: usize,
    /// Executable mappings of one process.
    pub max_process_mappings: usize,
    /// Binaries.
    pub max_binaries: usize,
    /// Binaries that are held open.
    pub max_open_binaries: usize,
    /// Perf maps that are held open.
    pub max_open_perf_maps: usize,
    /// Frames, over all stacks that are remembered with their attribution.
    pub max_cached_frames: usize,
    /// How long a process is remembered after its end, for samples that arrive late.
    pub keep_dead: Duration,
    /// Which service a process belongs to.
    pub services: service::Rules,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            proc: PathBuf::from("/proc"),
            max_processes: 16_384,
            max_mappings: 1 << 20,
            max_process_mappings: 16_384,
            max_binaries: 8_192,
            max_open_binaries: 512,
            max_open_perf_maps: 128,
            max_cached_frames: 262_144,
            keep_dead: Duration::from_secs(5),
            services: service::Rules::default(),
        }
    }
}

/// A stack with its owner, independent from then on of both the process and its addresses.
#[derive(Clone, Debug)]
pub struct Attributed {
    /// Whose.
    pub thread: Arc<ThreadInfo>,
    /// Where.
    pub stack: Stack,
}
