//! What is recorded, while it runs: as configured, as the budget allows, and more of it in a burst.

use std::time::{Duration, Instant};

use super::burst::{BurstRefused, BurstWish, Bursts};
use super::governor::{Budget, Governor, Memory, Reading};
use crate::kernel::error::KernelError;
use crate::kernel::own_usage;
use crate::kernel::plan::Plan;
use crate::kernel::session::Session;
use crate::model::rates::Rates;

/// The agent looks at itself so often.
const EVERY: Duration = Duration::from_secs(1);

/// What the agent takes and how it answers to that, for metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Steered {
    /// Part of all CPUs, agent and BPF programs together, smoothed, 0 to 1.
    pub cpu: f64,
    /// Time in BPF programs since the start, ns.
    pub bpf_ns: u64,
    /// Memory, bytes.
    pub memory: u64,
    /// How much of the budget for the CPUs is used, 1 is all of it.
    pub cpu_used: f64,
    /// How much of the budget for memory is used.
    pub memory_used: f64,
    /// Steps below what was configured; 0: none.
    pub level: usize,
    /// Changes of the level and of the memory step so far.
    pub steps: u64,
    /// How tight memory is.
    pub tight: Memory,
    /// Samples per second and CPU now, a burst included.
    pub frequency: u32,
    /// Blocks per second and CPU that keep their stack.
    pub blocks_per_second: u32,
    /// The shortest block that keeps its stack.
    pub min_block: Duration,
    /// A burst is on.
    pub burst: bool,
    /// Bursts so far.
    pub bursts: u64,
}

/// See the module.
pub(super) struct Steering {
    base: Rates,
    governor: Option<Governor>,
    bursts: Bursts,
    has_clock: bool,
    read_at: Instant,
    own_ns: u64,
    bpf_ns: u64,
    pub(super) told: Steered,
}

impl Steering {
    /// For a plan; without a budget, the agent takes what it needs.
    pub(super) fn new(plan: &Plan, budget: Option<Budget>) -> Self {
        let base = Rates::from(plan);
        Self {
            governor: budget.map(|budget| Governor::new(budget, &base)),
            bursts: Bursts::default(),
            has_clock: plan.event.on_cpu(),
            read_at: Instant::now(),
            own_ns: own_usage::cpu_ns(),
            bpf_ns: 0,
            told: Steered {
                frequency: base.frequency,
                blocks_per_second: base.blocks_per_second,
                min_block: shortest(&base),
                ..Steered::default()
            },
            base,
        }
    }

    /// Begins or extends a burst. Returns its frequency, and how long it takes from now.
    pub(super) fn burst(
        &mut self,
        wish: &BurstWish,
        session: &mut Session,
    ) -> Result<(u32, Duration), BurstRefused> {
        if !self.has_clock {
            return Err(BurstRefused::NoClock);
        }
        let before = self.bursts.clone();
        let length = self.bursts.ask(wish, Instant::now())?;
        if let Err(error) = self.apply(session) {
            self.bursts = before;
            return Err(BurstRefused::Kernel(error.to_string()));
        }
        self.told.bursts += 1;
        let frequency = self.told.frequency;
        tracing::info!(frequency, ?length, pid = wish.pid, "a burst");
        Ok((frequency, length))
    }

    /// Other rates and another budget, from now on.
    pub(super) fn configure(
        &mut self,
        base: Rates,
        budget: Option<Budget>,
        session: &mut Session,
    ) -> Result<(), KernelError> {
        match (&mut self.governor, budget) {
            (Some(governor), Some(budget)) => governor.configure(budget, &base),
            (governor, budget) => {
                *governor = budget.map(|budget| Governor::new(budget, &base));
            }
        }
        self.base = base;
        self.apply(session)
    }

    /// Looks at the clock, and once a second at what the agent takes. Returns what the reader of the window
    /// should know.
    pub(super) fn tick(&mut self, session: &mut Session) -> Vec<String> {
        let now = Instant::now();
        let mut notes = Vec::new();
        let is_over = self.told.burst && self.bursts.on(now).is_none();
        let elapsed = now.duration_since(self.read_at);
        if is_over {
            tracing::info!("the burst is over");
        } else if elapsed < EVERY {
            // Nothing else changes what holds.
            return notes;
        }
        if elapsed >= EVERY {
            self.read_at = now;
            notes.extend(self.look(elapsed, session));
        }
        let before = session.rates().clone();
        if let Err(error) = self.apply(session) {
            tracing::warn!("what is recorded could not be changed: {error}");
        }
        if *session.rates() != before {
            notes.push(format!("within this window it became: {}", words(session.rates())));
        }
        notes
    }

    /// Takes a reading, and lets the governor judge it.
    fn look(&mut self, elapsed: Duration, session: &mut Session) -> Option<String> {
        let (own_ns, bpf_ns) = (own_usage::cpu_ns(), session.bpf_ns());
        let frequency = self.bursts.on(self.read_at).map(|burst| burst.frequency);
        let reading = Reading {
            elapsed,
            cpus: session.cpus(),
            own_ns: own_ns.saturating_sub(self.own_ns),
            bpf_ns: bpf_ns.saturating_sub(self.bpf_ns),
            memory: own_usage::memory_bytes(),
            burst_frequency: frequency.unwrap_or(0),
        };
        (self.own_ns, self.bpf_ns) = (own_ns, bpf_ns);
        (self.told.bpf_ns, self.told.memory) = (bpf_ns, reading.memory);
        let governor = self.governor.as_mut()?;
        let step = governor.take(&reading);
        (self.told.cpu, self.told.level) = (governor.cpu(), governor.level());
        let (cpu, memory) = governor.used(&reading);
        (self.told.cpu_used, self.told.memory_used) = (cpu, memory);
        let step = step?;
        self.told.steps += 1;
        self.told.tight = step.memory;
        tracing::warn!(level = step.level, "{}", step.reason);
        Some(step.reason)
    }

    /// Tells the kernel side what holds, if that is something else than before.
    fn apply(&mut self, session: &mut Session) -> Result<(), KernelError> {
        let mut rates = self.governor.as_ref().map_or_else(|| self.base.clone(), Governor::rates);
        rates.burst = self.bursts.on(Instant::now()).cloned();
        let holds = session.apply(&rates)?;
        self.told.frequency = holds.clock_frequency();
        self.told.blocks_per_second = holds.blocks_per_second;
        self.told.min_block = shortest(&holds);
        self.told.burst = holds.burst.is_some();
        Ok(())
    }
}

/// The shortest block that keeps its stack.
fn shortest(rates: &Rates) -> Duration {
    rates.min_block.max(rates.carry_below)
}

/// Rates, for a person.
fn words(rates: &Rates) -> String {
    let mut words = format!("{} Hz", rates.frequency);
    if let Some(burst) = &rates.burst {
        let of = if burst.pids.is_empty() { "all" } else { "some processes" };
        words += &format!(", {} Hz of {of} in a burst", burst.frequency);
    }
    words + &format!(", {} stacks of blocks a second and CPU", rates.blocks_per_second)
}
