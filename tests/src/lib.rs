//! What the tests on the live kernel share.
//!
//! - [`workload`]: programs whose stacks and times are known, and how each is built.
//! - [`program`]: one of them running: waited for, asked for its truth, gone at the end.
//! - [`code`]: the instructions of a binary, to tell a caller from a number.
//! - [`debian`]: Debian's own programs at work.
//! - [`agent`]: a recording made by the agent's binary, with everything that it said.
//! - [`daemon`]: the agent as a service, in a room of its own.
//! - [`promtool`]: Prometheus's own tool, for the rules that are shipped.
//! - [`soak`]: the agent for an hour, or a minute, beside all that comes and goes; what of it grows.
//! - [`recorded`]: stacks with all that a walk needs, for tests without a kernel.
//! - [`stacks`]: a profile as lists of names.
//! - [`chain`]: whether each stack is whole.
//! - [`backends`]: servers that take profiles, and networks that fail.
//! - [`wait`]: conditions with deadlines.

pub mod agent;
pub mod backends;
pub mod chain;
pub mod code;
pub mod daemon;
pub mod debian;
pub mod program;
pub mod promtool;
pub mod recorded;
pub mod soak;
pub mod stacks;
pub mod wait;
pub mod workload;
