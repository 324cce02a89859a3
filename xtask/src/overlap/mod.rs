//! `overlap`: the agent's stacks beside those of `perf record --call-graph dwarf`, of the same processes.
//!
//! The overlap of two recordings is the sum, over all folded stacks, of the smaller of the two shares: 1
//! where both say the same. Two recordings by perf itself have less than 1, for they sample: that is what
//! the agent is held against. All six slices of a program's time are equally long, and mirrored (perf,
//! agent, perf again, and back), so that a load that changes steadily favours nobody. One at a time, or
//! each would sample the other. Both sides' addresses are named alike ([`naming`]).

mod naming;
mod perf;

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use profiler_tests::debian::{ALL, Debian};
use profiler_tests::program::Program;
use profiler_tests::stacks::Stack;
use profiler_tests::workload::{self, Workload, way};

use crate::bench::Observed;
use crate::debian::{self, Need};
use crate::sh;
use naming::Naming;

const EXAMPLES: &str = "\
Examples:
  cargo xtask overlap                     all programs, 6 minutes
  cargo xtask overlap git --seconds 4     those with `git` in their name, in longer slices

PROFILER_AGENT=FILE compares that binary instead of a fresh release build.";

/// Samples per second.
const FREQUENCY: &str = "499";
/// What the overlap with perf may be below that of perf with itself.
const LESS: f64 = 0.02;

/// The tests' own programs that are compared, and what they are told.
const WORKLOADS: &[(Workload, &[&str])] = &[
    (workload::CHAIN.built(way::O2), &["40", "all"]),
    (workload::ALIGNED.built(way::O2), &["20"]),
    (workload::CHAIN_CPP, &["40"]),
    (workload::CHAIN_RUST.built(way::RUST_RELEASE), &["40"]),
];

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only programs with this in their name.
    name: Option<String>,

    /// How long each of the six slices of a program's time is.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
}

/// Stacks by how often they were seen.
#[derive(Default)]
pub struct Folded {
    stacks: HashMap<String, u64>,
    samples: u64,
}

/// The recordings of one program.
#[derive(Default)]
struct Recordings {
    first: Folded,
    second: Folded,
    agent: Folded,
}

/// Records, compares, and prints a table.
pub fn run(args: &Args) -> Result<()> {
    if !sh::is_root() {
        bail!("both need root: sudo -E env PATH=\"$PATH\" cargo xtask overlap");
    }
    debian::ensure(&[Need { program: "perf", package: "linux-perf" }])?;
    debian::ensure(crate::test::NEEDS)?;
    crate::bench::build_agent()?;
    let slice = Duration::from_secs(args.seconds);
    println!("| program | samples | perf with perf | agent with perf | bar |");
    println!("|---|--:|--:|--:|---|");
    let is_wanted = |name: &str| args.name.as_ref().is_none_or(|part| name.contains(part));
    let mut below = 0;
    for program in ALL.iter().filter(|program| is_wanted(program.name)) {
        below += u32::from(!compare_debian(program, slice).context(program.name)?);
    }
    for (workload, words) in WORKLOADS {
        let name = workload.file_name();
        if is_wanted(&name) {
            let program = Program::start(workload, words)?;
            let recordings = Recordings::take(&[program.pid()], slice).context(name.clone())?;
            below += u32::from(!recordings.show(&name));
        }
    }
    println!("\n{below} below the bar: perf with itself, less {LESS}");
    Ok(())
}

fn compare_debian(program: &Debian, slice: Duration) -> Result<bool> {
    let work = program.start()?;
    Ok(Recordings::take(&work.pids()?, slice)?.show(program.name))
}

