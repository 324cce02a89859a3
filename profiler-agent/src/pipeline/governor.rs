//! Keeps the agent within what it may take of the host: it gives way in steps, and comes back by the same
//! steps when there is room again. A function of readings: it looks at no clock and at no kernel.
//!
//! The steps, each of which costs as little truth as it can: by turns, short blocks lose their own records, so that
//! their threads carry the time, and fewer blocks keep their stack; then the clock samples more rarely. At no step
//! is a kind of event silent, and no time is lost: what has no stack of its own is shared out.

mod mean;

use std::time::Duration;

use self::mean::{Mean, Span};
use crate::model::rates::Rates;

/// What the agent may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Part of the time of all CPUs together, 0 to 1.
    pub cpu: f64,
    /// Bytes of memory.
    pub memory: u64,
}

/// What was taken, between one reading and the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// How long that was.
    pub elapsed: Duration,
    /// CPUs that were online.
    pub cpus: usize,
    /// CPU time of the agent's threads, ns.
    pub own_ns: u64,
    /// Time in its BPF programs, ns.
    pub bpf_ns: u64,
    /// Memory now, bytes.
    pub memory: u64,
    /// Samples per second and CPU of a burst that is on; 0 where none is. Somebody wants it, so what it
    /// costs is not held against the budget.
    pub burst_frequency: u32,
}

/// How tight memory is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Memory {
    /// Within the budget.
    #[default]
    Free,
    /// Caches are given up.
    Caches,
    /// And windows hold less.
    Windows,
}

/// A change, to be told to the kernel side, to the log, in the metrics and in the window.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// So much is recorded from now on.
    pub rates: Rates,
    /// How tight memory is.
    pub memory: Memory,
    /// How many steps below what was configured.
    pub level: usize,
    /// One line for a person.
    pub reason: String,
}

/// The longest block that loses its own record.
const CARRY_MOST: Duration = Duration::from_millis(1);
/// The shortest that is worth a step, and how much longer each further one is.
const CARRY_LEAST: Duration = Duration::from_micros(32);
const CARRY_FACTOR: u32 = 5;
/// Blocks per second and CPU that always keep their stack.
const FEWEST_BLOCKS: u32 = 50;
/// Frequencies below the configured one.
const FREQUENCIES: [u32; 2] = [49, 19];

/// What a sample may cost, in the kernel and in the agent, while a burst is on.
const BURST_SAMPLE: Duration = Duration::from_micros(40);

/// The agent's own time comes in bursts, one for each window, so its mean is taken over this long: two
/// windows of the usual length, since with one and a bit there would be two bursts in it now and then. It is
/// judged when it is of nearly so long: readings are of a second and a bit.
const OWN: Span = Span { least: Duration::from_secs(18), most: Duration::from_secs(20) };
/// The programs' time follows the host's, so it is judged soon, but not by a single second.
const BPF: Span = Span { least: Duration::from_secs(3), most: Duration::from_secs(5) };
/// What the agent takes for its start has nothing to do with its rates: tables of all processes, names of
/// all that runs. So long its own time, and that of its programs, is not looked at.
const OWN_START: Duration = Duration::from_secs(15);
const BPF_START: Duration = Duration::from_secs(5);
/// Nor so long after a step: what it does must show first.
const SETTLING: Duration = Duration::from_secs(2);
/// Likewise memory, which is given back when a window ends.
const MEMORY_SETTLING: Duration = Duration::from_secs(25);
/// A step is taken above this part of the budget: what is judged are means, which follow behind.
const AIM: f64 = 0.95;
/// One step for each such part of the budget that is too much…
const A_STEP: f64 = 0.15;
/// …but no more than this.
const LEAP: usize = 4;
/// There is room for a step back where less than this part of the budget was taken, for [`LEAP`] where it was
/// less than this…
const ROOM: f64 = 0.6;
const MUCH_ROOM: f64 = 0.3;
/// …for so long; and longer, each time that a step back was too much.
const CALM: Duration = Duration::from_secs(30);
const CALM_MOST: Duration = Duration::from_secs(480);

