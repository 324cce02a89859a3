//! A sample in BPF: its fixed cost, that of each further frame, with cold caches, and where processes
//! come and go. Each with its mean, of all runs, and its 99th percentile, of those told one by one.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use profiler_tests::program::Program;
use profiler_tests::stacks::Stack;
use profiler_tests::workload::{self, Workload, repository, way};

use super::memory::load_ns;
use super::observed::{Observed, Recorded};
use super::show;
use super::stats::{Runs, Singles};

const FREQUENCY: &str = "997";
const TIME: Duration = Duration::from_secs(5);

/// Lines of 64 MiB that are touched between two paths: with few, the words of the stack are still cached, and
/// what unwinds them is not; with many, neither.
const TOUCHES: &[&str] = &["400", "8192"];
/// Calls above the leaf; libc's start code adds two frames.
const DEPTHS: &[usize] = &[8, 58, 110, 400];

/// The program that takes samples.
pub const SAMPLER: &str = "on_cpu";
const SAMPLES: &str = "samples";

/// What one load costs.
struct Point {
    runs: Runs,
    singles: Singles,
    recorded: Recorded,
}

/// Measures at several depths, every CPU busy.
pub fn measure() -> Result<()> {
    for (built, how) in
        [(workload::CHAIN, "frame pointers"), (workload::CHAIN.built(way::O2), "no frame pointers")]
    {
        println!("\nA sample in BPF ({FREQUENCY} Hz, {how}, user mode)");
        by_depth(built)?;
    }
    println!("\nA sample in BPF, caches cold: random paths, 64 MiB of thrash ({FREQUENCY} Hz)");
    for touches in TOUCHES {
        let load = load_ns();
        let point = beside(&everywhere(&workload::COLD, &[touches])?)?;
        let frames = point.recorded.mean_frames(SAMPLES);
        let what = format!("{frames:.0} frames, {touches} touches a path");
        point.show(&what, "bar: 4000");
        point.show_in_loads(&what, load);
    }

    println!("\nA sample in BPF, gcc in a loop ({FREQUENCY} Hz)");
    let load = load_ns();
    let gcc = GccLoop::start()?;
    let point = beside(&gcc)?;
    drop(gcc);
    point.show("all samples", "bar: 5000");
    point.show_in_loads("all samples", load);
    point.show_make_up();
    Ok(())
}

fn by_depth(built: Workload) -> Result<()> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for depth in DEPTHS {
        let point = beside(&everywhere(&built, &[&depth.to_string()])?)?;
        let frames = point.recorded.mean_frames(SAMPLES);
        point
            .show(&format!("{frames:.0} frames"), if points.is_empty() { "bar: 1200" } else { "" });
        points.push((frames, point.runs.mean_ns()));
    }
    for pair in points.windows(2) {
        let [(shallow, fast), (deep, slow)] = pair else { continue };
        let what = format!("each frame from {shallow:.0} to {deep:.0}");
        show(&what, (slow - fast) / (deep - shallow), "ns/frame", "bar: 35");
    }
    Ok(())
}

/// A workload on each CPU.
pub fn everywhere(workload: &Workload, args: &[&str]) -> Result<Vec<Program>> {
    let cpus = std::thread::available_parallelism()?.get();
    (0..cpus).map(|_| Program::start(workload, args)).collect()
}

/// Measures beside a load that runs as long as this takes.
fn beside<L>(_load: &L) -> Result<Point> {
    let agent = Observed::start(&["--frequency", FREQUENCY, "--duration", "60s"])?;
    agent.wait_for_first_run()?;
    let runs = agent.watch(TIME)?.get(SAMPLER).copied().unwrap_or_default();
    // Not at the same time: who reads single runs takes some of the CPU.
    let singles = agent.single_runs(SAMPLER, TIME)?;
    Ok(Point { runs, singles, recorded: agent.stop()? })
}

impl Point {
    fn show(&self, what: &str, bar: &str) {
        show(what, self.runs.mean_ns(), "ns/sample", bar);
        let (told, all) = (self.singles.told(), self.singles.all);
        for (share, name) in [(0.5, "median"), (0.99, "p99")] {
            let ns = self.singles.quantile_ns(share);
            let of =
                if share > 0.5 { format!("{told} of {all} told singly") } else { String::new() };
            show(&format!("{what}, {name}"), ns, "ns/sample", &of);
        }
    }

    /// The mean in loads from memory, of which one takes so long on the quiet machine.
    fn show_in_loads(&self, what: &str, load_ns: f64) {
        let of = format!("of {load_ns:.0} ns each");
        show(&format!("{what}, mean"), self.runs.mean_ns() / load_ns, "loads", &of);
    }

    /// What the samples were made of: kernel stacks and depth are what a sample pays for.
    fn show_make_up(&self) {
        let stacks = &self.recorded.stacks;
        let all = self.recorded.total(SAMPLES).max(1) as f64;
        let sum = |of: &dyn Fn(&Stack) -> u64| -> f64 {
            stacks.iter().map(|stack| stack.value(SAMPLES) * of(stack)).sum::<u64>() as f64
        };
        let kernel =
            |stack: &Stack| stack.frames.iter().filter(|frame| frame.is_kernel()).count() as u64;
        let in_kernel = sum(&|stack| u64::from(kernel(stack) > 0));
        show("user frames of a mean sample", self.recorded.mean_frames(SAMPLES), "", "");
        show("samples with a kernel stack", in_kernel / all * 100.0, "%", "");
        show("kernel frames of such a one", sum(&kernel) / in_kernel.max(1.0), "", "");
    }
}

/// A shell on each CPU that compiles a small file again and again.
pub struct GccLoop {
    shells: Vec<Child>,
    directory: tempfile::TempDir,
}

impl GccLoop {
    /// Starts it; it ends when this is dropped.
    pub fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let source = repository().join("tests/workloads").join(workload::BLOCKER.source);
        let mut started = Self { shells: Vec::new(), directory };
        for cpu in 0..std::thread::available_parallelism()?.get() {
            let shell = Command::new("sh")
                .args(["-c", "while [ ! -e stop ] && gcc -O2 -c \"$0\" -o \"$1\"; do :; done"])
                .arg(&source)
                .arg(format!("{cpu}.o"))
                .current_dir(started.directory.path())
                .stdin(Stdio::null())
                .spawn()
                .context("cannot run sh")?;
            started.shells.push(shell);
        }
        Ok(started)
    }
}

impl Drop for GccLoop {
    fn drop(&mut self) {
        // Its compilers end by themselves.
        if std::fs::write(self.directory.path().join("stop"), "").is_ok() {
            self.shells.iter_mut().for_each(|shell| drop(shell.wait()));
        }
    }
}
