//! What the shipper asks of a backend.

use std::future::Future;
use std::time::Duration;

use super::outcome::Outcome;
use crate::model::finished::Finished;

/// A way to ship windows.
pub(super) trait Backend: Send + Sync + 'static {
    /// What goes in one request.
    type Part: Send + Sync + 'static;

    /// Makes requests of a window: the same ones each time, in the same order, so that a retry can
    /// leave out those that were answered. It takes a while, and runs on a thread for blocking work.
    ///
    /// # Errors
    /// Says why the window cannot be shipped at all.
    fn prepare(&self, window: &Finished) -> Result<Prepared<Self::Part>, String>;

    /// Sends one part, and waits at most `deadline` for the answer.
    fn send(
        &self,
        part: &Part<Self::Part>,
        deadline: Duration,
    ) -> impl Future<Output = Outcome> + Send;

    /// A number that changes when there are other credentials: what was held back is tried again.
    fn credentials(&self) -> u64 {
        0
    }

    /// Most requests at once.
    fn in_flight(&self) -> usize;

    /// Longest time for a request.
    fn timeout(&self) -> Duration;
}

/// A window, made ready for a backend.
#[derive(Debug)]
pub(super) struct Prepared<P> {
    /// Requests. None of them depends on another.
    pub(super) parts: Vec<Part<P>>,
    /// What was left out on the way.
    pub(super) left_out: LeftOut,
}

/// One request.
#[derive(Debug)]
pub(super) struct Part<P> {
    /// What is sent.
    pub(super) body: P,
    /// Its size in bytes, as packed.
    pub(super) bytes: usize,
}

/// What was left out of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// Samples without a value above zero, or without a stack.
    pub(super) samples: u64,
    /// Stacks cut at the root.
    pub(super) cut_stacks: u64,
    /// Parts that broke a rule of the format.
    pub(super) malformed: u64,
}