impl Recordings {
    fn take(pids: &[u32], slice: Duration) -> Result<Self> {
        let mut naming = Naming::new()?;
        let mut recordings = Self::default();
        perf::record(pids, FREQUENCY, slice, &mut naming, &mut recordings.first)?;
        record(pids, slice, &mut naming, &mut recordings.agent)?;
        perf::record(pids, FREQUENCY, slice, &mut naming, &mut recordings.second)?;
        perf::record(pids, FREQUENCY, slice, &mut naming, &mut recordings.second)?;
        record(pids, slice, &mut naming, &mut recordings.agent)?;
        perf::record(pids, FREQUENCY, slice, &mut naming, &mut recordings.first)?;
        Ok(recordings)
    }

    /// Prints a line of the table; whether the bar is reached.
    fn show(&self, name: &str) -> bool {
        let itself = self.first.overlap(&self.second);
        let agent = (self.agent.overlap(&self.first) + self.agent.overlap(&self.second)) / 2.0;
        let is_reached = agent >= itself - LESS;
        let mark = if is_reached { "reached" } else { "below" };
        let samples =
            [&self.agent, &self.first, &self.second].map(|folded| folded.samples.to_string());
        let samples = samples.join(" / ");
        println!("| {name} | {samples} | {itself:.3} | {agent:.3} | {mark} |");
        if !is_reached {
            self.show_differences();
        }
        is_reached
    }

    /// The stacks that make up most of the difference.
    fn show_differences(&self) {
        let of_agent = self.agent.stacks.keys();
        let mut all: Vec<&String> = of_agent.chain(self.first.stacks.keys()).collect();
        all.sort();
        all.dedup();
        let difference = |stack: &&String| self.agent.share(stack) - self.first.share(stack);
        all.sort_by(|a, b| difference(b).abs().total_cmp(&difference(a).abs()));
        for stack in all.into_iter().take(6) {
            let (agent, perf) = (self.agent.share(stack), self.first.share(stack));
            eprintln!("  agent {agent:.4}, perf {perf:.4}: {stack}");
        }
    }
}

/// The agent, for a slice of time.
fn record(pids: &[u32], slice: Duration, naming: &mut Naming, into: &mut Folded) -> Result<()> {
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    let duration = format!("{}s", slice.as_secs());
    let mut args = vec!["--frequency", FREQUENCY, "--duration", &duration];
    pids.iter().for_each(|pid| args.extend(["--pid", pid]));
    for stack in Observed::start(&args)?.finish()?.stacks {
        into.add(name(&stack, naming), stack.value("samples"));
    }
    Ok(())
}

/// A stack of the agent's as one line.
fn name(stack: &Stack, naming: &mut Naming) -> String {
    let frames = stack.frames.iter().filter(|frame| !frame.is_inlined);
    let names = frames.map(|frame| {
        if frame.is_kernel() {
            naming.kernel(&frame.name)
        } else if frame.address == 0 {
            frame.name.clone()
        } else {
            naming.address(&frame.mapping, frame.address)
        }
    });
    names.collect::<Vec<_>>().join(";")
}

impl Folded {
    fn add(&mut self, stack: String, samples: u64) {
        *self.stacks.entry(stack).or_default() += samples;
        self.samples += samples;
    }

    fn share(&self, stack: &str) -> f64 {
        let samples = self.stacks.get(stack).copied().unwrap_or_default();
        samples as f64 / self.samples.max(1) as f64
    }

    fn overlap(&self, other: &Self) -> f64 {
        self.stacks.keys().map(|stack| self.share(stack).min(other.share(stack))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(stacks: &[(&str, u64)]) -> Folded {
        let mut folded = Folded::default();
        stacks.iter().for_each(|(stack, samples)| folded.add((*stack).to_owned(), *samples));
        folded
    }

    #[test]
    fn the_smaller_shares_add_up() {
        let first = folded(&[("a", 5), ("b", 5)]);
        let other = folded(&[("a", 15), ("c", 5)]);
        assert_eq!(first.overlap(&first), 1.0);
        assert_eq!(first.overlap(&other), 0.5);
        assert_eq!(other.overlap(&first), 0.5);
        assert_eq!(first.overlap(&Folded::default()), 0.0);
    }
}
