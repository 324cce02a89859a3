//! What is remembered of windows that were tried and not done with: which parts the backend has, so
//! that they are not sent again, and how often a window failed by its own fault.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use crate::export::backoff;

/// So many windows are remembered; of a day of windows, nearly half.
const MOST: usize = 4096;

/// A window that fails so often while others pass is given up.
pub(super) const MAX_STRIKES: u32 = 5;

/// How a window ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// The backend has all of it.
    Delivered,
    /// It is given up, and why.
    Refused(String),
}

/// What is remembered of one window.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// Parts that the backend has, by number.
    pub(super) done: BTreeSet<usize>,
    /// Parts of which the backend said that it will never take them.
    pub(super) refused: BTreeSet<usize>,
    /// What it said of the last of these.
    pub(super) refusal: Option<String>,
    /// Parts that were sent and not answered: the backend may have them.
    pub(super) unanswered: BTreeSet<usize>,
    /// Whether some part was sent again after its answer was lost.
    pub(super) sent_again: bool,
    /// Whether the window was shipped or given up, and only the store does not know it yet.
    pub(super) settled: Option<Settled>,
    /// Tries that failed after the request was sent, each since another window passed.
    pub(super) strikes: u32,
    /// Windows that had passed at the last strike that counted.
    pub(super) passed_at_strike: u64,
    /// Not to be tried before.
    pub(super) not_before: Option<Instant>,
}

impl Progress {
    /// A try failed though the backend was reached. What takes a backend down looks like a backend
    /// that is down: the difference is that other windows pass. So a failure counts only if one has
    /// passed since the last that counted; an outage, however long, counts once.
    pub(super) fn strike(&mut self, passed: u64) {
        if self.strikes == 0 || passed > self.passed_at_strike {
            self.strikes += 1;
            self.passed_at_strike = passed;
        }
        self.not_before = Some(Instant::now() + backoff::wait(self.strikes));
    }

    fn is_blank(&self) -> bool {
        self.done.is_empty()
            && self.refused.is_empty()
            && self.unanswered.is_empty()
            && self.strikes == 0
            && self.settled.is_none()
            && self.not_before.is_none()
    }
}

/// What is remembered of all windows, by their ids.
#[derive(Debug, Default)]
pub(super) struct Memory(BTreeMap<u64, Progress>);

impl Memory {
    /// Takes what is known of a window, to be given back by [`Self::keep`].
    pub(super) fn take(&mut self, id: u64) -> Progress {
        self.0.remove(&id).unwrap_or_default()
    }

    pub(super) fn get(&self, id: u64) -> Option<&Progress> {
        self.0.get(&id)
    }

    /// Remembers a window, if there is something to remember. Past the limit the oldest is forgotten:
    /// what the backend has of it will be sent again.
    pub(super) fn keep(&mut self, id: u64, progress: Progress) {
        if !progress.is_blank() {
            self.0.insert(id, progress);
        }
        while self.0.len() > MOST {
            self.0.pop_first();
        }
    }

    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets windows that are not among these.
    pub(super) fn retain(&mut self, is_pending: impl Fn(u64) -> bool) {
        self.0.retain(|id, _| is_pending(*id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_counts_once_and_a_window_that_alone_fails_each_time() {
        let mut victim = Progress::default();
        (0..100).for_each(|_| victim.strike(7));
        assert_eq!(victim.strikes, 1);

        let mut poison = Progress::default();
        (7..12).for_each(|passed| poison.strike(passed));
        assert_eq!(poison.strikes, MAX_STRIKES);
    }

    #[test]
    fn memory_is_bounded_and_forgets_the_oldest() {
        let mut memory = Memory::default();
        memory.keep(0, Progress::default());
        assert_eq!(memory.len(), 0);
        for id in 0..=MOST as u64 {
            memory.keep(id, Progress { strikes: 1, ..Progress::default() });
        }
        assert_eq!(memory.len(), MOST);
        assert!(memory.get(0).is_none() && memory.get(1).is_some());
        memory.retain(|id| id >= 4000);
        assert_eq!(memory.take(4000).strikes, 1);
        assert!(memory.get(3999).is_none());
    }
}
