//! What the agent itself takes: CPU time of its threads, its memory, and the time in its BPF programs.
//!
//! The kernel counts the time of BPF programs only when it is asked to, and that costs every program of the
//! host a little. So it is asked for a second now and then, and soon after the rates have changed. In
//! between, a context switch of the host is taken to cost what it cost then, and so is a second of samples.

use std::fs::read_to_string;
use std::os::fd::OwnedFd;
use std::time::Duration;

use aya::sys::{Stats, enable_stats};
use nix::sys::resource::{UsageWho, getrusage};

use super::load::Object;
use super::session::Session;
use super::system;

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
    pub(super) switch_ns: u64,
    /// The others.
    pub(super) other_ns: u64,
}

/// All that is read at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    at_ns: u64,
    switches: u64,
    counted: RunTime,
}

/// The time in BPF programs, counted and extrapolated.
#[derive(Debug, Default)]
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
}

/// What was found while the kernel counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Cost {
    ns_per_switch: f64,
    other_ns_per_second: f64,
}

impl Cost {
    /// Between two readings, during which the kernel counted.
    fn between(before: &Reading, now: &Reading) -> Self {
        let took =
            |of: fn(&RunTime) -> u64| of(&now.counted).saturating_sub(of(&before.counted)) as f64;
        let switches = now.switches.saturating_sub(before.switches).max(1) as f64;
        Self {
            ns_per_switch: took(|run| run.switch_ns) / switches,
            other_ns_per_second: took(|run| run.other_ns) / seconds(before, now).max(1e-9),
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
                self.cost = Cost::between(&self.since, now);
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
    let sum =
        |reading: &Reading| reading.counted.switch_ns.saturating_add(reading.counted.other_ns);
    sum(now).saturating_sub(sum(before)) as f64
}

impl Session {
    /// Time in this session's BPF programs since this was first asked for, on all CPUs together, in ns:
    /// counted by the kernel for a part of the time, and extrapolated for the rest. To be asked for about
    /// once a second.
    pub fn bpf_ns(&mut self) -> u64 {
        let Self { bpf_time, object, facts, .. } = self;
        bpf_time.read(facts.event.off_cpu(), || object.run_time())
    }
}

impl Object {
    /// What its programs have taken. One that was entered by a tail call is part of the one that called.
    fn run_time(&self) -> RunTime {
        let mut sum = RunTime::default();
        for (name, ns) in self.run_times() {
            let kind =
                if name.starts_with("switch_") { &mut sum.switch_ns } else { &mut sum.other_ns };
            *kind = kind.saturating_add(ns);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn reading(at_s: u64, switches: u64, switch_ns: u64, other_ns: u64) -> Reading {
        Reading { at_ns: at_s * S, switches, counted: RunTime { switch_ns, other_ns } }
    }

    #[test]
    fn what_is_not_counted_is_taken_to_cost_what_it_did() {
        let start = reading(10, 1_000, 0, 0);
        let counted = reading(11, 2_000, 300_000, 50_000);
        let cost = Cost::between(&start, &counted);
        assert_eq!(cost, Cost { ns_per_switch: 300.0, other_ns_per_second: 50_000.0 });
        // Ten times as many switches, for four seconds.
        let later = reading(15, 42_000, 300_000, 50_000);
        assert_eq!(cost.of(&counted, &later), 300.0 * 40_000.0 + 4.0 * 50_000.0);
        let mut time =
            BpfTime { cost, last: counted, since: counted, refused: true, ..BpfTime::default() };
        time.step(&later);
        assert_eq!(time.total_ns, 12_200_000.0);
    }

    #[test]
    fn this_process_takes_time_and_memory() {
        let before = cpu_ns();
        while cpu_ns() == before {
            std::hint::spin_loop();
        }
        assert!(memory_bytes() > 1 << 20, "{}", memory_bytes());
        assert!(context_switches() > 0);
    }
}
