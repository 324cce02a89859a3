//! Sinks against servers that are as strict as the real ones, over real sockets, in all weathers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod collector;
mod faults;
mod keys;
mod outage;
mod rig;
mod round_trip;
mod tls;
