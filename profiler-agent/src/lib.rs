//! profiler-agent as a library: the stages of a sample's way, in their order.
//!
//! **The sample line** runs down this list: [`kernel`] reads what the BPF programs and the perf
//! side-band say, in the order of time → [`process`] turns addresses into places in files →
//! [`symbolize`] gives the places names → [`profile`] counts stacks in a window and writes it as
//! pprof → [`store`] keeps it → [`export`] ships it, [`view`] draws it, [`http`] answers with it.
//!
//! **The preparation line** runs the other way: for a mapping that was seen, [`runtime`] makes of the
//! file what the kernel needs to unwind its code.
//!
//! [`pipeline`] wires them, [`cli`] is what people call, [`config`] is what they wrote down, and
//! [`telemetry`] counts how the agent itself does. [`model`] is the vocabulary that they share.

pub mod model;

pub mod kernel;

pub mod process;

pub mod runtime;

pub mod symbolize;

pub mod profile;

pub mod store;

pub mod export;

pub mod view;

pub mod http;

pub mod telemetry;

pub mod config;

pub mod pipeline;

pub mod cli;

#[cfg(test)]
mod corpus;
