//! The door through which the preparation line reaches the kernel's tables. What it is made of is the
//! kernel stage's matter; what goes through it is the runtimes'.

use std::time::Instant;

use profiler_common::native::MappingList;
use profiler_common::native::walk::Arena;

/// A place in the arena (see [`profiler_common::native`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Region.
    pub region: u32,
    /// Byte offset in it, a multiple of 8.
    pub offset: u32,
}

/// How full the arena is, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// What could be placed now, as far as the budget allows; perhaps not in one piece.
    pub free: u64,
    /// What becomes free within a second.
    pub resting: u64,
    /// What is in use.
    pub used: u64,
    /// The budget: all of the above.
    pub total: u64,
    /// What the kernel has given for it so far.
    pub mapped: u64,
}

/// The process table of the kernel side is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessesFull;

/// The arena, which can be read as the programs read it, and which process has which list in it.
pub trait KernelTables: Arena {
    /// The arena may take so many bytes; before that is said, none. What it has, it keeps.
    fn allow(&mut self, bytes: u64);

    /// Bytes that the kernel has taken beside the arena.
    fn beside(&self) -> u64;

    /// Writes bytes to a place of their own, 8-aligned, from where the programs may read them from now
    /// on. `None` where there is no room in one piece.
    fn place(&mut self, bytes: &[u8], now: Instant) -> Option<Place>;

    /// Changes four bytes of what was placed, at a multiple of 4: whoever reads them meanwhile finds the old
    /// ones or the new ones.
    fn change(&mut self, place: Place, at: u32, word: u32);

    /// Gives a place back that nothing leads to any more. Its bytes stay as they are for a while, since
    /// a program may be reading them.
    fn free(&mut self, place: Place, now: Instant);

    /// How full the arena is.
    fn room(&mut self, now: Instant) -> Room;

    /// Gives a process its list. `Err` where it was none of those that have one, and the table is full.
    fn set(&mut self, pid: u32, list: MappingList) -> Result<(), ProcessesFull>;

    /// Takes the list of a process away, if it has one.
    fn remove(&mut self, pid: u32);

    /// Every process that has a list.
    fn processes(&self) -> Vec<u32>;
}
