//! The one door to the kernel: aya, `perf_event_open` and `unsafe` live here and nowhere else.
//!
//! A [`session::Session`] runs one [`plan::Plan`] and hands out [`crate::model::event::Event`]s in the
//! order of time. On its way from the plan to the events:
//!
//! - `features` asks what this kernel can do, with the help of its types (`btf`), and `settings`
//!   translates the plan for it;
//! - [`opening`] goes through the steps of a start: `load` brings the BPF object into the kernel, with its
//!   `maps`;
//! - `sideband` follows the processes, `clock` samples the CPUs, `tracepoints` follows the scheduler,
//!   `proc_sleepers` stands in for a part of that on old kernels;
//! - `ring` brings up what the programs saw, `merge` puts both sources into one order, `pace` and
//!   `waiter` say when.
//!
//! [`control`] changes what a running session records, and [`own_usage`] says what the agent takes.
//!
//! [`command`] starts what shall be recorded from its first instruction on, and [`doctor`] says what
//! works here.

pub mod allocator;
pub mod command;
pub mod control;
pub mod doctor;
pub mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
pub mod opening;
pub mod own_usage;
pub mod plan;
pub mod session;
pub mod system;
pub mod tables;
mod threads;
pub mod user;

mod btf;
mod features;
mod scheduler_text;
mod settings;

mod arena;
mod load;
mod maps;

mod clock;
mod proc_sleepers;
mod sideband;
mod sideband_record;
mod tracefs;
mod tracepoints;

mod ending;
mod facts;
mod followed;
mod merge;
mod pace;
mod ring;
mod ring_record;
mod spare;
mod waiter;

mod cgroup;
mod limits;
mod privileges;
