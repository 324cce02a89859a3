//! A sample in BPF: its fixed cost, and that of each further frame.

use std::time::Duration;

use anyhow::Result;
use profiler_tests::program::Program;
use profiler_tests::workload;

use super::observed::Observed;
use super::show;

const FREQUENCY: &str = "499";
const TIME: Duration = Duration::from_secs(5);

/// Calls above the leaf; libc's start code adds two frames.
const DEPTHS: &[usize] = &[8, 58, 110, 400];

struct Point {
    frames: f64,
    ns: f64,
}

/// Measures at several depths, every CPU busy.
pub fn measure() -> Result<()> {
    println!("\nA sample in BPF ({FREQUENCY} Hz, frame pointers, user mode)");
    let mut points = Vec::new();
    for depth in DEPTHS {
        let point = at_depth(*depth)?;
        let bar = if points.is_empty() { "bar: 1300" } else { "" };
        show(&format!("{:.0} frames", point.frames), point.ns, "ns/sample", bar);
        points.push(point);
    }
    for pair in points.windows(2) {
        let [shallow, deep] = pair else { continue };
        let slope = (deep.ns - shallow.ns) / (deep.frames - shallow.frames);
        let what = format!("each frame from {:.0} to {:.0}", shallow.frames, deep.frames);
        show(&what, slope, "ns/frame", "bar: 50");
    }
    Ok(())
}

fn at_depth(depth: usize) -> Result<Point> {
    let depth = depth.to_string();
    let cpus = std::thread::available_parallelism()?.get();
    let busy: Result<Vec<Program>> =
        (0..cpus).map(|_| Program::start(&workload::CHAIN, &[&depth])).collect();
    let agent = Observed::start(&["--frequency", FREQUENCY, "--duration", "60s"])?;
    agent.wait_for_first_run()?;
    let runs = agent.watch(TIME)?;
    let recorded = agent.stop()?;
    drop(busy);
    let sampler = runs.get("on_cpu").copied().unwrap_or_default();
    Ok(Point { frames: recorded.mean_frames("samples"), ns: sampler.mean_ns() })
}
