//! The flight recorder: every finished window, on disk, before it goes anywhere else.
//!
//! **Layout.** A directory (0700) of redb databases (0600). Windows lie in *segments*, `NUMBER.redb`,
//! where the number is that of the first window. One segment, the newest, is written to; it is closed
//! when it holds a sixteenth of the budget or of the age, and is only read from then on. To make room,
//! the oldest segment is removed as a file: nothing is compacted. `cursors.redb` says what each sink has
//! settled. `lock` is held by the process that writes, and names it.
//!
//! **What a crash costs.** A window is one transaction with one `fsync`: after a SIGKILL or a power cut
//! it is there as a whole or not at all. Only the newest segment and the cursors need a repair then,
//! which redb does by walking that file's checksums. A segment that cannot be repaired is set aside as
//! `*.broken`, one of another version as `*.old-version`; neither stops the agent. What a sink settled is
//! written with `fsync` as well, so that a window arrives twice only where its answer was lost.
//!
//! **Where the disk fails** (full, read-only, gone), windows wait in memory, bounded and counted; sinks
//! get them from there, and they are written as soon as that works again: with the next window, or by
//! [`Store::tend`].
//!
//! **Locks.** What is asked often ([`Store::pending`], [`Store::infos`], [`Store::status`]) is answered
//! from an index in memory and never waits for the disk. [`Store::put`], [`Store::delivered`],
//! [`Store::refused`] and [`Store::tend`] write and wait for the disk: call them where blocking is
//! allowed. [`Store::window`] reads. All of it may be called from any thread.
//!
//! **Readers without an agent** ([`Reader`]) open the files under an overlay in memory, so that they
//! change nothing, need no lock, and can read what a crash left.
//!
//! The way of a window: [`Store::put`] → `disk` (segments, room) → `segment` (one file); the way of a
//! mark: [`Store::delivered`] → `index` → `cursors`.

mod age;
mod cursors;
mod directory;
mod disk;
mod error;
mod files;
mod index;
mod marks;
mod overlay;
mod reader;
mod recorder;
mod segment;
mod status;
#[cfg(test)]
mod tests;

pub use error::StoreError;
pub use index::Info;
pub use reader::Reader;
pub use recorder::{Opening, Store};
pub use status::{Counters, SinkStatus, Status};

use std::path::PathBuf;
use std::time::Duration;

/// What the store is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its directory. It is made if it is not there (its parent too).
    pub path: PathBuf,
    /// Most bytes on disk, all files together; at least [`MIN_BYTES`].
    pub max_bytes: u64,
    /// How long windows are kept, at least while there is room; up to a sixteenth longer.
    pub max_age: Duration,
    /// Names of the sinks that take windows from it. One that was not known before begins with the next
    /// window; of one that is gone, everything is forgotten.
    pub sinks: Vec<String>,
}

/// The smallest budget that a store works with, in bytes.
pub const MIN_BYTES: u64 = 16 << 20;

/// A segment is this part of the budget, in bytes and in time.
const SEGMENTS: u32 = 16;

/// Most windows that wait in memory where the disk fails: ten minutes of ten seconds each.
const MAX_WAITING: usize = 60;

/// Most bytes of them.
const MAX_WAITING_BYTES: u64 = 16 << 20;
