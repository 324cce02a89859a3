//! `bench`: what the agent costs on this machine, now, beside a peer in the same run.
//!
//! It prints figures and the bars they are held against, and never fails on a time: machines are
//! shared. Quote ratios of one run, not nanoseconds of two.
//!
//! - [`sampling`]: a sample in BPF, by depth of the stack, with cold caches, and in a loop of gcc.
//! - [`walk`]: the same beside another build of the agent, both attached at once.
//! - [`switches`]: a context switch in BPF, filtered and kept.
//! - [`start`]: from exec to the first sample.
//! - [`tables`]: the unwind tables of the host, from a cold and from a warm start, and all maps.
//! - [`host`]: the agent itself over a minute, and `perf record` over the same load.
//! - [`run`][mod@run]: the agent as a service, in its steady state and under very many switches.
//! - [`http`]: the endpoint of an agent that runs, under a load that does not wait for answers.

mod host;
mod http;
mod memory;
mod observed;
mod run;
mod sampling;
mod start;
mod stats;
mod switches;
mod tables;
mod walk;

use std::time::Duration;

use anyhow::{Result, bail};
pub use observed::Observed;
use profiler_tests::agent::BINARY_VARIABLE;

use crate::debian::{self, Need};
use crate::sh;

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench                        everything, about 20 minutes
  cargo xtask bench sampling switches      only what runs in the kernel
  cargo xtask bench host --seconds 20
  cargo xtask bench run --seconds 60       the agent as a service, about 6 minutes
  cargo xtask bench walk --against FILE    a change of the walker, held against the agent before it
  cargo xtask bench http --socket /run/profiler-agent/agent.sock

`walk` attaches two agents to the same load at once and tells the ratio: on a shared machine nothing else
says whether a change of a few per cent is one. What it measures runs in the kernel, so a debug build does.

PROFILER_AGENT=FILE measures that binary instead of a fresh release build.";

/// How long each rate is kept up.
const HTTP_STEP: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to measure.
    #[arg(value_enum)]
    cases: Vec<Case>,

    /// For the case `walk`: the binary of the agent that this one is held against.
    #[arg(long, value_name = "FILE")]
    against: Option<std::path::PathBuf>,

    /// How long the cases `host` and `run` measure, and `http` lets its agent fill its store.
    #[arg(long, default_value_t = 60)]
    seconds: u64,

    /// For the case `http`: the socket of an agent that runs, instead of one that is started for it.
    #[arg(long)]
    socket: Option<std::path::PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Case {
    /// A sample in BPF, by depth.
    Sampling,
    /// A sample in BPF, beside that of the agent which `--against` names; only on request.
    Walk,
    /// A context switch in BPF.
    Switches,
    /// From exec to the first sample.
    Start,
    /// When the unwind tables of all processes are there, and what the kernel's maps take.
    Tables,
    /// The agent's own CPU and memory, and a peer's.
    Host,
    /// The agent as a service.
    Run,
    /// The endpoint under load.
    Http,
}

/// Measures and prints.
pub fn run(args: &Args) -> Result<()> {
    if !sh::is_root() {
        bail!("the agent needs root: sudo -E env PATH=\"$PATH\" cargo xtask bench");
    }
    debian::ensure(&[
        Need { program: "gcc", package: "gcc" },
        Need { program: "bpftool", package: "bpftool" },
        Need { program: "perf", package: "linux-perf" },
    ])?;
    let against = args.against.as_deref();
    if args.cases.contains(&Case::Walk) != against.is_some() {
        bail!("`walk` needs --against FILE, and nothing else takes it");
    }
    build_agent()?;
    warn_of_company()?;
    let counting = stats::count()?;
    let wanted = |case| args.cases.is_empty() || args.cases.contains(&case);
    if wanted(Case::Sampling) {
        sampling::measure()?;
    }
    if let Some(other) = against {
        walk::measure(other)?;
    }
    if wanted(Case::Switches) {
        switches::measure()?;
    }
    if wanted(Case::Start) {
        start::measure()?;
    }
    if wanted(Case::Tables) {
        tables::measure()?;
    }
    if wanted(Case::Host) {
        host::measure(args.seconds)?;
    }
    // What counts every run is a part of what a switch costs.
    drop(counting);
    if wanted(Case::Run) {
        run::measure(args.seconds)?;
    }
    if wanted(Case::Http) {
        let fill = Duration::from_secs(args.seconds);
        http::measure(args.socket.as_deref(), HTTP_STEP, fill)?;
    }
    Ok(())
}

/// Builds what is measured, unless a binary is named.
pub fn build_agent() -> Result<()> {
    if std::env::var_os(BINARY_VARIABLE).is_none() {
        sh::run(sh::cargo().args([
            "build",
            "--release",
            "--quiet",
            "--package",
            "profiler-agent",
        ]))?;
    }
    Ok(())
}

/// Says so when others use the host: their samples and switches are in the figures.
fn warn_of_company() -> Result<()> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    let load: f64 = text.split(' ').next().unwrap_or_default().parse()?;
    if load > 0.5 {
        println!("The host is not quiet (load {load}): the figures include what others do.");
    }
    Ok(())
}

/// One line of a table: what, the figure, and the bar it is held against.
fn show(what: &str, figure: f64, unit: &str, bar: &str) {
    println!("  {what:<52} {figure:>9.2} {unit:<10} {bar}");
}
