//! A hundred thousand context switches a second: what they cost with the agent and without it, in turns,
//! and whether the blocked time of those threads, and of a program with known places, is true.

use std::time::Duration;

use anyhow::Result;
use profiler_tests::program::{BlockerTruth, PacerTruth, Program};
use profiler_tests::stacks::Stack;
use profiler_tests::workload;

use super::service::Service;
use super::watched::{Passed, Seen};
use super::{show_cpu, show_governor};
use crate::bench::show;

/// Of all CPUs together.
const PER_SECOND: &str = "100000";

/// With and without, so often.
const ROUNDS: usize = 2;

/// In this time the governor finds its place.
const SETTLING: Duration = Duration::from_secs(30);

/// Workloads live no longer.
const LONGEST: Duration = Duration::from_secs(120);

/// What a load with the agent came to.
struct With {
    truth: PacerTruth,
    passed: Passed,
    blocked: Vec<Blocked>,
}

/// Blocked time of something.
struct Blocked {
    of: String,
    /// How far the agent was off, as a part of what is true.
    error: f64,
    /// Whether the agent says that it is exact. A place is not where few blocks keep their stack.
    is_exact: bool,
}

impl Blocked {
    fn new(of: &str, is_exact: bool, truth_ns: u64, found_ns: u64) -> Self {
        let error = found_ns as f64 / truth_ns.max(1) as f64 - 1.0;
        Self { of: of.to_owned(), error, is_exact }
    }
}

/// Threads of the blocker that do nothing but block, and where.
const THREADS: &[(&str, &str)] = &[
    ("sleeper", "sleep_site"),
    ("holder", "holder_site"),
    ("reader", "pipe_site"),
    ("writer", "writer_site"),
];

/// Measures.
pub(super) fn measure(time: Duration) -> Result<()> {
    let time = time.min(LONGEST);
    println!(
        "\n{PER_SECOND} context switches a second, {} s without and with the agent",
        time.as_secs()
    );
    let cpus = std::thread::available_parallelism()?.get() as f64;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(pace(time)?.truth()?);
        with.push(beside_agent(time)?);
    }
    show_cost(&without, &with, cpus);
    for Blocked { of, error, is_exact } in with.iter().flat_map(|with| &with.blocked) {
        let bar = if *is_exact { "bar: 5" } else { "" };
        show(&format!("off CPU, {of}: found against the truth"), error * 100.0, "%", bar);
    }
    Ok(())
}

fn off_cpu(stacks: &[Stack], wanted: impl Fn(&Stack) -> bool) -> u64 {
    stacks.iter().filter(|stack| wanted(stack)).map(|stack| stack.value("off_cpu")).sum()
}

fn pace(time: Duration) -> Result<Program> {
    Program::start(&workload::PACER, &[PER_SECOND, &time.as_secs().to_string()])
}

fn beside_agent(time: Duration) -> Result<With> {
    let service = Service::start()?;
    let whole = SETTLING + time;
    let pacer = pace(whole)?;
    let blocker = Program::start(&workload::BLOCKER, &[whole.as_secs().to_string()])?;
    let (pacer_pid, blocker_pid) = (pacer.pid(), blocker.pid());
    std::thread::sleep(SETTLING);
    let before = Seen::now(&service.daemon)?;
    // Its last second is not watched, so that it is under load as long as it is watched.
    std::thread::sleep(time.saturating_sub(Duration::from_secs(1)));
    let passed = Seen::now(&service.daemon)?.since(&before);
    let (truth, places): (PacerTruth, BlockerTruth) = (pacer.truth()?, blocker.truth()?);
    println!("\n  Beside the load, after {} s", SETTLING.as_secs());
    show_cpu(&passed);
    show_governor(&service, &passed);
    // Its first thread only waits for the others.
    let is_of_pair = |stack: &Stack| stack.label("thread") != "pacer";
    let of_pairs = off_cpu(&service.stacks_of(pacer_pid)?, is_of_pair);
    let of_blocker = service.stacks_of(blocker_pid)?;
    let mut blocked = vec![Blocked::new("threads of the pairs", true, truth.off_ns, of_pairs)];
    for (thread, place) in THREADS {
        let ns = places.blocked.get(*place).copied().unwrap_or_default();
        let found = off_cpu(&of_blocker, |stack| stack.label("thread") == *thread);
        blocked.push(Blocked::new(&format!("thread {thread}"), true, ns, found));
        let found = off_cpu(&of_blocker, |stack| stack.has(place));
        blocked.push(Blocked::new(&format!("place {place}"), false, ns, found));
    }
    service.stop()?;
    Ok(With { truth, passed, blocked })
}

fn show_cost(without: &[PacerTruth], with: &[With], cpus: f64) {
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        let values: Vec<f64> = values.collect();
        values.iter().sum::<f64>() / values.len().max(1) as f64
    };
    let per_switch = |truth: &PacerTruth| truth.cpu_ns as f64 / truth.switches.max(1) as f64;
    let rate = |truth: &PacerTruth| truth.switches as f64 / (truth.wall_ns as f64 / 1e9);
    let off = mean(&mut without.iter().map(per_switch));
    let on = mean(&mut with.iter().map(|with| per_switch(&with.truth)));
    println!("\n  Both rounds");
    show("switches a second without", mean(&mut without.iter().map(rate)), "", "");
    show("switches a second with", mean(&mut with.iter().map(|with| rate(&with.truth))), "", "");
    show("CPU time of the load for a switch, without", off, "ns", "");
    show("CPU time of the load for a switch, with", on, "ns", "");
    let counted = mean(&mut with.iter().map(|with| with.passed.own + with.passed.bpf));
    show("agent and programs", counted / cpus * 100.0, "% of all", "bar: 1");
    let per_second = mean(&mut with.iter().map(|with| rate(&with.truth)));
    let own = mean(&mut with.iter().map(|with| with.passed.own));
    let all = own + (on - off) * per_second / 1e9;
    show("agent, and what the load takes more than without", all / cpus * 100.0, "% of all", "");
}
