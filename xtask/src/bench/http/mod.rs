//! The endpoint of a running agent under load: latencies from the moment at which a request was due,
//! and the rate at which the endpoint breaks.

mod agent;
mod load;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use self::agent::Agent;
use self::load::{Outcome, step};

/// A path, and the rate to begin with, per second.
struct Target {
    path: &'static str,
    rate: f64,
}

const TARGETS: &[Target] = &[
    Target { path: "/healthz", rate: 250.0 },
    Target { path: "/metrics", rate: 100.0 },
    Target { path: "/api/v1/top?seconds=0", rate: 5.0 },
    Target { path: "/api/v1/query?last=1m&format=text", rate: 2.0 },
    Target { path: "/api/v1/query?last=10m&format=pprof", rate: 1.0 },
    Target { path: "/debug/pprof/profile?seconds=1", rate: 1.0 },
];

/// A rate holds while no more than a thousandth is turned away or fails, and the slowest of a thousand
/// comes within this time beyond what the request itself takes.
const BAR: Duration = Duration::from_secs(1);

/// Rates are doubled, at most so often.
const STEPS: u32 = 8;

/// Measures the agent at a socket, or one that is started for it and given time to fill its store.
pub fn measure(socket: Option<&Path>, length: Duration, fill: Duration) -> Result<()> {
    let agent = match socket {
        Some(_) => None,
        None => Some(Agent::start(fill)?),
    };
    let socket: PathBuf = match (&agent, socket) {
        (Some(agent), _) => agent.socket(),
        (None, socket) => socket.unwrap_or(Path::new("")).to_path_buf(),
    };
    println!(
        "\nThe endpoint under an open load, {} s for each rate; a connection for each request",
        length.as_secs()
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for target in TARGETS {
        runtime.block_on(until_it_breaks(&socket, target, length));
    }
    if let Some(agent) = &agent {
        agent.tell_windows()?;
    }
    Ok(())
}

async fn until_it_breaks(socket: &Path, target: &Target, length: Duration) {
    println!("\n  {}", target.path);
    println!(
        "  {:>10} {:>10} {:>9} {:>9} {:>10} {:>10} {:>10} {:>10}",
        "offered/s", "answered/s", "refused", "failed", "p50 ms", "p99 ms", "p99.9 ms", "max ms"
    );
    let own = own_time(target.path);
    let mut held = None;
    for doubled in 0..STEPS {
        let rate = target.rate * f64::from(1 << doubled);
        let outcome = step(socket, target.path, rate, length).await;
        show(rate, length, &outcome);
        if !holds(&outcome, own) {
            break;
        }
        held = Some(rate);
    }
    match held {
        Some(rate) => println!("  holds at {rate}/s"),
        None => println!("  breaks at {}/s already", target.rate),
    }
}

fn holds(outcome: &Outcome, own: Duration) -> bool {
    let all = outcome.latency.len() + outcome.refused + outcome.failed;
    let lost = outcome.refused + outcome.failed;
    let slowest = Duration::from_micros(outcome.latency.value_at_quantile(0.999));
    lost * 1000 <= all && slowest <= own + BAR
}

/// What a request takes by itself: a profile of a second takes a second.
fn own_time(path: &str) -> Duration {
    let seconds = path.split_once("seconds=").and_then(|(_, seconds)| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}

fn show(rate: f64, length: Duration, outcome: &Outcome) {
    let at = |quantile| outcome.latency.value_at_quantile(quantile) as f64 / 1000.0;
    println!(
        "  {rate:>10.1} {:>10.1} {:>9} {:>9} {:>10.2} {:>10.2} {:>10.2} {:>10.2}",
        outcome.latency.len() as f64 / length.as_secs_f64(),
        outcome.refused,
        outcome.failed,
        at(0.5),
        at(0.99),
        at(0.999),
        outcome.latency.max() as f64 / 1000.0,
    );
}
