//! What the agent itself takes: CPU time of its threads, its memory, and the time in its BPF programs.
//!
//! The kernel counts the time of BPF programs only when it is asked to, and that costs every program of the
//! host a little. So it is asked for a second now and then, and soon after the rates have changed. In
//! between, a context switch of the host is taken to cost what it cost then, and so is a second of samples.
//!
//! What it counts includes its own reading of the clock, which is a third of a context switch, and is not
//! there while it does not count. So a program that does nothing is attached in some of those seconds, and
//! what its runs are said to take is taken off.

use std::fs::read_to_string;
use std::os::fd::OwnedFd;
use std::time::Duration;

use aya::sys::{Stats, enable_stats};
use nix::sys::resource::{UsageWho, getrusage};

use super::load::{Object, Runs};
use super::session::Session;
use super::system;
use super::tracepoints::{self, Link};

/// The kernel counts for so long.
const COUNTING: Duration = Duration::from_secs(1);
/// And then not for so long.
const RESTING: Duration = Duration::from_secs(9);

/// What a context switch is taken to cost where the kernel does not count (before 5.8), ns.
const ASSUMED_SWITCH_NS: f64 = 500.0;

/// CPU time of all threads of this process so far, in user space and in the kernel, in ns.
pub fn cpu_ns() -> u64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return 0 };
    [usage.user_time(), usage.system_time()].iter().fold(0, |sum, time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        let micros = u64::try_from(time.tv_usec()).unwrap_or(0);
        let ns = seconds.saturating_mul(1_000_000_000).saturating_add(micros * 1_000);
        sum.saturating_add(ns)
    })
}

/// Memory of this process that is in RAM now (`VmRSS`), in bytes.
pub fn memory_bytes() -> u64 {
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or(0).saturating_mul(1 << 10)
}

/// Context switches of the host since it was started, of `/proc/stat`.
fn context_switches() -> u64 {
    let stat = read_to_string("/proc/stat").unwrap_or_default();
    let count = stat.lines().find_map(|line| line.strip_prefix("ctxt ")?.trim().parse().ok());
    count.unwrap_or(0)
}

/// What the programs have taken so far, as far as the kernel counted, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RunTime {
    /// Those that run at each context switch.
    pub(super) switch: Runs,
    /// The others.
    pub(super) other: Runs,
    /// The one that does nothing.
    pub(super) nothing: Runs,
}

impl Runs {
    fn since(self, earlier: Self) -> Self {
        Self {
            ns: self.ns.saturating_sub(earlier.ns),
            count: self.count.saturating_sub(earlier.count),
        }
    }

    fn add(&mut self, more: Self) {
        self.ns = self.ns.saturating_add(more.ns);
        self.count = self.count.saturating_add(more.count);
    }

    /// What they take while nobody counts, if counting takes so much of each.
    fn uncounted_ns(self, counting_ns: f64) -> f64 {
        (self.ns as f64 - self.count as f64 * counting_ns).max(0.0)
    }
}

/// All that is read at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    at_ns: u64,
    switches: u64,
    counted: RunTime,
}

/// The time in BPF programs, counted and extrapolated.
#[derive(Default)]
pub(super) struct BpfTime {
    total_ns: f64,
    /// Held while the kernel counts.
    counting: Option<OwnedFd>,
    /// The kernel does not count.
    refused: bool,
    /// When counting began, or ended.
    since: Reading,
    last: Reading,
    cost: Cost,
    /// The cost is not what it was.
    begin_anew: bool,
    nothing: Nothing,
}

/// The program that does nothing.
#[derive(Default)]
struct Nothing {
    /// Its name, if it is there.
    name: Option<&'static str>,
    /// Held while it is attached.
    link: Option<Link>,
    /// The least that a run of it took, in any second in which it ran often enough; 0 before the first. It takes
    /// more where caches are cold, and what is taken off must not be too much.
    counting_ns: f64,
    /// It is to be attached while the kernel counts.
    is_wanted: bool,
}

/// Runs of it in a second that tell what it takes.
const RUNS_THAT_TELL: u64 = 1_000;

impl Nothing {
    /// Looks at a second in which it was attached.
    fn learn(&mut self, runs: Runs) {
        if runs.count < RUNS_THAT_TELL {
            return;
        }
        let mean_ns = runs.ns as f64 / runs.count as f64;
        self.counting_ns =
            if self.counting_ns == 0.0 { mean_ns } else { self.counting_ns.min(mean_ns) };
        self.is_wanted = false;
    }

    /// Attaches it, or takes it away.
    fn settle(&mut self, is_counting: bool, object: &mut Object) {
        let wanted = self.name.filter(|_| is_counting && self.is_wanted);
        match (wanted, &self.link) {
            (Some(name), None) => match tracepoints::attach_nothing(object, name) {
                Ok(link) => self.link = Some(link),
                Err(error) => {
                    tracing::debug!("what counting takes is not known: {error}");
                    self.name = None;
                }
            },
            (None, Some(_)) => self.link = None,
            _ => {}
        }
    }
}

