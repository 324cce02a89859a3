//! What may change while a recording runs, without a program being loaded again: how much is recorded,
//! and of which processes.

use std::collections::HashMap;
use std::time::Duration;

use profiler_common::live::{Live, marks, select};
use profiler_common::settings::TICK_NS;

use super::clock;
use super::error::KernelError;
use super::followed::{Followed, living_threads};
use super::maps::Maps;
use super::plan::{Plan, PlanError};
use super::session::Session;
use super::system;
use crate::model::event::Event;
use crate::model::rates::{Rates, RatesChange, period_of};

const NS_PER_SECOND: u64 = 1_000_000_000;

/// Processes that are chosen by their number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processes {
    /// Those that are wanted; empty for all.
    pub wanted: Vec<u32>,
    /// Those that are not.
    pub excluded: Vec<u32>,
}

/// The user side's memory of what holds.
pub(super) struct Control {
    rates: Rates,
    processes: Processes,
    followed: Followed,
    /// The table of marks may hold children that were born while the choice changed.
    unswept: bool,
}

impl From<&Plan> for Rates {
    fn from(plan: &Plan) -> Self {
        Self {
            frequency: plan.frequency,
            min_block: plan.min_block,
            carry_below: Duration::ZERO,
            blocks_per_second: plan.blocks_per_second,
            burst: None,
        }
    }
}

impl Control {
    /// As a plan says. Nothing is in the maps yet.
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            rates: plan.into(),
            processes: Processes { wanted: plan.pids.clone(), excluded: plan.exclude.pids.clone() },
            followed: Followed::new(plan.follow_forks),
            unswept: false,
        }
    }

    /// Writes everything into the maps.
    pub(super) fn write(&mut self, maps: &mut Maps) -> Result<(), KernelError> {
        let named = self.named();
        // Of marks that matter before they are there, nothing would be recorded: so they come first, and
        // those that are needed no more go last.
        let changes = self.followed.name(&named, living_threads);
        for change in changes.iter().filter(|change| change.marks != 0) {
            maps.mark(change.pid, change.marks)?;
        }
        maps.set_live(self.live())?;
        for change in changes.iter().filter(|change| change.marks == 0) {
            maps.mark(change.pid, 0)?;
        }
        Ok(())
    }

    /// Keeps the marks up with births and ends.
    pub(super) fn follow(&mut self, event: &Event, maps: &mut Maps) -> Result<(), KernelError> {
        let change = self.followed.apply(event, living_threads);
        // A birth that finds the table full was counted by the kernel side.
        change.map_or(Ok(()), |change| maps.mark(change.pid, change.marks).map(drop))
    }

    /// Takes marks that nobody gave, some time after a change.
    pub(super) fn sweep(&mut self, maps: &mut Maps) -> Result<(), KernelError> {
        if !std::mem::take(&mut self.unswept) {
            return Ok(());
        }
        let strangers: Vec<u32> =
            maps.marked().into_iter().filter(|pid| !self.followed.contains(*pid)).collect();
        strangers.into_iter().try_for_each(|pid| maps.mark(pid, 0).map(drop))
    }

    /// The marks of the processes that are named.
    fn named(&self) -> HashMap<u32, u32> {
        let Processes { wanted, excluded } = &self.processes;
        let burst = self.rates.burst.iter().flat_map(|burst| &burst.pids);
        let with = |pids: Vec<u32>, mark| pids.into_iter().map(move |pid| (pid, mark));
        let mut named: HashMap<u32, u32> = HashMap::new();
        for (pid, mark) in with(wanted.clone(), marks::WANTED)
            .chain(with(excluded.clone(), marks::EXCLUDED))
            .chain(with(burst.copied().collect(), marks::BURST))
        {
            *named.entry(pid).or_default() |= mark;
        }
        named
    }

    fn live(&self) -> Live {
        let Self { rates, processes, .. } = self;
        let of_some = rates.burst.as_ref().is_some_and(|burst| !burst.pids.is_empty());
        let bit = |on: bool, bit: u32| if on { bit } else { 0 };
        Live {
            min_block_ns: nanos(rates.min_block),
            carry_below_ns: nanos(rates.carry_below),
            others_every_ns: if of_some { period_of(rates.frequency) } else { 0 },
            period_ns: period_of(rates.clock_frequency()),
            blocks_per_tick: blocks_per_tick(rates.blocks_per_second),
            select: bit(!processes.wanted.is_empty(), select::ONLY_WANTED)
                | bit(!processes.excluded.is_empty(), select::SOME_EXCLUDED),
        }
    }
}

