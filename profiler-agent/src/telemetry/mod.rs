//! The agent's own numbers and logs.
//!
//! [`Metric`] is the one list of metrics; a number without an entry there cannot be exported. [`Agent`]
//! is the handle that whoever wires the stages gives numbers to, and [`own`] what the agent reads of
//! itself. [`log`] writes the log: text or JSON, a level that can be changed, repeats told once.

mod agent;
pub mod log;
mod metric;
pub mod own;
mod repeats;

pub use agent::Agent;
pub use metric::{Kind, Metric};
