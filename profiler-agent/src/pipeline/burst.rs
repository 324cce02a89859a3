//! More samples for a while, for an incident: bounded in length and in rate, and over by itself.

use std::time::{Duration, Instant};

use crate::kernel::plan::MAX_FREQUENCY;
use crate::model::rates::Burst;

/// The longest burst, also one that was extended: from the last time that somebody asked.
pub const LONGEST: Duration = Duration::from_secs(600);

/// Processes that a burst can be of.
const MOST_PIDS: usize = 64;

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BurstWish {
    /// Samples per second and CPU.
    pub frequency: u32,
    /// For how long from now.
    pub duration: Duration,
    /// Of one process; `None`: of all.
    pub pid: Option<u32>,
}

/// Why there is no burst.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BurstRefused {
    /// The clock cannot be so fast, or so slow.
    #[error("a burst of {0} Hz cannot be sampled: choose 1 to {MAX_FREQUENCY}")]
    Frequency(u32),
    /// It would not be a burst.
    #[error("a burst takes 1 s to {} s, not {:?}", LONGEST.as_secs(), .0)]
    Duration(Duration),
    /// There are too many processes in the running one.
    #[error("a burst is of at most {MOST_PIDS} processes")]
    Processes,
    /// Nothing is sampled on the CPUs, so there is no clock.
    #[error("a burst needs the event on-cpu or wall")]
    NoClock,
    /// The kernel refused.
    #[error("{0}")]
    Kernel(String),
}

/// The burst that is on, if one is.
#[derive(Clone, Debug, Default)]
pub(super) struct Bursts {
    on: Option<(Burst, Instant)>,
}

impl Bursts {
    /// Begins a burst, or extends the one that is on: it ends when the later of both would, and is as fast
    /// as the faster of both. Returns how long it takes from now.
    pub(super) fn ask(&mut self, wish: &BurstWish, now: Instant) -> Result<Duration, BurstRefused> {
        if !(1..=MAX_FREQUENCY).contains(&wish.frequency) {
            return Err(BurstRefused::Frequency(wish.frequency));
        }
        if wish.duration < Duration::from_secs(1) || wish.duration > LONGEST {
            return Err(BurstRefused::Duration(wish.duration));
        }
        let mut burst = Burst { frequency: wish.frequency, pids: wish.pid.into_iter().collect() };
        let mut ends = now + wish.duration;
        if let Some((before, ended)) = &self.on {
            burst.frequency = burst.frequency.max(before.frequency);
            ends = ends.max(*ended);
            if burst.pids.is_empty() || before.pids.is_empty() {
                burst.pids.clear();
            } else {
                burst.pids.extend(&before.pids);
                burst.pids.sort_unstable();
                burst.pids.dedup();
            }
            if burst.pids.len() > MOST_PIDS {
                return Err(BurstRefused::Processes);
            }
        }
        self.on = Some((burst, ends));
        Ok(ends - now)
    }

    /// The burst that is on now.
    pub(super) fn on(&mut self, now: Instant) -> Option<&Burst> {
        self.on.take_if(|(_, ends)| *ends <= now);
        self.on.as_ref().map(|(burst, _)| burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(frequency: u32, seconds: u64, pid: Option<u32>) -> BurstWish {
        BurstWish { frequency, duration: Duration::from_secs(seconds), pid }
    }

    #[test]
    fn a_burst_ends_by_itself() {
        let (mut bursts, now) = (Bursts::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(bursts.on(now), None);
        assert_eq!(bursts.ask(&wish(1_000, 30, None), now), Ok(Duration::from_secs(30)));
        assert_eq!(bursts.on(at(29)).map(|burst| burst.frequency), Some(1_000));
        assert_eq!(bursts.on(at(30)), None);
        assert_eq!(bursts.on(at(29)), None, "what is over is over");
    }

    #[test]
    fn a_second_one_extends_and_does_not_stack() {
        let (mut bursts, now) = (Bursts::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        bursts.ask(&wish(1_000, 30, Some(7)), now).unwrap();
        assert_eq!(bursts.ask(&wish(500, 30, Some(8)), at(10)), Ok(Duration::from_secs(30)));
        let burst = Burst { frequency: 1_000, pids: vec![7, 8] };
        assert_eq!(bursts.on(at(39)), Some(&burst));
        bursts.ask(&wish(99, 1, None), at(20)).unwrap();
        assert_eq!(bursts.on(at(39)), Some(&Burst { frequency: 1_000, pids: vec![] }));
        assert_eq!(bursts.on(at(40)), None);
    }

    #[test]
    fn what_is_no_burst_is_refused() {
        let (mut bursts, now) = (Bursts::default(), Instant::now());
        for (wish, refused) in [
            (wish(0, 30, None), BurstRefused::Frequency(0)),
            (wish(10_001, 30, None), BurstRefused::Frequency(10_001)),
            (wish(1_000, 0, None), BurstRefused::Duration(Duration::ZERO)),
            (wish(1_000, 601, None), BurstRefused::Duration(Duration::from_secs(601))),
        ] {
            assert_eq!(bursts.ask(&wish, now), Err(refused));
        }
        for pid in 1..=64 {
            bursts.ask(&wish(1_000, 30, Some(pid)), now).unwrap();
        }
        assert_eq!(bursts.ask(&wish(1_000, 30, Some(65)), now), Err(BurstRefused::Processes));
        assert_eq!(bursts.on(now).map(|burst| burst.pids.len()), Some(64));
    }
}
