//! `soak`: the agent for an hour beside all that comes and goes, and what of it has grown.
//!
//! The soak itself is in `profiler_tests::soak`, where CI runs a short one. The bar is here: the last
//! quarter against the second, by their means, since in the first the agent fills what it may fill.

use std::time::Duration;

use anyhow::{Result, bail};
use profiler_tests::soak::{self, Plan, Report, Row, Sample, What};

use crate::bench::build_agent;
use crate::debian::{self, Need};
use crate::sh;

const EXAMPLES: &str = "\
Examples:
  cargo xtask soak                         an hour, with a release build
  cargo xtask soak --minutes 8             a look
  cargo xtask soak --bound 5               5 % may be more

PROFILER_AGENT=FILE soaks that binary instead of a fresh release build.
It fails where something grew by more than the bound from the second quarter to the last.";

/// How often figures are taken.
const EVERY: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// How long it takes.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,

    /// By how much a figure may grow, in percent.
    #[arg(long, default_value_t = 2.0)]
    bound: f64,

    /// Length of a window, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    window: u64,
}

/// Soaks the agent, and fails where it grew.
pub fn run(args: &Args) -> Result<()> {
    if !sh::is_root() {
        bail!("the agent needs root: sudo -E env PATH=\"$PATH\" cargo xtask soak");
    }
    debian::ensure(&[
        Need { program: "gcc", package: "gcc" },
        Need { program: "unshare", package: "util-linux" },
    ])?;
    build_agent()?;
    let plan = Plan {
        length: Duration::from_secs(args.minutes * 60),
        every: EVERY,
        window: Duration::from_secs(args.window),
        settings: &[],
    };
    println!("{} minutes of processes, binaries, containers and threads", args.minutes);
    let mut told = 0;
    let report = soak::run(&plan, |sample| {
        let minute = sample.at.as_secs() / 60;
        if minute > told {
            told = minute;
            tell(minute, sample);
        }
    })?;
    show(&report, args.bound)
}

/// One line a minute.
fn tell(minute: u64, sample: &Sample) {
    let figures: Vec<String> = What::ALL
        .iter()
        .map(|what| format!("{} {:.1} {}", what.name(), sample.value(*what), what.unit()))
        .collect();
    println!("minute {minute}: {}", figures.join(", ").trim_end());
}

/// The table; an error where something grew.
fn show(report: &Report, bound: f64) -> Result<()> {
    println!("\n{}", report.churned);
    println!("{} windows written, {} profiles taken by the server", report.windows, report.taken);
    println!("\n{:<28} {:>12} {:>12} {:>10}", "mean of a quarter", "second", "last", "growth");
    for row in &report.rows {
        println!(
            "{:<28} {:>12.2} {:>12.2} {:>+8.2} %   {}",
            format!("{}, {}", row.what.name(), row.what.unit()).trim_end_matches([',', ' ']),
            row.second,
            row.last,
            row.growth(),
            verdict(row, bound)
        );
    }
    let grew: Vec<&str> =
        report.rows.iter().filter(|r| r.growth() > bound).map(|r| r.what.name()).collect();
    if !grew.is_empty() {
        println!("\nWhat the agent said last:\n{}", report.last_words);
        bail!("more than {bound} % of growth: {}", grew.join(", "));
    }
    Ok(())
}

fn verdict(row: &Row, bound: f64) -> &'static str {
    match row.growth() {
        growth if growth > bound => "GROWS",
        // What gives back is no leak; it says that the second quarter was not yet at rest.
        growth if growth < -bound => "shrinks: no leak",
        _ => "flat",
    }
}
