//! Perf maps: files in which a runtime names the code that it generated, `/tmp/perf-PID.map` as the
//! process itself sees `/tmp` and its number.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use super::open::read_held;
use super::procfs::Procfs;
use super::status::Status;
use crate::model::frame::JitMap;

/// The perf maps that are held open, and their numbering.
#[derive(Debug)]
pub(super) struct JitMaps {
    open: Vec<Weak<JitMap>>,
    max_open: usize,
    next_id: u32,
    not_opened: u64,
}

impl JitMaps {
    /// None yet, and at most `max_open` open at a time.
    pub(super) fn new(max_open: usize) -> Self {
        Self { open: Vec::new(), max_open, next_id: 0, not_opened: 0 }
    }

    /// Perf maps that were there but not opened for the limit.
    pub(super) fn not_opened(&self) -> u64 {
        self.not_opened
    }

    /// A map of a process; without a file where it has none that may be read.
    pub(super) fn make(&mut self, pid: u32, procfs: &Procfs) -> Arc<JitMap> {
        let (path, file) = self.open(pid, procfs);
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let map = Arc::new(JitMap { id, pid, file: file.map(Arc::new), path });
        if map.file.is_some() {
            self.open.push(Arc::downgrade(&map));
        }
        map
    }

    /// Looks once more for the map of a process that has none, or only its parent's; a new map if it is
    /// there now.
    pub(super) fn retry(&mut self, pid: u32, procfs: &Procfs) -> Option<Arc<JitMap>> {
        let new = self.make(pid, procfs);
        new.file.is_some().then_some(new)
    }

    fn open(&mut self, pid: u32, procfs: &Procfs) -> (PathBuf, Option<File>) {
        let mut path = procfs.path().join(format!("{pid}/root/tmp/perf-{pid}.map"));
        let Ok(dir) = procfs.process(pid) else { return (path, None) };
        let Some(status) = dir.read("status").ok().and_then(|text| Status::parse(&text)) else {
            return (path, None);
        };
        let inside = format!("tmp/perf-{}.map", status.inner_pid);
        path = procfs.path().join(format!("{pid}/root/{inside}"));
        let file = dir
            .hold_in_root(inside.as_bytes())
            .and_then(|held| read_held(&held))
            .and_then(|file| owned(file, &status))
            .ok()
            .filter(|_| self.has_room());
        (path, file)
    }

    fn has_room(&mut self) -> bool {
        if self.open.len() >= self.max_open {
            self.open.retain(|map| map.strong_count() > 0);
        }
        let room = self.open.len() < self.max_open;
        self.not_opened += u64::from(!room);
        room
    }
}

/// The file, if the process itself or root wrote it: anyone may create files in `/tmp`.
fn owned(file: File, status: &Status) -> io::Result<File> {
    let owner = file.metadata()?.uid();
    if owner == 0 || status.uids.contains(&owner) {
        Ok(file)
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}
