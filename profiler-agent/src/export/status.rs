//! How a sink does: counters and states that telemetry shows.

use std::sync::Mutex;
use std::time::Duration;

/// How a sink does, at one moment. Counters count since the sink was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Name of the sink.
    pub name: String,
    /// Its kind: `pyroscope`, `parca`, `otlp`, `files`.
    pub kind: &'static str,
    /// Windows that the backend has.
    pub shipped: u64,
    /// Tries of a window that failed and are made again.
    pub retried: u64,
    /// Windows that were given up: refused by the backend for good, too old, or in vain too often.
    pub refused: u64,
    /// Of these, those that were too old.
    pub too_old: u64,
    /// Windows of which something was sent again since an answer was lost: the backend may have it
    /// twice, with the very same time and labels.
    pub sent_again: u64,
    /// Windows that the store pushed out while they were on their way.
    pub gone: u64,
    /// Requests made, those that failed among them.
    pub requests: u64,
    /// Bytes of profiles in them, as packed.
    pub bytes: u64,
    /// Parts of windows that the backend refused for good.
    pub refused_parts: u64,
    /// Parts that broke a rule of the format and so never left.
    pub malformed: u64,
    /// Samples left out since no value of theirs was above zero, or they had no stack.
    pub dropped_samples: u64,
    /// Stacks that were cut at the root.
    pub cut_stacks: u64,
    /// Requests under way.
    pub in_flight: u64,
    /// Windows that wait to be shipped.
    pub pending: u64,
    /// Time since the end of the oldest of them.
    pub oldest_pending: Option<Duration>,
    /// Whether the last try failed.
    pub failing: bool,
    /// What went wrong last; it stays when all is well again.
    pub last_error: Option<String>,
}

/// A [`Status`] that tasks share.
#[derive(Debug)]
pub(super) struct Shared(Mutex<Status>);

impl Shared {
    pub(super) fn new(name: &str, kind: &'static str) -> Self {
        Self(Mutex::new(Status { name: name.to_owned(), kind, ..Status::default() }))
    }

    pub(super) fn read(&self) -> Status {
        self.update(|status| status.clone())
    }

    pub(super) fn update<T>(&self, change: impl FnOnce(&mut Status) -> T) -> T {
        // Whoever panicked has left numbers that are as good as any.
        change(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}
