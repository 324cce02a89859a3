//! When to try something again that may fail for long: soon at first, then ever more rarely.

use std::time::Duration;

/// The times at which to try.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    due_ns: u64,
    wait_ns: u64,
    longest_ns: u64,
}

impl Backoff {
    /// At once, then after `first`, and in the end every `longest`.
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self { due_ns: 0, wait_ns: nanos(first), longest_ns: nanos(longest) }
    }

    /// Whether it is time to try; if so, the next time is set.
    pub(super) fn is_due(&mut self, now_ns: u64) -> bool {
        if now_ns < self.due_ns {
            return false;
        }
        self.due_ns = now_ns.saturating_add(self.wait_ns);
        self.wait_ns = self.wait_ns.saturating_mul(2).min(self.longest_ns);
        true
    }
}

/// A duration in ns, as events count.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ever_more_rarely() {
        let second = nanos(Duration::from_secs(1));
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(20));
        let tries: Vec<u64> = (0..80).filter(|s| backoff.is_due(s * second)).collect();
        assert_eq!(tries, [0, 1, 3, 7, 15, 31, 51, 71]);
    }
}
