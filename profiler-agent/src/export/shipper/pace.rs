//! How long an answer may take.
//!
//! A connection whose other end is gone without a word is only noticed by its silence. A backend that
//! answers in half a second is silent after three, so it is given up sooner than the configured
//! timeout allows. The tries that follow are short as well, so that one of them meets the backend soon
//! after it is back; now and then one gets the whole timeout, for a backend that has become slow.

use std::time::Duration;

/// Nothing is called silence before.
const SHORTEST: Duration = Duration::from_secs(3);

/// Silence is this many times the longest answer of late.
const FACTOR: u32 = 5;

/// A try of a backend that fails is this short, unless it is a patient one.
const TRY: Duration = Duration::from_secs(4);

/// How patient a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// As answers of late tell.
    Usual,
    /// The backend fails, and this is a quick look whether it is back.
    Quick,
    /// The backend fails, and may only be slow.
    Whole,
}

/// The deadline of the next request.
#[derive(Debug)]
pub(super) struct Pace {
    timeout: Duration,
    /// Longest answer of late: it fades by a quarter with each quicker one.
    longest: Duration,
}

impl Pace {
    /// As long as there was no answer, each may take the whole timeout.
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, longest: timeout / FACTOR }
    }

    pub(super) fn deadline(&self, patience: Patience) -> Duration {
        let deadline = match patience {
            Patience::Usual => self.longest.saturating_mul(FACTOR).max(SHORTEST),
            Patience::Quick => TRY,
            Patience::Whole => self.timeout,
        };
        deadline.min(self.timeout)
    }

    /// There was an answer, after so long.
    pub(super) fn answered(&mut self, took: Duration) {
        self.longest = took.max(self.longest - self.longest / 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn usual(pace: &Pace) -> Duration {
        pace.deadline(Patience::Usual)
    }

    #[test]
    fn silence_is_noticed_sooner_where_answers_are_quick() {
        let mut pace = Pace::new(TIMEOUT);
        assert_eq!(usual(&pace), TIMEOUT);
        (0..6).for_each(|_| pace.answered(Duration::from_millis(500)));
        assert_eq!(usual(&pace), SHORTEST);
        pace.answered(Duration::from_millis(1500));
        assert_eq!(usual(&pace), Duration::from_millis(7500));
        pace.answered(Duration::from_secs(9));
        assert_eq!(usual(&pace), TIMEOUT);
    }

    #[test]
    fn tries_are_short_but_for_the_patient_ones() {
        let pace = Pace::new(TIMEOUT);
        assert_eq!(pace.deadline(Patience::Quick), TRY);
        assert_eq!(pace.deadline(Patience::Whole), TIMEOUT);
    }

    #[test]
    fn a_short_timeout_is_kept() {
        let pace = Pace::new(Duration::from_secs(1));
        for patience in [Patience::Usual, Patience::Quick, Patience::Whole] {
            assert_eq!(pace.deadline(patience), Duration::from_secs(1));
        }
    }
}
