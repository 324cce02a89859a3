//! From the exec of the agent to its first sample.

use std::time::Duration;

use anyhow::Result;
use profiler_tests::program::Program;
use profiler_tests::{wait, workload};

use super::observed::Observed;
use super::show;

const ROUNDS: usize = 5;

/// Measures with every CPU busy, so that the first sample is due at once.
pub fn measure() -> Result<()> {
    println!("\nFrom exec to the first sample (whole host, {ROUNDS} rounds)");
    let _busy = Program::start(&workload::SATURATE, &[] as &[&str])?;
    for event in ["on-cpu", "wall"] {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let agent = Observed::start(&["--event", event, "--duration", "60s"])?;
            agent.wait_for_first_run()?;
            times.push(agent.started.elapsed());
            // It may still be on its way into the recording: let it have a sample to write.
            wait::until("a little of a recording", Duration::from_secs(5), || {
                Ok((agent.started.elapsed() > Duration::from_secs(1)).then_some(()))
            })?;
            agent.stop()?;
        }
        times.sort();
        let worst = times.last().copied().unwrap_or_default();
        let median = times.get(ROUNDS / 2).copied().unwrap_or_default();
        show(&format!("{event}, median"), median.as_secs_f64() * 1e3, "ms", "bar: 300");
        show(&format!("{event}, worst"), worst.as_secs_f64() * 1e3, "ms", "");
    }
    Ok(())
}
