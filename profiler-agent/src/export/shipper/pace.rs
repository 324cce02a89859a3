//! How long an answer may take.
//!
//! A connection whose other end is gone without a word is only noticed by its silence. A backend that
//! answers in half a second is silent after three, so it is given up sooner than the configured
//! timeout allows; where that was too hasty, the next try gets twice as long.

use std::time::Duration;

/// Nothing is called silence before.
const SHORTEST: Duration = Duration::from_secs(3);

/// Silence is this many times the longest answer of late.
const FACTOR: u32 = 5;

/// The deadline of the next request.
#[derive(Debug)]
pub(super) struct Pace {
    timeout: Duration,
    /// Longest answer of late: it fades by a hundredth with each quicker one.
    longest: Duration,
    /// Requests in a row that went unanswered.
    silences: u32,
}

impl Pace {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, longest: Duration::ZERO, silences: 0 }
    }

    pub(super) fn deadline(&self) -> Duration {
        let expected = self.longest.saturating_mul(FACTOR).max(SHORTEST);
        expected.saturating_mul(1 << self.silences.min(8)).min(self.timeout)
    }

    /// There was an answer, after so long.
    pub(super) fn answered(&mut self, took: Duration) {
        self.longest = took.max(self.longest - self.longest / 100);
        self.silences = 0;
    }

    /// There was none until the deadline.
    pub(super) fn unanswered(&mut self) {
        self.silences = self.silences.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[test]
    fn silence_is_noticed_sooner_where_answers_are_quick() {
        let mut pace = Pace::new(TIMEOUT);
        assert_eq!(pace.deadline(), SHORTEST);
        pace.answered(Duration::from_millis(500));
        assert_eq!(pace.deadline(), SHORTEST);
        pace.answered(Duration::from_millis(1500));
        assert_eq!(pace.deadline(), Duration::from_millis(7500));
        pace.answered(Duration::from_secs(9));
        assert_eq!(pace.deadline(), TIMEOUT);
    }

    #[test]
    fn a_backend_that_became_slow_gets_the_time_it_needs() {
        let mut pace = Pace::new(TIMEOUT);
        pace.answered(Duration::from_millis(10));
        pace.unanswered();
        assert_eq!(pace.deadline(), SHORTEST * 2);
        pace.unanswered();
        assert_eq!(pace.deadline(), TIMEOUT);
        (0..1000).for_each(|_| pace.unanswered());
        assert_eq!(pace.deadline(), TIMEOUT);
    }

    #[test]
    fn one_slow_answer_is_forgotten() {
        let mut pace = Pace::new(TIMEOUT);
        pace.answered(Duration::from_secs(2));
        (0..500).for_each(|_| pace.answered(Duration::from_millis(10)));
        assert_eq!(pace.deadline(), SHORTEST);
    }

    #[test]
    fn a_short_timeout_is_kept() {
        assert_eq!(Pace::new(Duration::from_secs(1)).deadline(), Duration::from_secs(1));
    }
}
