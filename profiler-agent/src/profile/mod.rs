//! Counts stacks over a stretch of time and writes them as one pprof profile.
//!
//! - [`off_cpu`] pairs the moments at which a thread left and came back into blocked time.
//! - [`window`] adds up samples and blocked time by thread and stack; nothing that is added is lost.
//! - [`merge`] makes one profile of many windows.
//! - [`encode`] turns a window and the names of its frames into a `Profile`, with what [`meta`] says
//!   of the recording.

pub mod encode;
pub mod merge;
pub mod meta;
pub mod off_cpu;
mod share;
#[cfg(test)]
mod testing;
pub mod window;

pub use encode::encode;
pub use meta::Meta;
pub use off_cpu::{Block, Boundary, OffCpu};
pub use window::{Limits, Window};
