//! Whether the clock can be trusted with removing what is too old.

use std::time::{Duration, Instant};

/// A clock that goes ahead of the time that has really passed by more than this has jumped.
const JUMP: Duration = Duration::from_secs(3600);

/// How long nothing is removed for its age after a jump. A clock that was wrong is put right by then; one
/// that was put right stays.
const HOLD: Duration = Duration::from_secs(600);

/// Follows the clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ages {
    last: Option<(u64, Instant)>,
    jumped_at: Option<Instant>,
}

impl Ages {
    /// Whether windows may go for their age, now that one has ended at this Unix time (ns).
    pub(super) fn may_evict(&mut self, unix_ns: u64, now: Instant) -> bool {
        if let Some((last_unix_ns, last)) = self.last.replace((unix_ns, now)) {
            let by_the_clock = Duration::from_nanos(unix_ns.saturating_sub(last_unix_ns));
            if by_the_clock > now.saturating_duration_since(last) + JUMP {
                self.jumped_at = Some(now);
            }
        }
        self.jumped_at.is_none_or(|at| now.saturating_duration_since(at) >= HOLD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_holds_for_ten_minutes() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let unix = |seconds: u64| seconds * 1_000_000_000;
        let mut ages = Ages::default();
        assert!(ages.may_evict(unix(100), at(0)));
        assert!(ages.may_evict(unix(110), at(10)));
        assert!(!ages.may_evict(unix(100_000), at(20)), "a day ahead in ten seconds");
        assert!(!ages.may_evict(unix(100_010), at(30)));
        assert!(ages.may_evict(unix(100_600), at(630)));
        assert!(ages.may_evict(unix(120), at(640)), "back is no reason to keep more");
    }
}