/// See the module.
#[derive(Clone, Debug)]
pub struct Governor {
    budget: Budget,
    base: Rates,
    /// Below the base, the best first.
    ladder: Vec<Rates>,
    level: usize,
    memory: Memory,
    /// CPU time of the agent's threads as a part of all CPUs.
    own: Mean,
    /// That of its programs.
    bpf: Mean,
    calm: Duration,
    calm_needed: Duration,
    /// Since the last step back.
    since_back: Duration,
    memory_calm: Duration,
    memory_settling: Duration,
}

impl Governor {
    /// For what was configured.
    pub fn new(budget: Budget, base: &Rates) -> Self {
        Self {
            budget,
            base: base.clone(),
            ladder: ladder(base),
            level: 0,
            memory: Memory::Free,
            own: Mean::new(OWN, OWN_START),
            bpf: Mean::new(BPF, BPF_START),
            calm: Duration::ZERO,
            calm_needed: CALM,
            since_back: CALM_MOST,
            memory_calm: Duration::ZERO,
            memory_settling: Duration::ZERO,
        }
    }

    /// Another budget, or other rates, from now on: begins at what was configured.
    pub fn configure(&mut self, budget: Budget, base: &Rates) {
        let Self { own, bpf, memory, .. } = self.clone();
        *self = Self { own, bpf, memory, ..Self::new(budget, base) };
        self.begin_anew();
    }

    /// The rates that hold now.
    pub fn rates(&self) -> Rates {
        let below = self.level.checked_sub(1).and_then(|step| self.ladder.get(step));
        below.unwrap_or(&self.base).clone()
    }

    /// How many steps below what was configured.
    pub fn level(&self) -> usize {
        self.level
    }

    /// The part of all CPUs that the agent and its programs take, as judged.
    pub fn cpu(&self) -> f64 {
        self.bpf.value() + self.own.value()
    }

    /// How much of the budget is used, of CPUs and of memory; 1 is all of it.
    pub fn used(&self, reading: &Reading) -> (f64, f64) {
        let memory = reading.memory as f64 / self.budget.memory.max(1) as f64;
        (self.cpu() / self.budget.cpu.max(1e-9), memory)
    }

    /// Takes a reading. Returns what changes, if anything does.
    pub fn take(&mut self, reading: &Reading) -> Option<Step> {
        self.smooth(reading);
        let burst = f64::from(reading.burst_frequency) * BURST_SAMPLE.as_secs_f64();
        let cpu = self.judge_cpu(reading.elapsed, burst);
        let memory = self.judge_memory(reading);
        let reason = [cpu, memory].into_iter().flatten().collect::<Vec<_>>().join("; ");
        (!reason.is_empty()).then(|| Step {
            rates: self.rates(),
            memory: self.memory,
            level: self.level,
            reason,
        })
    }

    fn smooth(&mut self, reading: &Reading) {
        let whole = reading.elapsed.as_nanos() as f64 * reading.cpus.max(1) as f64;
        if whole > 0.0 {
            self.bpf.add(reading.bpf_ns as f64 / whole, reading.elapsed);
            self.own.add(reading.own_ns as f64 / whole, reading.elapsed);
        }
    }

    fn judge_cpu(&mut self, elapsed: Duration, burst: f64) -> Option<String> {
        self.since_back = self.since_back.saturating_add(elapsed);
        let allowed = self.budget.cpu + burst;
        // What is not known yet is no reason.
        let bpf = if self.bpf.is_known() { self.bpf.value() } else { 0.0 };
        let own = if self.own.is_known() { self.own.value() } else { 0.0 };
        if bpf + own > allowed * AIM {
            self.calm = Duration::ZERO;
            return self.give_way(bpf + own, allowed);
        }
        let is_calm = self.cpu() < allowed * ROOM;
        self.calm = if is_calm { self.calm + elapsed } else { Duration::ZERO };
        let may = self.level > 0 && self.own.is_known() && self.calm >= self.calm_needed;
        may.then(|| self.come_back(allowed))
    }