/// What was found while the kernel counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Cost {
    ns_per_switch: f64,
    other_ns_per_second: f64,
}

impl Cost {
    /// Between two readings, during which the kernel counted, which took so much of each run.
    fn between(before: &Reading, now: &Reading, counting_ns: f64) -> Self {
        let took = |of: fn(&RunTime) -> Runs| {
            of(&now.counted).since(of(&before.counted)).uncounted_ns(counting_ns)
        };
        let switches = now.switches.saturating_sub(before.switches).max(1) as f64;
        Self {
            ns_per_switch: took(|run| run.switch) / switches,
            other_ns_per_second: took(|run| run.other) / seconds(before, now).max(1e-9),
        }
    }

    /// What was taken between two readings, if it cost the same then.
    fn of(self, before: &Reading, now: &Reading) -> f64 {
        let switches = now.switches.saturating_sub(before.switches) as f64;
        self.ns_per_switch * switches + self.other_ns_per_second * seconds(before, now)
    }
}

fn seconds(before: &Reading, now: &Reading) -> f64 {
    now.at_ns.saturating_sub(before.at_ns) as f64 / 1e9
}

impl BpfTime {
    /// Of programs, of which one does nothing.
    pub(super) fn new(nothing: Option<&'static str>) -> Self {
        let nothing = Nothing { name: nothing, is_wanted: true, ..Nothing::default() };
        Self { nothing, ..Self::default() }
    }

    /// Looks at the clocks, and decides whether the kernel shall count from now on. Returns what was taken
    /// so far, in ns. To be called about once a second.
    fn read(&mut self, follows_switches: bool, counted: impl FnOnce() -> RunTime) -> u64 {
        let now = Reading {
            at_ns: system::monotonic_ns(),
            switches: if follows_switches { context_switches() } else { 0 },
            counted: counted(),
        };
        if self.last.at_ns == 0 {
            (self.last, self.since) = (now, now);
            self.start_counting();
            return 0;
        }
        self.step(&now);
        self.total_ns as u64
    }

    fn step(&mut self, now: &Reading) {
        let age = Duration::from_nanos(now.at_ns.saturating_sub(self.since.at_ns));
        if self.counting.is_some() {
            // Counted, so it is what it is.
            self.total_ns += counted_between(&self.last, now);
            if age >= COUNTING {
                self.nothing.learn(now.counted.nothing.since(self.since.counted.nothing));
                self.cost = Cost::between(&self.since, now, self.nothing.counting_ns);
                self.counting = None;
                self.since = *now;
            }
        } else {
            self.total_ns += self.cost.of(&self.last, now);
            if age >= RESTING {
                self.start_counting();
                self.since = *now;
            }
        }
        if std::mem::take(&mut self.begin_anew) {
            self.start_counting();
            self.since = *now;
        }
        self.last = *now;
    }

    /// What was found out holds no more: it is found out again as soon as possible.
    pub(super) fn count_again(&mut self) {
        self.begin_anew = true;
        self.nothing.is_wanted = true;
    }

    fn start_counting(&mut self) {
        if self.refused || self.counting.is_some() {
            return;
        }
        match enable_stats(Stats::RunTime) {
            Ok(descriptor) => self.counting = Some(descriptor),
            Err(error) => {
                tracing::debug!("the kernel does not count the time of BPF programs: {error}");
                self.refused = true;
                self.cost.ns_per_switch = ASSUMED_SWITCH_NS;
            }
        }
    }
}

fn counted_between(before: &Reading, now: &Reading) -> f64 {
    let RunTime { switch, other, nothing } = now.counted;
    let of_each = [
        switch.since(before.counted.switch),
        other.since(before.counted.other),
        nothing.since(before.counted.nothing),
    ];
    of_each.iter().map(|runs| runs.ns as f64).sum()
}

impl Session {
    /// Time in this session's BPF programs since this was first asked for, on all CPUs together, in ns:
    /// counted by the kernel for a part of the time, and extrapolated for the rest. To be asked for about
    /// once a second.
    pub fn bpf_ns(&mut self) -> u64 {
        let Self { bpf_time, object, facts, .. } = self;
        let ns = bpf_time.read(facts.event.off_cpu(), || object.run_time());
        bpf_time.nothing.settle(bpf_time.counting.is_some(), object);
        ns
    }
}

impl Object {
    /// What its programs have taken. One that was entered by a tail call is part of the one that called.
    fn run_time(&self) -> RunTime {
        let mut sum = RunTime::default();
        for (name, runs) in self.runs() {
            let kind = match name.split('_').next() {
                Some("switch") => &mut sum.switch,
                Some("nothing") => &mut sum.nothing,
                _ => &mut sum.other,
            };
            kind.add(runs);
        }
        sum
    }
}

#[cfg(test)]
mod tests;