impl Session {
    /// Records so much from now on. An [`Event::Rates`] among the events says from which moment; the
    /// samples before it stand for the period of the rates before. A frequency that the kernel allows no
    /// more is brought down to what it allows. Returns what holds now.
    ///
    /// # Errors
    /// Where a frequency is out of range, or the kernel refuses: what held then holds on.
    pub fn apply(&mut self, rates: &Rates) -> Result<Rates, KernelError> {
        let rates = allowed(rates)?;
        if rates == self.control.rates {
            return Ok(rates);
        }
        let before = std::mem::replace(&mut self.control.rates, rates.clone());
        if let Err(error) = self.enforce(&before) {
            self.control.rates = before;
            self.control.write(&mut self.maps)?;
            return Err(error);
        }
        self.bpf_time.count_again();
        let time_ns = system::monotonic_ns();
        self.merge.push(Event::Rates(RatesChange { time_ns, rates: rates.clone() }));
        Ok(rates)
    }

    /// Which rates hold.
    pub fn rates(&self) -> &Rates {
        &self.control.rates
    }

    /// Records other processes from now on, and no longer some. What they did before is not there: a thread
    /// that is off the CPU has no stack until it leaves a CPU again. Returns whether they are others.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn choose(&mut self, processes: &Processes) -> Result<bool, KernelError> {
        if *processes == self.control.processes {
            return Ok(false);
        }
        self.control.processes = processes.clone();
        self.control.unswept = true;
        self.control.write(&mut self.maps)?;
        Ok(true)
    }

    /// Tells the programs and the clock. While the clock hits more often than what is told for others, they
    /// have too many samples: so the programs hear of a higher frequency first, of a lower one last.
    fn enforce(&mut self, before: &Rates) -> Result<(), KernelError> {
        let frequency = self.control.rates.clock_frequency();
        let Self { control, maps, sampling, .. } = self;
        let sampling = sampling.as_mut().filter(|_| frequency != before.clock_frequency());
        if frequency < before.clock_frequency()
            && let Some(sampling) = sampling
        {
            sampling.set_frequency(frequency)?;
            return control.write(maps);
        }
        control.write(maps)?;
        sampling.map_or(Ok(()), |sampling| sampling.set_frequency(frequency))
    }
}

/// What can be asked of this kernel now.
fn allowed(rates: &Rates) -> Result<Rates, KernelError> {
    let limit = system::read_number(clock::MAX_SAMPLE_RATE).unwrap_or(u32::MAX);
    let mut rates = rates.clone();
    let burst = rates.burst.as_mut().map(|burst| &mut burst.frequency);
    for frequency in [Some(&mut rates.frequency), burst].into_iter().flatten() {
        if !(1..=super::plan::MAX_FREQUENCY).contains(frequency) {
            return Err(PlanError::Frequency(*frequency).into());
        }
        *frequency = (*frequency).min(limit.max(1));
    }
    Ok(rates)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// At least one, so that a low rate is not none.
fn blocks_per_tick(per_second: u32) -> u32 {
    let per_tick = u64::from(per_second) * TICK_NS / NS_PER_SECOND;
    u32::try_from(per_tick).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::plan::Exclude;
    use crate::model::rates::Burst;

    #[test]
    fn a_low_rate_is_not_none() {
        for (per_second, per_tick) in [(1, 1), (10, 1), (2_000, 200), (u32::MAX, 429_496_729)] {
            assert_eq!(blocks_per_tick(per_second), per_tick);
        }
    }

    #[test]
    fn a_plan_becomes_what_the_programs_are_told() {
        let exclude = Exclude { pids: vec![8], ..Exclude::default() };
        let plan = Plan { frequency: 100, pids: vec![7, 8], exclude, ..Plan::default() };
        let mut control = Control::new(&plan);
        assert_eq!(
            control.live(),
            Live {
                min_block_ns: 1_000,
                carry_below_ns: 0,
                others_every_ns: 0,
                period_ns: 10_000_000,
                blocks_per_tick: 200,
                select: select::ONLY_WANTED | select::SOME_EXCLUDED,
            }
        );
        control.rates.burst = Some(Burst { frequency: 1_000, pids: vec![7] });
        let live = control.live();
        assert_eq!((live.others_every_ns, live.period_ns), (10_000_000, 1_000_000));
        let named = control.named();
        assert_eq!(named[&7], marks::WANTED | marks::BURST);
        assert_eq!(named[&8], marks::WANTED | marks::EXCLUDED);
    }

    #[test]
    fn a_frequency_out_of_range_is_refused() {
        let rates = Rates { frequency: 0, ..Rates::from(&Plan::default()) };
        assert!(allowed(&rates).is_err());
        let burst = Some(Burst { frequency: 10_001, pids: Vec::new() });
        assert!(allowed(&Rates { burst, ..Rates::from(&Plan::default()) }).is_err());
    }
}
