//! The unwind tables of all processes of the host: when they are there after a start without a cache on disk
//! and after one with it, and what they take.

use std::process::Command;

use anyhow::{Context as _, Result};
use profiler_tests::agent;
use serde::Deserialize;

use super::observed::Observed;
use super::show;
use crate::sh;

const ROUNDS: usize = 5;

/// A map, as bpftool tells of it.
#[derive(Deserialize)]
struct Map {
    id: u32,
    #[serde(default)]
    bytes_memlock: u64,
}

/// Measures starts, and then the kernel's maps.
pub fn measure() -> Result<()> {
    println!("\nUnwind tables of all processes of this host ({ROUNDS} rounds)");
    let directory = tempfile::tempdir()?;
    let mut cold = Vec::new();
    let mut warm = Vec::new();
    for round in 0..ROUNDS {
        let cache = directory.path().join(round.to_string());
        let cache = cache.to_str().context("a path that is no text")?;
        cold.push(ready_after(cache)?);
        warm.push(ready_after(cache)?);
    }
    for (name, mut times, bar) in [("cold", cold, "bar: 1000"), ("warm", warm, "bar: 200")] {
        times.sort_unstable();
        let median = times.get(ROUNDS / 2).copied().unwrap_or_default();
        show(&format!("there after a {name} start, median"), median as f64, "ms", bar);
        let worst = times.last().copied().unwrap_or_default();
        show(&format!("there after a {name} start, worst"), worst as f64, "ms", "");
    }
    let before = maps()?;
    let agent = Observed::start(&["--duration", "60s"])?;
    agent.wait_for_first_run()?;
    let new = maps()?.into_iter().filter(|map| before.iter().all(|old| old.id != map.id));
    let bytes: u64 = new.map(|map| map.bytes_memlock).sum();
    agent.stop()?;
    show("all maps in the kernel, the ring included", bytes as f64 / 1e6, "MB", "bar: 16");
    Ok(())
}

/// Milliseconds from the beginning of a recording until all tables are there.
fn ready_after(cache: &str) -> Result<u64> {
    let binary = super::observed::binary();
    let mut command = Command::new(binary);
    command.args(["record", "--duration", "1s", "--log-level", "info", "--format", "folded"]);
    command.args(["--output", "/dev/null", "--unwind-cache", cache]);
    let run = agent::finish(&mut command)?;
    run.told("unwind tables of all processes are there", "after_ms")
}

fn maps() -> Result<Vec<Map>> {
    let text = sh::output(Command::new("bpftool").args(["--json", "map", "show"]))?;
    serde_json::from_str(&text).context("not what bpftool prints")
}
