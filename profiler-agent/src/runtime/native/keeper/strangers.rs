//! Processes that only the kernel side knows. Side-band records may be lost, and with them the news of
//! a process that was born and has ended: what the programs handed on at its birth would stay for good.

use std::collections::HashSet;
use std::time::{Duration, Instant};

/// The kernel side is looked through so often.
const EVERY: Duration = Duration::from_secs(10);

/// Those that were unknown when they were last looked for.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    seen: HashSet<u32>,
    due: Option<Instant>,
}

impl Strangers {
    /// Whether it is time to look; if so, the next time is set.
    pub(super) fn are_due(&mut self, now: Instant) -> bool {
        let due = self.due.is_none_or(|due| due <= now);
        if due {
            self.due = Some(now + EVERY);
        }
        due
    }

    /// Of the processes that are unknown now, those that were so the last time: one that has just been
    /// born may still become known.
    pub(super) fn seen_again(&mut self, unknown: Vec<u32>) -> Vec<u32> {
        let before = std::mem::replace(&mut self.seen, unknown.into_iter().collect());
        before.intersection(&self.seen).copied().collect()
    }
}
