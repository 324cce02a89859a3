//! Sinks against servers that are as strict as the real ones, over real sockets, in all weathers.

mod collector;
mod faults;
mod outage;
mod rig;
mod round_trip;
mod tls;
