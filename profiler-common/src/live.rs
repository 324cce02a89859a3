//! What may change while the programs run: the one value of the map `LIVE`, and the marks of processes
//! in the map `TARGETS`. All else stands in [`crate::settings`].

use zerocopy::{Immutable, IntoBytes};

/// What the loader decides now, and may decide otherwise later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub struct Live {
    /// Shorter blocks are only counted, ns.
    pub min_block_ns: u64,
    /// A block that is shorter than this has no record of its own end: its thread carries the time, ns.
    pub carry_below_ns: u64,
    /// Of processes without [`marks::BURST`], samples are taken as if the clock hit only once in so many
    /// ns; 0 where all are sampled alike.
    pub others_every_ns: u64,
    /// How far apart the hits of the clock lie, ns.
    pub period_ns: u64,
    /// Blocks of which a CPU keeps the stack in one tick; the rest are skipped at random. 0 for no limit.
    pub blocks_per_tick: u32,
    /// Bits of [`select`].
    pub select: u32,
}

/// Bits of [`Live::select`]: which marks matter. Without any, processes are not looked up.
pub mod select {
    /// Only processes with [`super::marks::WANTED`].
    pub const ONLY_WANTED: u32 = 1;
    /// No process with [`super::marks::EXCLUDED`].
    pub const SOME_EXCLUDED: u32 = 2;
}

/// Bits of a value in the map `TARGETS`, whose key is the process id.
pub mod marks {
    /// The process is wanted.
    pub const WANTED: u32 = 1;
    /// The process is not to be recorded.
    pub const EXCLUDED: u32 = 2;
    /// The process has every hit of the clock while others have few.
    pub const BURST: u32 = 4;
}

const _: () = assert!(size_of::<Live>() == 40);

#[cfg(feature = "user")]
// SAFETY: repr(C), no implicit padding (asserted above), any bits are valid.
unsafe impl aya::Pod for Live {}
