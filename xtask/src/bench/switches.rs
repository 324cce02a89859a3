//! A context switch in BPF: of a thread that nobody asked for, and of one that is kept.

use std::time::Duration;

use anyhow::{Context as _, Result};
use profiler_tests::program::Program;
use profiler_tests::workload;

use super::observed::Observed;
use super::show;
use super::stats::Runs;

const TIME: Duration = Duration::from_secs(3);

/// Keeps every stack.
const NO_LIMIT: &[&str] = &["--max-blocks", "1000000", "--min-block", "0ns"];

/// Measures with two threads that hand a byte to and fro, or yield to each other, on one CPU.
pub fn measure() -> Result<()> {
    println!("\nA switch in BPF (10 user frames)");
    let bystander = Program::start(&workload::HANGER, &[] as &[&str])?;
    let other = bystander.pid().to_string();
    let sleeping = Program::start(&workload::SWITCHER, &["8", "pipe"])?;
    let filtered = of(&[&["--pid", &other], NO_LIMIT].concat())?;
    show("filtered", filtered.mean_ns(), "ns", "bar: 150");
    let pid = sleeping.pid().to_string();
    let with_kernel = of(&[&["--pid", &pid], NO_LIMIT].concat())?;
    show("kept, with its kernel stack", with_kernel.mean_ns(), "ns", "bar: 3000");
    let limited = of(&["--pid", &pid, "--max-blocks", "100"])?;
    show("past the rate limit", limited.mean_ns(), "ns", "");
    drop(sleeping);
    let yielding = Program::start(&workload::SWITCHER, &["8", "yield"])?;
    let pid = yielding.pid().to_string();
    let without_kernel = of(&[&["--pid", &pid], NO_LIMIT].concat())?;
    show("kept, without (ready, not running)", without_kernel.mean_ns(), "ns", "bar: 1200");
    Ok(())
}

/// Runs of the switch program while an agent records off-CPU time with these flags.
fn of(args: &[&str]) -> Result<Runs> {
    let mut all = vec!["--event", "off-cpu", "--duration", "60s"];
    all.extend(args);
    let agent = Observed::start(&all)?;
    agent.wait_for_first_run()?;
    let runs = agent.watch(TIME)?;
    agent.stop()?;
    let switch =
        runs.iter().find(|(name, _)| name.starts_with("switch_") && !name.contains("tail"));
    Ok(*switch.context("no switch program ran")?.1)
}
