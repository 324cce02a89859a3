//! The whole host at 99 Hz: what the agent takes for itself, what arrives, and the same for
//! `perf record` over the same load.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use profiler_tests::program::Program;
use profiler_tests::workload;

use super::observed::{Observed, cpu, peak_mib};
use super::show;
use crate::sh;

const FREQUENCY: u64 = 99;

/// After this long names are known and buffers are as large as they get.
const WARM_UP: Duration = Duration::from_secs(5);

/// Measures the agent, then the peer.
pub fn measure(seconds: u64) -> Result<()> {
    let cpus = std::thread::available_parallelism()?.get() as u64;
    let time = Duration::from_secs(seconds);
    println!("\nThe whole host at {FREQUENCY} Hz for {seconds} s, every CPU busy");
    let _busy = Program::start(&workload::SATURATE, &[] as &[&str])?;
    agent(time, cpus)?;
    perf(time, cpus)
}

fn agent(time: Duration, cpus: u64) -> Result<()> {
    for event in ["on-cpu", "wall"] {
        let agent = Observed::start(&["--event", event, "--duration", "1h"])?;
        agent.wait_for_first_run()?;
        std::thread::sleep(WARM_UP);
        let (cpu, begun) = (agent.cpu()?, Instant::now());
        std::thread::sleep(time);
        let share = share(agent.cpu()? - cpu, begun);
        let recorded = agent.stop()?;
        let due = FREQUENCY as f64 * cpus as f64 * recorded.seconds;
        let received = recorded.total("samples") as f64;
        let name = format!("profiler-agent, {event}");
        show(&format!("{name}: CPU, steady state"), share, "% of one", "bar: 0.5");
        show(&format!("{name}: peak RSS"), recorded.peak_mib, "MiB", "bar: 60 MB");
        show(&format!("{name}: samples received"), received / due * 100.0, "% of due", "bar: 98");
    }
    Ok(())
}

fn perf(time: Duration, cpus: u64) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("perf.data");
    let mut perf = Command::new("perf")
        .args(["record", "-q", "-e", "cpu-clock", "-F", &FREQUENCY.to_string(), "-a", "-g", "-o"])
        .arg(&data)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run perf")?;
    let measured = watch(&mut perf, time);
    // Without this perf would record for ever.
    sh::output(Command::new("kill").args(["-INT", &perf.id().to_string()]))?;
    perf.wait()?;
    let (share, peak) = measured?;
    let (samples, seconds) = samples_in(&data)?;
    let due = FREQUENCY as f64 * cpus as f64 * seconds;
    show("perf record -g: CPU, steady state", share, "% of one", "");
    show("perf record -g: peak RSS", peak, "MiB", "");
    show("perf record -g: samples received", samples as f64 / due * 100.0, "% of due", "");
    Ok(())
}

/// CPU share and peak of memory of a process over a while.
fn watch(child: &mut Child, time: Duration) -> Result<(f64, f64)> {
    std::thread::sleep(WARM_UP);
    if let Some(status) = child.try_wait()? {
        bail!("perf ended at once: {status}");
    }
    let (before, begun) = (cpu(child.id())?, Instant::now());
    std::thread::sleep(time);
    let share = share(cpu(child.id())? - before, begun);
    Ok((share, peak_mib(child.id())?))
}

fn share(cpu: Duration, since: Instant) -> f64 {
    cpu.as_secs_f64() / since.elapsed().as_secs_f64() * 100.0
}

/// How many samples a file of perf's has, and the seconds from the first to the last.
fn samples_in(data: &Path) -> Result<(usize, f64)> {
    let script =
        sh::output(Command::new("perf").args(["script", "-F", "time", "-G", "-i"]).arg(data))?;
    let times: Vec<f64> =
        script.lines().filter_map(|line| line.trim().trim_end_matches(':').parse().ok()).collect();
    let (first, last) = times
        .iter()
        .fold((f64::MAX, 0.0_f64), |(first, last), time| (first.min(*time), last.max(*time)));
    Ok((times.len(), last - first))
}
