//! Where a frame is: its mapping, its address there, and what to call it when it has no name.

use std::collections::BTreeMap;

use crate::model::conventions::mapping;
use crate::model::frame::{Binary, BinaryKind, Frame};
use crate::profile::window::Window;

/// What a mapping stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum MappingKey {
    /// A file, by [`Binary::id`].
    Binary(u32),
    /// One of the pseudo mappings of [`mapping`].
    Pseudo(&'static str),
}

/// The mapping that a frame belongs to.
pub(super) fn mapping_of(frame: &Frame) -> MappingKey {
    match frame {
        Frame::Native { binary, .. } => MappingKey::Binary(binary.id),
        Frame::Jit { .. } => MappingKey::Pseudo(mapping::JIT),
        Frame::Kernel { .. } => MappingKey::Pseudo(mapping::KERNEL),
        Frame::Unmapped { .. } => MappingKey::Pseudo(mapping::UNKNOWN),
        Frame::Truncated { .. } | Frame::Marker(_) => MappingKey::Pseudo(mapping::MARKER),
    }
}

/// The address of a frame in its mapping; 0 where there is none to tell.
///
/// Kernel addresses are left out: they would give away where KASLR put the kernel to whoever reads the
/// file, and mean nothing after the next boot. A file offset is left out where the ELF virtual address
/// is not known, since readers would take one for the other.
pub(super) fn address_of(frame: &Frame) -> u64 {
    match frame {
        Frame::Native { binary, offset } => binary.address_of(*offset).unwrap_or(0),
        Frame::Jit { address, .. } | Frame::Unmapped { address } => *address,
        Frame::Kernel { .. } | Frame::Truncated { .. } | Frame::Marker(_) => 0,
    }
}

/// The name of a mapped file.
pub(super) fn file_name_of(binary: &Binary) -> &str {
    match binary.kind {
        BinaryKind::Vdso => "[vdso]",
        _ if binary.path.is_empty() => mapping::UNKNOWN,
        _ => &binary.path,
    }
}

/// What a frame is called that has no name.
///
/// - `[libfoo.so+0x1234]`: the ELF virtual address, as `addr2line` and `objdump` take it.
/// - `[libfoo.so+0x1234 in file]`: the file offset, where the virtual address is not known.
/// - `[kernel+0x1234]`: see [`KernelBases`].
/// - `[jit]`, `[unknown]`: a place in one process's memory, which means nothing after its end; the
///   location has the address.
pub(super) fn placeholder(frame: &Frame, bases: &KernelBases) -> String {
    match frame {
        Frame::Native { binary, offset } => {
            let name = file_name_of(binary).rsplit('/').next().unwrap_or_default();
            let name = name.trim_matches(['[', ']']);
            match binary.address_of(*offset) {
                Some(address) => format!("[{name}+{address:#x}]"),
                None => format!("[{name}+{offset:#x} in file]"),
            }
        }
        Frame::Kernel { address } => bases.name(*address),
        Frame::Jit { .. } => mapping::JIT.to_owned(),
        Frame::Unmapped { .. } => mapping::UNKNOWN.to_owned(),
        Frame::Truncated { .. } | Frame::Marker(_) => frame.marker_text().unwrap_or_default(),
    }
}

/// Tells unnamed kernel addresses apart without giving away where the kernel is: as the distance from
/// the lowest kernel address of the same profile, rounded down to the step of KASLR. Text, modules and
/// BPF programs are placed independently, so each region has its own zero, or their distance would
/// tell.
#[derive(Debug, Default)]
pub(super) struct KernelBases(BTreeMap<u64, u64>);

impl KernelBases {
    /// Regions: 1 GiB, the room that x86-64 gives to text, and to modules.
    const REGION_BITS: u32 = 30;
    /// KASLR moves text in steps of 2 MiB.
    const STEP: u64 = 2 << 20;

    pub(super) fn of(window: &Window) -> Self {
        let mut lowest: BTreeMap<u64, u64> = BTreeMap::new();
        for sample in window.samples() {
            for frame in sample.stack.iter() {
                if let Frame::Kernel { address } = frame {
                    let base = lowest.entry(address >> Self::REGION_BITS).or_insert(*address);
                    *base = (*base).min(*address);
                }
            }
        }
        lowest.values_mut().for_each(|base| *base &= !(Self::STEP - 1));
        Self(lowest)
    }

    fn name(&self, address: u64) -> String {
        let region = address >> Self::REGION_BITS;
        let base = self.0.get(&region).copied().unwrap_or(address);
        let distance = address.saturating_sub(base);
        match self.0.keys().position(|r| *r == region) {
            Some(0) | None => format!("[kernel+{distance:#x}]"),
            Some(n) => format!("[kernel region {}+{distance:#x}]", n + 1),
        }
    }
}
