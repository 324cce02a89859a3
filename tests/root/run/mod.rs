//! The agent as a service: how it ends, what faults cost it, what its configuration does.
//!
//! - [`ending`]: SIGTERM, under load.
//! - [`kills`]: SIGKILL at random moments, and a start after each.
//! - [`stopped`]: stopped for a while, as by a frozen cgroup.
//! - [`disk`]: the disk full, slow, or without an answer.
//! - [`calendar`]: the clock set, the host asleep.
//! - [`scarce`]: no file descriptors, little memory.
//! - [`budget`]: too small a budget.
//! - [`on_call`]: the alerts that `deploy/` ships, with what a real agent exports.
//! - [`keys`]: what keys of the configuration do.
//! - [`mod@reload`] is about SIGHUP.
//! - [`soak`]: a minute of all that comes and goes.
//! - [`told`]: SIGUSR1, `query`, `top` and `burst`, and what the service manager hears.
//! - [`pprof`]: `go tool pprof` asks it about programs of other languages.
//!
//! docs/faults.md tells users what these tests show.

mod budget;
mod calendar;
mod disk;
mod ending;
mod keys;
mod kills;
mod on_call;
mod pprof;
mod reload;
mod scarce;
mod soak;
mod stopped;
mod told;
mod windows;
