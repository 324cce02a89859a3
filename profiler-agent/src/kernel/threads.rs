//! The threads that the programs remember, as the user side reads them: the array `SLOTS`, which is mapped, and
//! the hash map `THREADS`, where those are whose slot is another's.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::maps::{HashMap as BpfHashMap, Map, MapData, MapError};
use memmap2::{MmapOptions, MmapRaw};
use profiler_common::thread::ThreadEntry;

use super::error::KernelError;
use super::maps::failed;

/// Insert only what is not there yet (include/uapi/linux/bpf.h).
const BPF_NOEXIST: u64 = 1;

/// Every thread that left a CPU at least once and still lives.
pub struct Threads {
    slots: Slots,
    others: BpfHashMap<MapData, u32, ThreadEntry>,
}

impl Threads {
    /// Of the two maps; the array has so many slots, a power of two.
    pub fn new(
        slots: SlotsMap,
        len: u32,
        others: BpfHashMap<MapData, u32, ThreadEntry>,
    ) -> Result<Self, KernelError> {
        Ok(Self { slots: Slots::map(slots, len)?, others })
    }

    /// Remembers one as off the CPU, unless the programs know it already. Returns whether it was new.
    pub fn remember(&mut self, tid: u32, entry: ThreadEntry) -> Result<bool, KernelError> {
        if self.slots.of(tid).tid == tid {
            return Ok(false);
        }
        match self.others.insert(tid, entry, BPF_NOEXIST) {
            Ok(()) => Ok(true),
            Err(MapError::SyscallError(e)) if is_full_or_known(&e.io_error) => Ok(false),
            Err(e) => Err(failed(e)),
        }
    }

    /// All of them. One that ends meanwhile takes its entry along.
    pub fn all(&self) -> Vec<(u32, ThreadEntry)> {
        // One that moves to its slot meanwhile is in both: what its slot says is newer.
        let mut all: HashMap<u32, ThreadEntry> =
            self.others.iter().filter_map(Result::ok).collect();
        let slots = (0..self.slots.len).map(|index| self.slots.of(index));
        all.extend(slots.filter(|entry| entry.tid != 0).map(|entry| (entry.tid, entry)));
        all.into_iter().collect()
    }
}

fn is_full_or_known(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EEXIST | libc::E2BIG))
}

/// The array, as the object has it.
pub struct SlotsMap(MapData);

impl TryFrom<Map> for SlotsMap {
    type Error = MapError;

    fn try_from(map: Map) -> Result<Self, MapError> {
        match map {
            Map::Array(data) => Ok(Self(data)),
            _ => Err(MapError::InvalidMapType { map_type: 0 }),
        }
    }
}

/// The array, mapped.
struct Slots {
    mapped: MmapRaw,
    /// Programs that are loaded later ask for its descriptor.
    _map: MapData,
    /// How many, a power of two.
    len: u32,
}

impl Slots {
    fn map(array: SlotsMap, len: u32) -> Result<Self, KernelError> {
        let mapped = MmapOptions::new()
            .len(len as usize * size_of::<ThreadEntry>())
            .map_raw_read_only(array.0.fd().as_fd().as_raw_fd())
            .map_err(|source| KernelError::System { call: "mmap", source })?;
        Ok(Self { mapped, _map: array.0, len })
    }

    /// The slot of a thread, whoever has it. A switch may write to it meanwhile, so its words may be of two
    /// moments.
    fn of(&self, tid: u32) -> ThreadEntry {
        let index = (tid & (self.len - 1)) as usize;
        let entry = self.mapped.as_ptr().cast::<ThreadEntry>().wrapping_add(index);
        // SAFETY: within the mapping, which begins at a page; any bits are an entry.
        unsafe { entry.read_volatile() }
    }
}
