//! How often the reader comes by: rarely when nothing happens, soon when a process is born, never so
//! often that a storm of births costs more than its share.

use std::time::Duration;

/// At least this lies between two rounds: 100 rounds a second at most.
const SHORTEST: Duration = Duration::from_millis(10);
/// At most this, while nothing asks for the reader: 10 rounds a second.
const LONGEST: Duration = Duration::from_millis(100);
/// For so long after the start, rounds are short: the first sample shall be seen soon.
const START: Duration = Duration::from_secs(1);
/// The CPUs that are online are looked at so often.
const HOTPLUG: Duration = Duration::from_secs(1);

/// How to wait for the next round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// First so long, whatever happens.
    pub pause: Duration,
    /// Then so long, unless something happens.
    pub listen: Duration,
}

/// Keeps the times. Every moment is CLOCK_MONOTONIC in ns.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    started_ns: u64,
    last_round_ns: u64,
    last_hotplug_ns: u64,
}

impl Pace {
    /// Of a recording that starts now.
    pub const fn new(now_ns: u64) -> Self {
        Self { started_ns: now_ns, last_round_ns: now_ns, last_hotplug_ns: now_ns }
    }

    /// How to wait for the next round, if the caller wants to wait no longer than `limit`.
    pub fn wait(&self, now_ns: u64, limit: Duration) -> Wait {
        let since_last = since(self.last_round_ns, now_ns);
        let round = if since(self.started_ns, now_ns) < START { SHORTEST } else { LONGEST };
        let pause = SHORTEST.saturating_sub(since_last).min(limit);
        let whole = round.saturating_sub(since_last).min(limit);
        Wait { pause, listen: whole.saturating_sub(pause) }
    }

    /// A round begins.
    pub const fn round(&mut self, now_ns: u64) {
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

const fn since(then_ns: u64, now_ns: u64) -> Duration {
    Duration::from_nanos(now_ns.saturating_sub(then_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn waits_by_the_age_of_the_last_round() {
        let mut pace = Pace::new(0);
        pace.round(5_000 * MS);
        let wait = |pace: &Pace, after_ms: u64, limit_ms: u64| {
            let wait = pace.wait((5_000 + after_ms) * MS, Duration::from_millis(limit_ms));
            (wait.pause.as_millis(), wait.listen.as_millis())
        };
        assert_eq!(wait(&pace, 0, 1_000), (10, 90));
        assert_eq!(wait(&pace, 4, 1_000), (6, 90));
        assert_eq!(wait(&pace, 60, 1_000), (0, 40));
        assert_eq!(wait(&pace, 500, 1_000), (0, 0), "a slow caller is not held up");
        assert_eq!(wait(&pace, 0, 30), (10, 20));
        assert_eq!(wait(&pace, 0, 3), (3, 0));
    }

    #[test]
    fn the_first_second_is_quick() {
        let pace = Pace::new(0);
        let quick = Wait { pause: Duration::from_millis(10), listen: Duration::ZERO };
        assert_eq!(pace.wait(0, Duration::from_secs(1)), quick);
    }

    #[test]
    fn cpus_are_looked_at_once_a_second() {
        let mut pace = Pace::new(0);
        let due: Vec<u64> = (0..=40).filter(|i| pace.hotplug_is_due(i * 100 * MS)).collect();
        assert_eq!(due, [10, 20, 30, 40]);
    }
}
