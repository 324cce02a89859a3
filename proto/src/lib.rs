//! The wire formats that profiler-agent speaks.
//!
//! - [`pprof`]: profiles, in files and in requests, with a strict check.
//! - [`otlp`]: the profiles signal of OpenTelemetry, with a strict check.
//! - [`wire`]: the services of Pyroscope and Parca, made of the definitions in `wire/`.
//! - [`rpc`]: details of a gRPC status.

pub mod otlp;
pub mod pprof;
pub mod rpc;

/// Services and messages, by their packages.
#[allow(
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::indexing_slicing,
    clippy::unwrap_used
)]
pub mod wire {
    include!(concat!(env!("OUT_DIR"), "/wire.rs"));
}
