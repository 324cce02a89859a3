//! The kernel's tables of the preparation line: the arena, and the map `PROCESSES`, which leads a
//! process to its list of mappings.

use std::time::Instant;

use aya::maps::{ArrayOfMaps, HashMap, MapData, MapError};
use profiler_common::native::{MappingList, walk};

use super::arena::region::BpfRegions;
use super::arena::{Arena, View};
use crate::model::tables::{KernelTables, Place, ProcessesFull, Room};

/// Their only writer.
pub struct Tables {
    arena: Arena<BpfRegions>,
    /// Bytes of the map `PROCESSES`.
    processes_bytes: u64,
    processes: HashMap<MapData, u32, MappingList>,
}

impl Tables {
    /// Empty, and without a budget. So many bytes are taken by the map of processes.
    pub fn new(
        regions: ArrayOfMaps<MapData>,
        processes: HashMap<MapData, u32, MappingList>,
        processes_bytes: u64,
    ) -> Self {
        Self { arena: Arena::new(BpfRegions::new(regions)), processes_bytes, processes }
    }
}

impl walk::Arena for Tables {
    type Region<'a> = View<'a, BpfRegions>;

    fn region(&mut self, number: u32) -> Option<Self::Region<'_>> {
        self.arena.view(number)
    }
}

impl KernelTables for Tables {
    fn allow(&mut self, bytes: u64) {
        self.arena.allow(bytes);
    }

    fn beside(&self) -> u64 {
        self.processes_bytes
    }

    fn place(&mut self, bytes: &[u8], now: Instant) -> Option<Place> {
        self.arena.place(bytes, now)
    }

    fn change(&mut self, place: Place, at: u32, word: u32) {
        self.arena.change(place, at, word);
    }

    fn free(&mut self, place: Place, now: Instant) {
        self.arena.free(place, now);
    }

    fn room(&mut self, now: Instant) -> Room {
        self.arena.room(now)
    }

    fn set(&mut self, pid: u32, list: MappingList) -> Result<(), ProcessesFull> {
        self.processes.insert(pid, list, 0).map_err(|error| {
            tracing::debug!(pid, %error, "process without a list of mappings");
            ProcessesFull
        })
    }

    fn remove(&mut self, pid: u32) {
        match self.processes.remove(&pid) {
            Ok(()) => {}
            // The programs removed it themselves, or it never had one.
            Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => tracing::debug!(pid, %error, "list of mappings not removed"),
        }
    }

    fn processes(&self) -> Vec<u32> {
        // One that is removed meanwhile takes the next key along; the next look finds it.
        self.processes.keys().filter_map(Result::ok).collect()
    }
}