    fn give_way(&mut self, taken: f64, allowed: f64) -> Option<String> {
        let lowest = self.ladder.len();
        if self.level == lowest {
            return None;
        }
        // A step back that had to be undone soon shall not be tried again as soon.
        if self.since_back < CALM * 2 {
            self.calm_needed = (self.calm_needed * 2).min(CALM_MOST);
        }
        let steps = ((taken / allowed.max(1e-9) - 1.0) / A_STEP).ceil().clamp(1.0, LEAP as f64);
        self.level = (self.level + steps as usize).min(lowest);
        self.bpf.rest(SETTLING);
        // The programs may be judged every few seconds. What the agent takes itself could never be judged
        // if that began anew each time; what it took before these steps may make the next one too large.
        if self.own.is_known() {
            self.own.rest(SETTLING);
        }
        Some(format!(
            "the agent took {:.2}% of the CPUs, of a budget of {:.2}%: it records {}",
            taken * 100.0,
            self.budget.cpu * 100.0,
            words(&self.rates())
        ))
    }

    fn come_back(&mut self, allowed: f64) -> String {
        let taken = self.cpu();
        let steps = if taken < allowed * MUCH_ROOM { LEAP } else { 1 };
        self.level = self.level.saturating_sub(steps);
        if self.since_back > CALM_MOST {
            self.calm_needed = CALM;
        }
        (self.calm, self.since_back) = (Duration::ZERO, Duration::ZERO);
        self.begin_anew();
        format!(
            "the agent took {:.2}% of the CPUs, and has room in its budget of {:.2}%: it records {}",
            taken * 100.0,
            self.budget.cpu * 100.0,
            words(&self.rates())
        )
    }

    /// What was taken so far says nothing of what will be.
    fn begin_anew(&mut self) {
        self.own.rest(SETTLING);
        self.bpf.rest(SETTLING);
    }

    fn judge_memory(&mut self, reading: &Reading) -> Option<String> {
        let (taken, allowed) = (reading.memory as f64, self.budget.memory as f64);
        let before = self.memory;
        self.memory_settling = self.memory_settling.saturating_sub(reading.elapsed);
        if taken > allowed {
            self.memory_calm = Duration::ZERO;
            if !self.memory_settling.is_zero() || before == Memory::Windows {
                return None;
            }
            self.memory_settling = MEMORY_SETTLING;
            self.memory = if before == Memory::Free { Memory::Caches } else { Memory::Windows };
        } else if taken < allowed * 0.8 {
            self.memory_calm += reading.elapsed;
            if self.memory_calm >= CALM && before != Memory::Free {
                self.memory_calm = Duration::ZERO;
                self.memory = if before == Memory::Windows { Memory::Caches } else { Memory::Free };
            }
        } else {
            self.memory_calm = Duration::ZERO;
        }
        (self.memory != before).then(|| {
            let what = match self.memory {
                Memory::Free => "nothing is given up",
                Memory::Caches => "caches are given up",
                Memory::Windows => "caches are given up, and windows hold less",
            };
            let mib = |bytes: f64| bytes / f64::from(1 << 20);
            format!(
                "the agent has {:.0} MiB of memory, of a budget of {:.0} MiB: {what}",
                mib(taken),
                mib(allowed)
            )
        })
    }
}

/// The rates below what was configured, down to the least. Steps of two kinds take turns: on one host nearly all
/// is spent on how blocks end, on another on their stacks, and a row of steps of the kind that saves nothing would
/// be time above the budget.
fn ladder(base: &Rates) -> Vec<Rates> {
    let mut ladder = Vec::new();
    let mut rates = base.clone();
    loop {
        let longer = (rates.carry_below * CARRY_FACTOR).max(base.min_block * 2).max(CARRY_LEAST);
        let (carries, keeps) = (longer <= CARRY_MOST, rates.blocks_per_second / 2 >= FEWEST_BLOCKS);
        if carries {
            rates.carry_below = longer;
            ladder.push(rates.clone());
        }
        if keeps {
            rates.blocks_per_second /= 2;
            ladder.push(rates.clone());
        }
        if !carries && !keeps {
            break;
        }
    }
    for frequency in FREQUENCIES.into_iter().filter(|frequency| *frequency < base.frequency) {
        rates.frequency = frequency;
        ladder.push(rates.clone());
    }
    ladder
}

fn words(rates: &Rates) -> String {
    let mut words = format!(
        "{} samples and {} stacks of blocks a second and CPU",
        rates.frequency, rates.blocks_per_second
    );
    if !rates.carry_below.is_zero() {
        words += &format!(", and no block of less than {:?} by itself", rates.carry_below);
    }
    words
}

#[cfg(test)]
mod tests;
