//! Many windows as one profile: what `query` draws, for a service, a process or a whole host.
//!
//! **What is equal.** A location is equal by mapping (build ID and path), address and lines; a sample by
//! its locations and labels. Values are added up. They are times already, so windows of different
//! frequencies add up as well; the merged period is then the mean time of a sample. Counts of what was
//! lost are added up, notes are kept with how many windows had them, so nothing that a window says of
//! itself is hidden.
//!
//! **What it costs.** An hour of a busy host is 360 windows with a million samples and more, of which most
//! are the same again and again. A window is read where it lies, without building its messages. Within a
//! window, a stack or a set of labels that was seen before is recognised by its bytes; only what is new is
//! looked into, and only what the filter wants enters a table. Parts of the windows are merged side by
//! side and then joined.
//!
//! **Bounds.** Past [`Limits`], samples are added up under a marker that says so, and counted: the sum
//! over a merged profile is the sum over its windows, always.
//!
//! - [`parallel`] shares the windows out over threads;
//! - `merger` takes them in, one by one: `window` reads one, `tables` hold what is equal, `comments` what
//!   windows say of themselves;
//! - `finish` makes the profile.

mod comments;
mod finish;
mod merger;
mod parallel;
mod tables;
#[cfg(test)]
mod tests;
mod window;

use profiler_proto::pprof::DecodeError;

pub use merger::{Merged, Merger};
pub use parallel::{Ended, Job, merge};

/// How much a merged profile may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Different samples.
    pub samples: usize,
    /// Frames of all different stacks together.
    pub frames: usize,
}

impl Default for Limits {
    /// A day of a busy host; some 50 MB at the most.
    fn default() -> Self {
        Self { samples: 250_000, frames: 4_000_000 }
    }
}

/// Why a window cannot be merged. It leaves nothing behind.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// It is no profile.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Its parts do not fit together.
    #[error("a profile that contradicts itself: {0}")]
    Contradiction(&'static str),
    /// It has values of a kind that the agent does not record.
    #[error("a profile of another tool: it has values of type {0}")]
    Foreign(String),
}
