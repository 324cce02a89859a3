//! A sample in BPF beside another build's: both agents are attached to the same load at the same time, so
//! that what the host does meanwhile is in both figures, and their ratio can be held against 1.
//!
//! Who attached first may have the caches of the other one's doing, so each load is measured in both
//! orders. A figure is the median of many short spans, since a span in which something else ran says little.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use profiler_tests::program::Program;
use profiler_tests::workload::{self, way};

use super::observed::{Observed, binary};
use super::sampling::{GccLoop, SAMPLER, everywhere};
use super::stats::{self, Runs};

const FREQUENCY: &str = "997";
/// How long each order is watched, in spans of which each has a thousand samples and more.
const TIME: Duration = Duration::from_secs(5);
const SPAN: Duration = Duration::from_millis(500);
/// Calls above the leaf.
const DEPTHS: &[usize] = &[8, 58, 110, 400];
/// The processes of the load are known to an agent, and their tables are there.
const WARM_UP: u64 = 500;

/// Measures the agent against that of another binary.
pub fn measure(other: &Path) -> Result<()> {
    if !other.is_file() {
        bail!("--against {}: no such file", other.display());
    }
    let ours = binary();
    println!("\nA sample in BPF, both agents attached at once ({FREQUENCY} Hz)");
    println!("  {:<20} {:>10} {:>10} {:>9} {:>9}", "", "other, ns", "this, ns", "ratio", "orders");
    let agents = [other, &ours];
    for depth in DEPTHS {
        let load = everywhere(&workload::CHAIN.built(way::O2), &[&depth.to_string()])?;
        show(&format!("{depth} calls"), &both_orders(agents, &pids(&load))?);
    }
    let load = everywhere(&workload::COLD, &[])?;
    show("cold caches", &both_orders(agents, &pids(&load))?);
    drop(load);
    let load = GccLoop::start()?;
    show("gcc in a loop", &both_orders(agents, &[])?);
    drop(load);
    Ok(())
}

/// Nanoseconds of a sample, of the other build and of this one.
struct Pair {
    ns: [f64; 2],
}

impl Pair {
    fn ratio(&self) -> f64 {
        let [other, ours] = self.ns;
        ours / other
    }
}

fn show(what: &str, [first, second]: &[Pair; 2]) {
    let mean = |a: f64, b: f64| (a * b).sqrt();
    let [other, ours] = [0, 1].map(|agent| {
        let of = |pair: &Pair| pair.ns.get(agent).copied().unwrap_or_default();
        mean(of(first), of(second))
    });
    let (one, two) = (first.ratio(), second.ratio());
    println!("  {what:<20} {other:>10.0} {ours:>10.0} {:>9.3} {one:>9.3} {two:.3}", mean(one, two));
}

fn pids(load: &[Program]) -> Vec<String> {
    load.iter().flat_map(|program| ["--pid".to_owned(), program.pid().to_string()]).collect()
}

/// The pair as it was with one attached first, and with the other.
fn both_orders(agents: [&Path; 2], of: &[String]) -> Result<[Pair; 2]> {
    let [other, ours] = agents;
    let first = in_order([other, ours], of)?;
    let Pair { ns: [ours_first, other_second] } = in_order([ours, other], of)?;
    Ok([first, Pair { ns: [other_second, ours_first] }])
}

/// Attaches one after the other, and watches both.
fn in_order(agents: [&Path; 2], of: &[String]) -> Result<Pair> {
    let mut args = vec!["--frequency", FREQUENCY, "--duration", "10m"];
    args.extend(of.iter().map(String::as_str));
    let mut running = Vec::new();
    for agent in agents {
        let agent = Observed::start_of(agent, &args)?;
        agent.wait_for_runs(WARM_UP)?;
        let counts = stats::Counts::of(agent.pid(), SAMPLER)?;
        running.push((agent, counts));
    }
    let mut spans = [Vec::new(), Vec::new()];
    let begun = Instant::now();
    while begun.elapsed() < TIME {
        let before = read(&running)?;
        std::thread::sleep(SPAN);
        let after = read(&running)?;
        for ((span, now), earlier) in spans.iter_mut().zip(after).zip(before) {
            span.push(now.since(earlier).mean_ns());
        }
    }
    for (agent, _) in running {
        agent.stop()?;
    }
    let [first, second] = spans.map(median);
    Ok(Pair { ns: [first.context("no span")?, second.context("no span")?] })
}

fn read(running: &[(Observed, stats::Counts)]) -> Result<Vec<Runs>> {
    running.iter().map(|(_, counts)| counts.read()).collect()
}

fn median(mut of: Vec<f64>) -> Option<f64> {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied()
}
