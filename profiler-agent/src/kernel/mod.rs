//! The one door to the kernel: aya, `perf_event_open` and `unsafe` live here and nowhere else.
//!
//! [`session::Session`] runs one [`plan::Plan`] and hands out [`crate::model::event::Event`]s in the
//! order of time.

pub mod error;
pub mod plan;
pub mod session;
