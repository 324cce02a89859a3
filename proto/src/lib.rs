//! The wire formats that profiler-agent speaks. Today: [`pprof`].

pub mod pprof;
