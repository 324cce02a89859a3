//! How much is recorded: what the user asked for, and what a budget or a burst makes of it for a while.

use std::time::Duration;

/// How much is recorded from some moment on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Samples per second and CPU.
    pub frequency: u32,
    /// Shorter blocks are only counted.
    pub min_block: Duration,
    /// A shorter block gives its time to its thread, to be shared out over the thread's other blocks, and
    /// has no record of its own. Zero where every block has one.
    pub carry_below: Duration,
    /// Blocks per second of which a CPU keeps the stack; the time of the others is shared out.
    pub blocks_per_second: u32,
    /// More samples than that, for a while.
    pub burst: Option<Burst>,
}

/// More samples for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burst {
    /// Samples per second and CPU.
    pub frequency: u32,
    /// Of these processes; of all where there are none.
    pub pids: Vec<u32>,
}

/// Rates, and since when they hold (CLOCK_MONOTONIC, ns).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RatesChange {
    /// Since when.
    pub time_ns: u64,
    /// What holds.
    pub rates: Rates,
}

impl Rates {
    /// How often the clock hits, per second and CPU.
    pub fn clock_frequency(&self) -> u32 {
        self.burst.as_ref().map_or(self.frequency, |burst| burst.frequency.max(self.frequency))
    }

    /// How often a process is sampled that no burst is of by its number, per second and CPU.
    pub fn usual_frequency(&self) -> u32 {
        match &self.burst {
            Some(burst) if burst.pids.is_empty() => self.clock_frequency(),
            _ => self.frequency,
        }
    }

    /// CPU time that one sample of a process stands for, in ns.
    pub fn period_ns(&self, pid: u32) -> u64 {
        let frequency = match &self.burst {
            Some(burst) if burst.pids.contains(&pid) => self.clock_frequency(),
            _ => self.usual_frequency(),
        };
        period_of(frequency)
    }
}

/// The time between two hits of a clock of this frequency, in ns.
pub fn period_of(frequency: u32) -> u64 {
    1_000_000_000 / u64::from(frequency.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_stands_for_the_period_of_its_process() {
        let rates = |burst| Rates {
            frequency: 100,
            min_block: Duration::ZERO,
            carry_below: Duration::ZERO,
            blocks_per_second: 1,
            burst,
        };
        let burst = |pids: &[u32]| Some(Burst { frequency: 1_000, pids: pids.to_vec() });
        for (rates, clock, usual, of_7, of_8) in [
            (rates(None), 100, 100, 10_000_000, 10_000_000),
            (rates(burst(&[])), 1_000, 1_000, 1_000_000, 1_000_000),
            (rates(burst(&[7])), 1_000, 100, 1_000_000, 10_000_000),
        ] {
            let found = (rates.clock_frequency(), rates.usual_frequency());
            assert_eq!(found, (clock, usual), "{rates:?}");
            assert_eq!((rates.period_ns(7), rates.period_ns(8)), (of_7, of_8), "{rates:?}");
        }
    }
}
