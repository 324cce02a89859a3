//! How often the reader comes by: rarely when nothing happens, at once when a process is born or maps
//! something, never so often that a storm of births costs more than its share.

use std::time::Duration;

/// At least this lies between two rounds: a program that is started shall be known before its first
/// sample is taken.
const SHORTEST: Duration = Duration::from_millis(2);
/// So many rounds may follow each other as closely as that, and each [`RECOVERY`] allows another one.
const CLOSE_ROUNDS: u64 = 100;
const RECOVERY: Duration = Duration::from_millis(10);
/// Then, at least this lies between them.
const MODERATE: Duration = Duration::from_millis(6);
/// At most this, while nothing asks for the reader: 10 rounds a second.
const LONGEST: Duration = Duration::from_millis(100);
/// For so long after the start, nothing needs to ask: the first sample shall be seen soon.
const START: Duration = Duration::from_secs(1);
const START_ROUND: Duration = Duration::from_millis(10);
/// The CPUs that are online are looked at so often.
const HOTPLUG: Duration = Duration::from_secs(1);

/// How to wait for the next round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// First so long, whatever happens.
    pub pause: Duration,
    /// Then so long, unless something happens.
    pub listen: Duration,
    /// If something did, so long from then on: what happened has settled by then.
    pub settle: Duration,
}

/// Keeps the times. Every moment is CLOCK_MONOTONIC in ns.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    settle: Duration,
    started_ns: u64,
    last_round_ns: u64,
    last_hotplug_ns: u64,
    /// Close rounds that are allowed, in ns of recovery.
    credit_ns: u64,
}

impl Pace {
    /// Of a recording that starts now. What happens is of use when it is this old.
    pub const fn new(now_ns: u64, settle: Duration) -> Self {
        Self {
            settle,
            started_ns: now_ns,
            last_round_ns: now_ns,
            last_hotplug_ns: now_ns,
            credit_ns: MAX_CREDIT_NS,
        }
    }

    /// How to wait for the next round, if the caller wants to wait no longer than `limit`.
    pub fn wait(&self, now_ns: u64, limit: Duration) -> Wait {
        let since_last = since(self.last_round_ns, now_ns);
        let longest = if since(self.started_ns, now_ns) < START { START_ROUND } else { LONGEST };
        let shortest = if self.credit_ns < nanos(RECOVERY) { MODERATE } else { SHORTEST };
        let settle = self.settle.min(limit);
        let pause = shortest.saturating_sub(since_last + settle).min(limit - settle);
        let whole = longest.saturating_sub(since_last).min(limit);
        Wait { pause, listen: whole.saturating_sub(pause), settle }
    }

    /// A round begins.
    pub fn round(&mut self, now_ns: u64) {
        let gap = nanos(since(self.last_round_ns, now_ns));
        let credit = self.credit_ns.saturating_add(gap).min(MAX_CREDIT_NS);
        self.credit_ns = credit.saturating_sub(nanos(RECOVERY));
        self.last_round_ns = now_ns;
    }

    /// Whether it is time to look at the CPUs; if so, it was.
    pub fn hotplug_is_due(&mut self, now_ns: u64) -> bool {
        let due = since(self.last_hotplug_ns, now_ns) >= HOTPLUG;
        if due {
            self.last_hotplug_ns = now_ns;
        }
        due
    }
}

const MAX_CREDIT_NS: u64 = CLOSE_ROUNDS * nanos(RECOVERY);

const fn since(then_ns: u64, now_ns: u64) -> Duration {
    Duration::from_nanos(now_ns.saturating_sub(then_ns))
}

const fn nanos(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const SETTLE: Duration = Duration::from_millis(1);

    /// A recording that is 5 seconds old, with a round just now.
    fn settled() -> Pace {
        let mut pace = Pace::new(0, SETTLE);
        pace.round(5_000 * MS);
        pace
    }

    #[test]
    fn waits_by_the_age_of_the_last_round() {
        let pace = settled();
        let wait = |after_ms: u64, limit_ms: u64| {
            let wait = pace.wait((5_000 + after_ms) * MS, Duration::from_millis(limit_ms));
            (wait.pause.as_millis(), wait.listen.as_millis(), wait.settle.as_millis())
        };
        assert_eq!(wait(0, 1_000), (1, 99, 1));
        assert_eq!(wait(1, 1_000), (0, 99, 1));
        assert_eq!(wait(60, 1_000), (0, 40, 1));
        assert_eq!(wait(500, 1_000), (0, 0, 1), "a slow caller is not held up");
        assert_eq!(wait(0, 30), (1, 29, 1));
        assert_eq!(wait(0, 1), (0, 1, 1));
        assert_eq!(wait(0, 0), (0, 0, 0));
    }

    #[test]
    fn the_first_second_is_quick() {
        let wait = Pace::new(0, SETTLE).wait(0, Duration::from_secs(1));
        assert_eq!(wait.pause + wait.listen, Duration::from_millis(10));
    }

    /// Rounds in a second in which something always happens.
    fn busy_second(pace: &mut Pace, from_ms: u64) -> u64 {
        let (mut now, mut rounds) = (from_ms * MS, 0);
        while now < (from_ms + 1_000) * MS {
            let wait = pace.wait(now, Duration::from_secs(1));
            now += nanos(wait.pause + wait.settle);
            pace.round(now);
            rounds += 1;
        }
        rounds
    }

    #[test]
    fn a_storm_has_close_rounds_for_a_while() {
        let mut pace = settled();
        let rounds: Vec<u64> = (5..10).map(|s| busy_second(&mut pace, s * 1_000)).collect();
        assert!((240..300).contains(&rounds[0]), "{rounds:?}");
        assert!(rounds[1..].iter().all(|n| (160..220).contains(n)), "{rounds:?}");
        pace.round(20_000 * MS);
        assert_eq!(busy_second(&mut pace, 20_000), rounds[0], "after a rest, as before");
    }

    #[test]
    fn cpus_are_looked_at_once_a_second() {
        let mut pace = Pace::new(0, SETTLE);
        let due: Vec<u64> = (0..=40).filter(|i| pace.hotplug_is_due(i * 100 * MS)).collect();
        assert_eq!(due, [10, 20, 30, 40]);
    }
}
