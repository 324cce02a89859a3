//! Whether a backend takes what it is sent, and when to try again when it does not.
//!
//! While it fails, one window after the other is tried with a single request, each a back-off after
//! the one before. A try that is not answered does not keep the next one waiting: it may hang on a
//! connection that is dead, when a new one would do.

use std::time::Duration;

use tokio::time::Instant;

use crate::export::backoff;

/// How a backend does.
#[derive(Debug)]
pub(super) struct Health {
    /// Failures in a row.
    failures: u32,
    /// Tries since it failed.
    tries: u32,
    /// When the next try is due.
    next: Instant,
    /// Parts that had been delivered when it began to fail.
    delivered_then: u64,
    /// The backend asked us to wait until then.
    asked: Option<Instant>,
    /// The credentials that it did not take.
    held_with: Option<u64>,
}

/// A backend that does not take us is asked again so often, unless the credentials change before.
pub(super) const HOLD: Duration = Duration::from_secs(30);

impl Health {
    pub(super) fn new() -> Self {
        Self {
            failures: 0,
            tries: 0,
            next: Instant::now(),
            delivered_then: 0,
            asked: None,
            held_with: None,
        }
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Tries since it fails; `None` while it does not.
    pub(super) fn tries(&self) -> Option<u32> {
        self.is_failing().then_some(self.tries)
    }

    /// When the next window may be begun.
    pub(super) fn next(&self, now: Instant) -> Instant {
        let due = if self.is_failing() { self.next } else { now };
        self.asked.map_or(due, |asked| due.max(asked))
    }

    /// A try begins. While the backend fails, the next one is due a back-off from now.
    pub(super) fn began(&mut self, now: Instant) {
        if self.is_failing() {
            self.next = now + backoff::wait(self.failures);
            self.tries = self.tries.wrapping_add(1);
        }
    }

    /// A try failed; `delivered` parts have been delivered so far, in all.
    pub(super) fn failed(&mut self, now: Instant, delivered: u64, after: Option<Duration>) {
        if self.failures == 0 {
            self.delivered_then = delivered;
            self.tries = 0;
            self.next = now + backoff::wait(1);
        }
        self.failures = self.failures.saturating_add(1);
        if let Some(after) = after {
            let until = now + backoff::asked(after);
            self.asked = Some(self.asked.map_or(until, |asked| asked.max(until)));
        }
    }

    /// The backend did not take us, with these credentials.
    pub(super) fn held(&mut self, now: Instant, delivered: u64, credentials: u64) {
        self.failed(now, delivered, Some(HOLD));
        self.held_with = Some(credentials);
    }

    /// These are the credentials now: where they are others than the refused ones, we try at once.
    pub(super) fn see_credentials(&mut self, now: Instant, credentials: u64) {
        if self.held_with.is_some_and(|refused| refused != credentials) {
            self.held_with = None;
            self.asked = None;
            self.next = now;
        }
    }

    /// Parts delivered so far, in all: any more than when it began to fail, and it is well.
    pub(super) fn delivered(&mut self, delivered: u64) {
        if self.is_failing() && delivered > self.delivered_then {
            self.failures = 0;
            self.held_with = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_puts_the_next_try_off_and_a_delivery_ends_it() {
        let now = Instant::now();
        let mut health = Health::new();
        assert_eq!(health.next(now), now);
        health.failed(now, 5, None);
        assert!(health.next(now) > now && health.next(now) <= now + backoff::CAP);
        health.delivered(5);
        assert!(health.is_failing());
        health.delivered(6);
        assert_eq!(health.next(now), now);
    }

    #[test]
    fn what_the_backend_asks_for_holds_also_when_something_passes() {
        let now = Instant::now();
        let mut health = Health::new();
        health.failed(now, 0, Some(Duration::from_secs(30)));
        health.delivered(1);
        assert!(!health.is_failing());
        assert!(health.next(now) >= now + Duration::from_secs(30));
    }

    #[test]
    fn other_credentials_are_tried_at_once() {
        let now = Instant::now();
        let mut health = Health::new();
        health.held(now, 0, 1);
        health.see_credentials(now, 1);
        assert!(health.next(now) >= now + HOLD);
        health.see_credentials(now, 2);
        assert_eq!(health.next(now), now);
    }

    #[test]
    fn tries_follow_each_other_without_waiting_for_answers() {
        let now = Instant::now();
        let mut health = Health::new();
        health.failed(now, 0, None);
        for n in 1..100 {
            let later = now + backoff::CAP * n;
            assert!(health.next(later) <= later);
            health.began(later);
            assert!(health.next(later) > later);
        }
    }
}
