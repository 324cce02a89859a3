//! The only wiring: from the kernel's events to finished profiles.
//!
//! The **collector** ([`collector`]) takes events from the kernel in the order of time, attributes them
//! and counts them ([`line`]) in windows ([`windows`]); it never waits for anything else. The **namer**
//! ([`namer`]) turns frames that the collector meets for the first time into names, beside it, over a
//! bounded channel. The **preparer** ([`preparer`]) gets the kernel side ready for what processes map,
//! with threads of its own that read binaries: the collector tells it of every change, and keeps what it
//! has no time for. It also goes on with the walk of stacks that came before it was ready.
//!
//! [`record`] makes one window of a recording. [`run`] makes windows without end: each is encoded beside
//! the collector and handed over ([`running`]), while the collector is at work on the next.

mod burst;
mod collector;
mod control;
mod governor;
mod heat;
mod inbox;
mod line;
mod namer;
mod names;
mod preparer;
mod reading;
mod recording;
mod running;
mod shares;
mod steering;
mod unfinished;
mod wanted;
mod windows;

use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::Duration;

pub use self::burst::{BurstRefused, BurstWish, LONGEST as LONGEST_BURST};
pub use self::control::{Control, Ended, Handle, Recorded, Services};
pub use self::governor::{Budget, Memory};
pub use self::preparer::Unwinding;
pub use self::recording::{Recording, record};
pub use self::running::{Line, WindowDone, run};
pub use self::shares::table_limits;
pub use self::steering::Steered;
use crate::kernel::error::KernelError;
use crate::kernel::plan::Plan;
use crate::process::{self, ScanError};
use crate::profile::Limits;
use crate::runtime::native::CacheConfig;
use crate::symbolize;

/// What the stages of one recording need.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// What the kernel side records.
    pub plan: Plan,
    /// Limits of the process table, and the rules that name services.
    pub process: process::Config,
    /// Limits of the namer.
    pub symbolize: symbolize::Config,
    /// Bytes that unwinding may take, in the kernel and here.
    pub unwind_memory: u64,
    /// Where unwind tables are kept for the next recording, if they are.
    pub unwind_cache: Option<CacheConfig>,
    /// Limits of a window.
    pub window: Limits,
    /// What the agent may take; `None`: what it needs.
    pub budget: Option<Budget>,
    /// End by itself after this time; `None`: only when told to.
    pub duration: Option<Duration>,
}

/// Why a recording came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The kernel refused something.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Processes could not be listed.
    #[error(transparent)]
    Processes(#[from] ScanError),
    /// There are no more threads to be had.
    #[error("a thread could not be started: {0}; raise the limit of processes (ulimit -u)")]
    Threads(std::io::Error),
    /// It ended without a window.
    #[error("the recording ended without a result")]
    Nothing,
}

/// How a recording is doing, for whoever shows it.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Samples and blocks so far.
    pub samples: u64,
    /// Lost so far.
    pub lost: u64,
    /// Time since the first instant.
    pub elapsed: Duration,
    /// The kernel side is attached: what starts now is seen.
    pub attached: bool,
    /// Times that the collector has come by: it is alive while they grow.
    pub rounds: u64,
    /// What the agent takes, and how it answers to that.
    pub steered: Steered,
}

/// Starts a thread whose name tools such as top show.
fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, RecordError> {
    let builder = Builder::new().name(name.to_owned());
    builder.spawn_scoped(scope, work).map_err(RecordError::Threads)
}

/// What a thread came to; its panic goes on here.
fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
