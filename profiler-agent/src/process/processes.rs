//! The stage: takes events, answers with attributed stacks.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::text::comm;
use super::{Attributed, Config};
use crate::model::event::{Event, RawStack};
use crate::model::frame::Frame;
use crate::model::losses::Losses;
use crate::model::observation::ThreadInfo;

/// `/proc` could not be read at all: nothing could be attributed.
#[derive(Debug, thiserror::Error)]
#[error("cannot list processes in {path}: {source}; mount procfs there, and run as root")]
pub struct ScanError {
    /// Where procfs was looked for.
    path: PathBuf,
    /// Why not.
    source: io::Error,
}

/// Every process that is known.
#[derive(Debug)]
pub struct Processes {
    config: Config,
    losses: Losses,
}

impl Processes {
    /// Knows no process yet.
    pub fn new(config: Config) -> Self {
        Self { config, losses: Losses::default() }
    }

    /// Reads all processes that live now. To be called once the side-band is open, so that nothing
    /// happens between the two.
    pub fn scan(&mut self) -> Result<(), ScanError> {
        std::fs::read_dir(&self.config.proc)
            .map(drop)
            .map_err(|source| ScanError { path: self.config.proc.clone(), source })
    }

    /// Follows what happened to a process. Events come in the order of time; samples are ignored.
    pub fn apply(&mut self, _event: &Event) {}

    /// Says whose a stack is and where its addresses lie.
    pub fn attribute(&mut self, raw: &RawStack) -> Attributed {
        let name: Arc<str> = comm(&raw.comm).into();
        let thread = Arc::new(ThreadInfo {
            pid: raw.pid,
            tid: raw.tid,
            process: Arc::clone(&name),
            thread: name,
            cgroup: format!("id:{}", raw.cgroup_id).into(),
        });
        let kernel = raw.kernel.iter().map(|address| Frame::Kernel { address: *address });
        let user = raw.user.iter().map(|address| Frame::Unmapped { address: *address });
        Attributed { thread, stack: kernel.chain(user).collect() }
    }

    /// What was turned away so far.
    pub fn losses(&self) -> Losses {
        self.losses.clone()
    }

    /// Processes that at least one stack was attributed to.
    pub fn process_count(&self) -> usize {
        0
    }
}
