//! A soak: the agent as a service, beside all that comes and goes, and what of it grows.
//!
//! - [`churn`]: processes, binaries, containers and threads without end.
//! - [`sample`]: what the agent takes at one moment.
//!
//! What the agent may fill is made small, so that it is full in the first quarter: the store, the cache of
//! unwind tables, the directory of a sink. From there on, nothing has a reason to grow.

pub mod churn;
pub mod sample;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use self::churn::Churn;
pub use self::churn::Churned;
pub use self::sample::{Sample, What};
use crate::backends::parca::Parca;
use crate::daemon::{Daemon, Room};

/// How long the agent has for its end.
const END: Duration = Duration::from_secs(60);

/// Lines of the log that a report ends with.
const LAST_LINES: usize = 20;

/// How long, and how often one looks.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Length of the soak.
    pub length: Duration,
    /// Time from one sample to the next.
    pub every: Duration,
    /// Length of a window.
    pub window: Duration,
    /// What else the agent is told: `KEY=VALUE`.
    pub settings: &'static [&'static str],
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// One for each figure.
    pub rows: Vec<Row>,
    /// What the agent had to bear.
    pub churned: Churned,
    /// Windows that the agent wrote.
    pub windows: u64,
    /// Profiles that its server took.
    pub taken: usize,
    /// The end of its log.
    pub last_words: String,
}

/// A figure: its mean in the second quarter, and in the last.
#[derive(Clone, Debug)]
pub struct Row {
    /// The figure.
    pub what: What,
    /// Mean of the second quarter.
    pub second: f64,
    /// Mean of the last quarter.
    pub last: f64,
}

impl Row {
    /// By how much it grew, in percent.
    pub fn growth(&self) -> f64 {
        if self.second == self.last { 0.0 } else { (self.last / self.second - 1.0) * 100.0 }
    }
}

/// Runs an agent through it, and hands over each sample as it is taken.
///
/// # Errors
/// Where the agent ends by itself or sends what a server would not take, and where there is no churn.
pub fn run(plan: &Plan, mut tell: impl FnMut(&Sample)) -> Result<Report> {
    let runtime = tokio::runtime::Runtime::new()?;
    let server = runtime.block_on(Parca::start())?;
    let room = Room::new()?;
    let mut agent = start(&room, plan, &server)?;
    let churn = Churn::start()?;
    let (begun, mut samples, mut taken) = (Instant::now(), Vec::new(), 0);
    while begun.elapsed() < plan.length && churn.is_whole() {
        std::thread::sleep(plan.every);
        let sample = Sample::take(begun.elapsed(), &agent, &room);
        let sample = sample.with_context(|| last_words(&room))?;
        // An hour of windows is not kept here either.
        taken += server.ledger.forget();
        tell(&sample);
        samples.push(sample);
    }
    let churned = churn.stop()?;
    let windows = agent.metric("profiler_agent_windows_written_total")?.unwrap_or_default();
    let ended = agent.terminate(END)?;
    let last_words = last_words(&room);
    if !ended.success() {
        bail!("the agent ended badly: {ended}\n{last_words}");
    }
    let violations = server.ledger.violations();
    if !violations.is_empty() {
        bail!("what it sent was not right: {violations:?}");
    }
    let rows = What::ALL.iter().map(|what| row(*what, &samples, plan.length)).collect();
    Ok(Report { rows, churned, windows: windows as u64, taken, last_words })
}

/// An agent with two sinks, whose bounds are reached soon.
fn start(room: &Room, plan: &Plan, server: &Parca) -> Result<Daemon> {
    room.configure(&format!(
        "[unwind_cache]\npath = \"DIR/unwind\"\nsize = \"16 MiB\"\n\n\
         [sinks.server]\ntype = \"parca\"\nurl = \"http://{}\"\n\n\
         [budget]\ncpu = \"25%\"\n",
        server.address
    ))?;
    let length = format!("window.length={}s", plan.window.as_secs());
    let flags = [length.as_str(), "store.size=16 MiB", "sinks.windows.files=20"];
    let flags = flags.iter().chain(plan.settings).flat_map(|flag| ["--set", flag]);
    room.start(&flags.chain(["--log-level", "info"]).collect::<Vec<_>>())
}

fn row(what: What, samples: &[Sample], length: Duration) -> Row {
    let quarter = length / 4;
    let mean = |from: Duration, to: Duration| {
        let within = samples.iter().filter(|sample| (from..to).contains(&sample.at));
        let values: Vec<f64> = within.map(|sample| sample.value(what)).collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    Row { what, second: mean(quarter, quarter * 2), last: mean(quarter * 3, Duration::MAX) }
}

/// The end of the log.
fn last_words(room: &Room) -> String {
    let log = room.log();
    let lines: Vec<&str> = log.lines().collect();
    lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_quarter_is_held_against_the_second() {
        let sample = |second: u64, value: f64| Sample {
            at: Duration::from_secs(second),
            values: [value; What::ALL.len()],
        };
        let samples: Vec<Sample> = (0..=100)
            .map(|second| sample(second, if second < 25 { 1.0 } else { 100.0 + second as f64 }))
            .collect();
        let row = row(What::Rss, &samples, Duration::from_secs(100));
        assert_eq!((row.second, row.last), (137.0, 187.5));
        assert!((row.growth() - 36.86).abs() < 0.01, "{}", row.growth());
        assert_eq!(Row { what: What::Rss, second: 0.0, last: 0.0 }.growth(), 0.0);
    }
}
