//! How long to wait between tries: exponential, with full jitter, so that the agents of a fleet do not
//! come back all at once.

use std::time::Duration;

use rand::Rng as _;

/// The first wait is at most this long.
const BASE: Duration = Duration::from_millis(250);

/// No wait is longer, whatever is going on: a backend that is back is used again within it. It may be
/// this short since a sink that fails makes one request per wait, and normally makes dozens.
pub(super) const CAP: Duration = Duration::from_secs(3);

/// No wait is shorter.
const FLOOR: Duration = Duration::from_millis(20);

/// Longest wait that a backend can ask for.
const ASKED_CAP: Duration = Duration::from_secs(300);

/// The wait before the next try, after `failures` in a row (1 or more).
pub(super) fn wait(failures: u32) -> Duration {
    let limit = limit(failures);
    rand::rng().random_range(FLOOR..=limit.max(FLOOR))
}

/// What a backend asked for, within reason, and a little more so that not all agents come at once.
pub(super) fn asked(after: Duration) -> Duration {
    after.min(ASKED_CAP) + wait(1)
}

fn limit(failures: u32) -> Duration {
    let factor = 1 << failures.saturating_sub(1).min(16);
    BASE.saturating_mul(factor).min(CAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_double_up_to_the_cap() {
        let millis: Vec<_> = (0..8).map(|n| limit(n).as_millis()).collect();
        assert_eq!(millis, [250, 250, 500, 1000, 2000, 3000, 3000, 3000]);
        assert_eq!(limit(u32::MAX), CAP);
    }

    #[test]
    fn waits_are_spread_over_the_whole_range() {
        let waits: Vec<_> = (0..2000).map(|_| wait(10)).collect();
        assert!(waits.iter().all(|w| (FLOOR..=CAP).contains(w)));
        assert!(waits.iter().any(|w| *w < CAP / 10));
        assert!(waits.iter().any(|w| *w > CAP * 9 / 10));
    }

    #[test]
    fn what_a_backend_asks_for_is_kept_within_reason() {
        assert!(asked(Duration::from_secs(7)) >= Duration::from_secs(7));
        assert!(asked(Duration::MAX) <= ASKED_CAP + BASE);
    }
}
