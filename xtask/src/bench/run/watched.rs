//! What an agent has taken at a moment, and between two.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use anyhow::Result;
use profiler_tests::daemon::{Daemon, Metrics};

use crate::bench::observed::{cpu, peak_mib};

/// What the agent knows of the time in its programs.
const BPF_TIME: &str = "profiler_agent_bpf_time_seconds_total";

/// At a moment.
pub(super) struct Seen {
    at: Instant,
    /// CPU time by the name of the thread, ns.
    threads: BTreeMap<String, u64>,
    own_ns: u64,
    peak_mib: f64,
    metrics: Metrics,
}

/// Between two moments.
pub(super) struct Passed {
    pub(super) seconds: f64,
    /// CPU time of the agent's threads, as a part of one CPU.
    pub(super) own: f64,
    /// The same by the name of the thread, most first.
    pub(super) threads: Vec<(String, f64)>,
    /// Time in its programs as the agent says, as a part of one CPU.
    pub(super) bpf: f64,
    /// The most memory since its start, MiB.
    pub(super) peak_mib: f64,
    before: Metrics,
    pub(super) after: Metrics,
}

impl Seen {
    /// Now.
    pub(super) fn now(daemon: &Daemon) -> Result<Self> {
        let pid = daemon.pid();
        let metrics = daemon.metrics()?;
        Ok(Self {
            at: Instant::now(),
            threads: threads(pid)?,
            own_ns: u64::try_from(cpu(pid)?.as_nanos()).unwrap_or(u64::MAX),
            peak_mib: peak_mib(pid)?,
            metrics,
        })
    }

    /// What was taken since an earlier moment.
    pub(super) fn since(self, before: &Self) -> Passed {
        let seconds = self.at.duration_since(before.at).as_secs_f64();
        let part = |now: u64, before: u64| now.saturating_sub(before) as f64 / 1e9 / seconds;
        let of_thread = |(name, now): (&String, &u64)| {
            let earlier = before.threads.get(name).copied().unwrap_or(0);
            (name.clone(), part(*now, earlier))
        };
        let mut threads: Vec<_> = self.threads.iter().map(of_thread).collect();
        threads.sort_by(|a, b| b.1.total_cmp(&a.1));
        let bpf = self.metrics.sum(BPF_TIME).unwrap_or_default()
            - before.metrics.sum(BPF_TIME).unwrap_or_default();
        Passed {
            seconds,
            own: part(self.own_ns, before.own_ns),
            threads,
            bpf: bpf / seconds,
            peak_mib: self.peak_mib,
            before: before.metrics.clone(),
            after: self.metrics,
        }
    }
}

impl Passed {
    /// How much a counter has grown.
    pub(super) fn counted(&self, name: &str) -> f64 {
        self.after.sum(name).unwrap_or_default() - self.before.sum(name).unwrap_or_default()
    }

    /// The same for one value of its label.
    pub(super) fn counted_of(&self, name: &str, label: &str) -> f64 {
        let at = |metrics: &Metrics| metrics.of(name, label).unwrap_or_default();
        at(&self.after) - at(&self.before)
    }
}

/// CPU time of the threads that live, by their names, ns.
fn threads(pid: u32) -> Result<BTreeMap<String, u64>> {
    let mut threads: BTreeMap<String, u64> = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        // A thread may end while we look.
        let Ok(name) = fs::read_to_string(task.join("comm")) else { continue };
        let Ok(text) = fs::read_to_string(task.join("schedstat")) else { continue };
        let ns = text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
        *threads.entry(name.trim().to_owned()).or_default() += ns;
    }
    Ok(threads)
}
