//! Regions as BPF maps: arrays of one value, mapped into the agent, and known to the programs by their
//! place in the map `ARENA`.

use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::maps::{ArrayOfMaps, MapData};
use aya_obj::generated::{BPF_F_MMAPABLE, bpf_map_type::BPF_MAP_TYPE_ARRAY};
use memmap2::{MmapOptions, MmapRaw};
use profiler_common::native::REGION_BYTES;

use super::Regions;
use crate::kernel::error::KernelError;
use crate::kernel::maps::failed;

/// The regions that the programs know.
pub struct BpfRegions {
    known: ArrayOfMaps<MapData>,
    mapped: Vec<MmapRaw>,
}

impl BpfRegions {
    /// None yet.
    pub fn new(known: ArrayOfMaps<MapData>) -> Self {
        Self { known, mapped: Vec::new() }
    }
}

impl Regions for BpfRegions {
    /// Takes some ten milliseconds: the kernel waits until no program can be looking at `ARENA`.
    fn add(&mut self) -> Result<(), KernelError> {
        let (kind, flags) = (BPF_MAP_TYPE_ARRAY as u32, BPF_F_MMAPABLE);
        let array = aya_obj::Map::new_from_params(kind, 4, REGION_BYTES, 1, flags);
        let map = MapData::create(array, "arena_region", None).map_err(failed)?;
        let mapped = MmapOptions::new()
            .len(REGION_BYTES as usize)
            .map_raw(map.fd().as_fd().as_raw_fd())
            .map_err(|source| KernelError::System { call: "mmap", source })?;
        // The kernel keeps what is in the array; the descriptor may go.
        self.known.set(self.mapped.len() as u32, &map, 0).map_err(failed)?;
        self.mapped.push(mapped);
        Ok(())
    }

    fn write(&mut self, region: u32, offset: u32, bytes: &[u8]) {
        let Some(mapped) = self.mapped.get(region as usize) else { return };
        let offset = offset as usize;
        let len = bytes.len().min(mapped.len().saturating_sub(offset));
        // SAFETY: `offset + len` is within the mapping, where `len` is not 0. Nobody has a reference into
        // it: the programs read it as they read anything, and believe nothing that they read.
        unsafe {
            mapped.as_mut_ptr().wrapping_add(offset).copy_from_nonoverlapping(bytes.as_ptr(), len)
        };
    }

    fn read(&self, region: u32, offset: u32, bytes: &mut [u8]) {
        let Some(mapped) = self.mapped.get(region as usize) else { return };
        let offset = offset as usize;
        let len = bytes.len().min(mapped.len().saturating_sub(offset));
        // SAFETY: `offset + len` is within the mapping, where `len` is not 0. Only this thread writes to
        // it.
        unsafe {
            mapped.as_ptr().wrapping_add(offset).copy_to_nonoverlapping(bytes.as_mut_ptr(), len)
        };
    }
}
