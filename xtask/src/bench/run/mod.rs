//! The agent as a service: both events at 99 Hz, windows of 10 s, the store, and two sinks over real
//! sockets. What it takes in its steady state, and what it and the host take where threads switch a hundred
//! thousand times a second, against what is true.

mod service;
mod switching;
mod watched;

use std::time::Duration;

use anyhow::Result;
use profiler_tests::program::Program;
use profiler_tests::workload::{self, Workload};

use self::service::{SINKS, Service};
use self::watched::{Passed, Seen};
use super::show;

/// After this long names are known, and the windows of the start are shipped.
const WARM_UP: Duration = Duration::from_secs(45);

/// What keeps every CPU busy, and what sleeps and waits beside it. None of it runs for more than 300 s.
const LOAD: &[(Workload, &[&str])] = &[
    (workload::SATURATE, &[]),
    (workload::CHAIN, &["40"]),
    (workload::COLD, &[]),
    (workload::SPLIT, &["300"]),
    (workload::BLOCKER, &["300"]),
];

/// Measures both.
pub fn measure(seconds: u64) -> Result<()> {
    let time = Duration::from_secs(seconds);
    steady(time)?;
    switching::measure(time)
}

fn steady(time: Duration) -> Result<()> {
    println!(
        "\nThe agent as a service for {} s, after {} s: every CPU busy, both events, two sinks",
        time.as_secs(),
        WARM_UP.as_secs()
    );
    let start = |(workload, args): &(Workload, &[&str])| Program::start(workload, args);
    let _load = LOAD.iter().map(start).collect::<Result<Vec<_>>>()?;
    let service = Service::start()?;
    std::thread::sleep(WARM_UP);
    let before = Seen::now(&service.daemon)?;
    std::thread::sleep(time);
    let passed = Seen::now(&service.daemon)?.since(&before);
    show_cpu(&passed);
    show("peak RSS", passed.peak_mib, "MiB", "bar: 96 MB");
    show_governor(&service, &passed);
    let per_minute = 60.0 / passed.seconds / 1000.0;
    let stored = passed.counted("profiler_agent_window_size_bytes_total");
    show("stored, packed", stored * per_minute, "kB/min", "");
    for sink in SINKS {
        let sent = passed.counted_of("profiler_agent_sink_shipped_size_bytes_total", sink);
        show(&format!("sent to {sink}, packed"), sent * per_minute, "kB/min", "");
    }
    show("windows stored", passed.counted("profiler_agent_windows_written_total"), "", "");
    show("windows lost", passed.counted("profiler_agent_windows_lost_total"), "", "bar: 0");
    service.stop()
}

/// The agent's threads and its programs.
fn show_cpu(passed: &Passed) {
    show("agent: CPU, all threads", passed.own * 100.0, "% of one", "bar: 1");
    for (name, part) in passed.threads.iter().filter(|(_, part)| *part * 100.0 >= 0.005) {
        show(&format!("  {name}"), part * 100.0, "% of one", "");
    }
    show("BPF programs", passed.bpf * 100.0, "% of one", "");
}

fn show_governor(service: &Service, passed: &Passed) {
    let now = |name: &str| passed.after.sum(name).unwrap_or_default();
    show("samples a second and CPU at the end", now("profiler_agent_frequency_hertz"), "Hz", "");
    show("steps below what is configured", now("profiler_agent_budget_level"), "", "");
    for line in service.steps() {
        println!("    {line}");
    }
}
