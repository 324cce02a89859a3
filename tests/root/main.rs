//! Tests of the agent on the live kernel: programs whose truth is known, recorded as a user does.
//!
//! They need root and fail without it. Each one claims the host ([`host::claim`]), since a test that
//! saturates the CPUs would spoil another one's figures: they run one after the other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod bad_use;
mod chains;
mod counts;
mod debian;
mod debug_file;
mod filters;
mod full_tables;
mod host;
mod hostile;
mod hotplug;
mod leftovers;
mod memory_cgroup;
mod off_cpu;
mod privileges;
mod readers;
mod run;
mod scale;
mod short_lived;
mod silent_files;
mod unwind_budget;
mod unwind_cache;
mod wall;
mod whole;
mod windows;
