//! How native code is unwound without frame pointers: what lies in the kernel's tables, and how it is
//! read. Both sides read them with this very code: the programs while a stack is at hand, the user side
//! where tables came too late, and tests over recorded stacks.
//!
//! Tables live in the **arena**: a few regions of [`REGION_BYTES`], each one huge map value that the
//! user side writes through a mapping, without a system call. A region holds two kinds of things, found
//! by their byte offsets:
//!
//! - the **list** of a process's executable mappings ([`Mapping`]), in the order of their addresses,
//!   which the map `PROCESSES` leads to ([`MappingList`]);
//! - the **table** of a binary (see [`lookup`]): for each place in its code the [`rule`] that leads to
//!   the caller.
//!
//! [`frame`] and [`step`] apply a rule; [`walk`] does all of it for one frame. [`known`] spares it most
//! searches.

pub mod frame;
pub mod known;
pub mod lookup;
pub mod rule;
pub mod step;
pub mod walk;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of one region of the arena: as large as kernels before 5.11 allow a value of an array to be.
pub const REGION_BYTES: u32 = 4 << 20;
/// Bytes at the end of a region that nothing is placed in: a search reads 8 bytes at a time, and the
/// last read may go past what it looks at.
pub const REGION_RESERVE: u32 = 64;
/// Regions at most.
pub const REGIONS: u32 = 64;
/// Executable mappings of one process at most; further ones are stepped over by frame pointer.
pub const MAPPINGS_MAX: u32 = 1 << 15;

/// Where a process's list of mappings is: the value of the map `PROCESSES`, whose key is the process id.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct MappingList {
    /// Region of the arena.
    pub region: u32,
    /// Byte offset in it, a multiple of 8.
    pub offset: u32,
    /// How many [`Mapping`]s.
    pub count: u32,
    /// Padding.
    pub _pad: u32,
}

/// One range of executable addresses, and the table that unwinds it. Ranges do not overlap.
///
/// A mapping whose table has parts in several places is as many ranges.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// Length in bytes.
    pub len: u32,
    /// What to add to an offset from `start` to have the place in the table.
    pub delta: u32,
    /// Byte offset of the table in its region, a multiple of 8.
    pub table: u32,
    /// Byte offset of the table's rules in the region, a multiple of 8.
    pub rules: u32,
    /// Which table it is: see [`known::id`].
    pub id: u32,
    /// Region of the arena that holds the table.
    pub region: u16,
    /// A [`MappingKind`].
    pub kind: u16,
}

crate::wire_enum! {
    /// What is known of the code in a [`Mapping`].
    MappingKind {
        /// It has a table.
        Table = 0, "table";
        /// It has none, and will not get one: generated code, binaries without unwind information.
        NoRows = 1, "no_rows";
        /// Its table is not there yet, or was evicted.
        Pending = 2, "pending";
    }
}

impl MappingKind {
    /// As it is kept in a [`Mapping`].
    pub const fn short(self) -> u16 {
        self.raw() as u16
    }
}

const _: () = assert!(size_of::<MappingList>() == 16);
const _: () = assert!(size_of::<Mapping>() == 32);

#[cfg(feature = "user")]
// SAFETY: repr(C), no implicit padding (asserted above), any bits are valid.
unsafe impl aya::Pod for MappingList {}
