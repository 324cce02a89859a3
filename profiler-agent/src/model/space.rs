//! The executable memory of processes: what the preparation line learns of it.

use std::sync::Arc;

use profiler_common::walk::WalkEnd;

use super::event::Rest;
use super::frame::Binary;

/// An executable mapping.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// The address after the last.
    pub end: u64,
    /// Offset in the file of `start`; 0 for generated code.
    pub file_offset: u64,
    /// What lies there.
    pub code: Code,
}

/// What lies at a mapping.
#[derive(Clone, Debug)]
pub enum Code {
    /// A file's text.
    Binary(Arc<Binary>),
    /// Code that the process made.
    Generated,
}

impl Mapping {
    /// The offset in its file of an address that lies in it.
    pub fn offset_of(&self, address: u64) -> u64 {
        self.file_offset.wrapping_add(address.wrapping_sub(self.start))
    }
}

/// All executable mappings of a process at one moment, by address; they do not overlap. A process and
/// the children that it forked share one until either changes its own.
pub type Space = Arc<Vec<Mapping>>;

/// A process whose executable memory has changed since it was last told of.
#[derive(Clone, Debug)]
pub struct SpaceChange {
    /// Process id.
    pub pid: u32,
    /// As it is now; `None` when the process has ended.
    pub space: Option<Space>,
}

/// The mapping that holds an address.
pub fn lookup(space: &[Mapping], address: u64) -> Option<&Mapping> {
    let after = space.partition_point(|m| m.start <= address);
    let mapping = space.get(after.checked_sub(1)?)?;
    (address < mapping.end).then_some(mapping)
}

/// A stack whose walk waits for tables.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// A number by which the answer is known.
    pub ticket: u64,
    /// The memory of its process when the stack was taken.
    pub space: Space,
    /// Where the walk stands.
    pub rest: Rest,
    /// Frames that may follow, at most.
    pub limit: usize,
}

/// The answer to an [`Unfinished`] stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The number of the question.
    pub ticket: u64,
    /// The frames that follow, as [`super::event::RawStack::user`] has them.
    pub frames: Vec<u64>,
    /// Why there are no more.
    pub end: WalkEnd,
}
