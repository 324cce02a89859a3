//! What must be right on every kernel. Times are emulated, so only shares and stacks are checked.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use profiler_tests::agent::{self, Recording};
use profiler_tests::chain::{ANY, Expected};
use profiler_tests::program::{BlockerTruth, Program, truth};
use profiler_tests::wait;

/// The most instructions that the verifier may walk through for one program: kernels differ by a
/// factor of three, and the limit of all of them is a million.
const VERIFIED_LIMIT: u64 = 300_000;

/// Programs that every kernel has: two for samples and two for switches, one for births and one for
/// other programs that a process runs.
const PROGRAMS: usize = 6;

/// A check, and what it is called.
pub type Check = (&'static str, fn() -> Result<()>);

/// In the order in which they run.
pub const ALL: &[Check] = &[
    ("every program loads, within the verifier's limit", programs_load),
    ("a chain of 10 calls is whole, in user mode", || chain_is_whole(10, "burn", "burn")),
    ("a chain of 110 calls is whole", || chain_is_whole(110, "burn", "burn")),
    ("a chain is whole when the sample hits the kernel", || {
        chain_is_whole(10, "syscall", "syscall_loop")
    }),
    ("blocked time is where it belongs", || blocked_time(&[])),
    ("blocked time by classic tracepoints", || blocked_time(&["--without", "btf-tracepoints"])),
    ("a thread that is blocked all the time is there", hanging_thread),
    ("the whole host, on CPU and off it", whole_host),
];

fn workload(name: &str) -> PathBuf {
    PathBuf::from("/guest").join(name)
}

fn programs_load() -> Result<()> {
    let mut child = Command::new(agent::binary()?)
        .args(["record", "--event", "wall", "--duration", "60s", "--output", "/tmp/never.pb.gz"])
        .stdin(Stdio::null())
        .spawn()?;
    let read = wait::until("the agent's programs", Duration::from_secs(60), || {
        ensure!(child.try_wait()?.is_none(), "the agent ended");
        // Programs are attached when all are loaded, the largest as well.
        let attached = descriptors(child.id())?.iter().any(|info| info.contains("link_type:"));
        let sizes = if attached { verified_instructions(child.id())? } else { Vec::new() };
        Ok((sizes.len() >= PROGRAMS).then_some(sizes))
    });
    let _ = child.kill();
    child.wait()?;
    let sizes = read?;
    let largest = sizes.iter().flatten().max();
    println!("NOTE {} programs, verified instructions of the largest: {largest:?}", sizes.len());
    let too_large = largest.is_some_and(|size| *size > VERIFIED_LIMIT);
    ensure!(!too_large, "the verifier walked through more than {VERIFIED_LIMIT} instructions");
    Ok(())
}

/// For each program that a process holds, what `/proc` says of its verification (from 5.16 on).
fn verified_instructions(pid: u32) -> Result<Vec<Option<u64>>> {
    let programs = descriptors(pid)?.into_iter().filter(|info| info.contains("prog_id:"));
    // A link names its program as well, and nothing of its verification.
    let programs = programs.filter(|info| !info.contains("link_type:"));
    let size = |info: String| {
        let size = info.lines().find_map(|line| line.strip_prefix("verified_insns:"));
        size.and_then(|size| size.trim().parse().ok())
    };
    Ok(programs.map(size).collect())
}

/// What `/proc` says of each descriptor of a process.
fn descriptors(pid: u32) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // One may be closed while we look.
        all.extend(std::fs::read_to_string(entry?.path()));
    }
    Ok(all)
}

fn chain_is_whole(depth: usize, mode: &str, leaf: &str) -> Result<()> {
    let program = Program::start_binary(&workload("chain"), &[&depth.to_string(), mode])?;
    let pid = program.pid().to_string();
    let recording = agent::record(&["--pid", &pid, "--frequency", "49", "--duration", "4s"])?;
    let mut outer = vec![ANY, "main"];
    outer.extend(std::iter::repeat_n("descend", depth));
    let expected = Expected { outer, leaves: vec![vec![leaf]] };
    let wholeness = expected.judge(&recording.stacks, "samples");
    println!("NOTE {wholeness}");
    ensure!(wholeness.samples >= 50, "only {} samples", wholeness.samples);
    ensure!(wholeness.whole == wholeness.samples, "{wholeness}");
    Ok(())
}

fn blocked_time(more: &[&str]) -> Result<()> {
    let blocker = workload("blocker");
    let mut args = vec!["--event", "off-cpu"];
    args.extend(more);
    args.extend(["--", blocker.to_str().context("a path")?, "4"]);
    let recording = agent::record(&args)?;
    let truth: BlockerTruth = truth(&recording.run.stdout)?;
    for (site, blocked) in &truth.blocked {
        let found = recording.total("off_cpu", |stack| stack.has(site)) as f64;
        let share = found / *blocked as f64;
        // An emulated CPU takes its time between the workload's look at the clock and the switch.
        ensure!((0.7..=1.05).contains(&share), "{site}: {found} of {blocked} ns");
    }
    Ok(())
}

fn hanging_thread() -> Result<()> {
    let program = Program::start_binary(&workload("hanger"), &[] as &[&str])?;
    let pid = program.pid().to_string();
    let recording = agent::record(&["--event", "off-cpu", "--pid", &pid, "--duration", "3s"])?;
    let blocked = recording.total("off_cpu", |_| true) as f64;
    let named = recording.total("off_cpu", |stack| stack.has("hang_site")) as f64;
    println!("NOTE its stack is known for {:.0} % of the time", named / blocked * 100.0);
    let share = blocked / recording.profile.duration_nanos as f64;
    ensure!((0.95..=1.05).contains(&share), "{blocked} ns in {} s", recording.seconds());
    Ok(())
}

fn whole_host() -> Result<()> {
    let _busy = Program::start_binary(&workload("chain"), &["10"])?;
    let recording: Recording = agent::record(&["--event", "wall", "--duration", "4s"])?;
    ensure!(recording.total("cpu", |stack| stack.has("burn")) > 0, "no CPU time");
    ensure!(recording.total("off_cpu", |_| true) > 0, "no blocked time");
    let lost: u64 = ["samples_lost_ring_full", "blocks_lost_ring_full"]
        .iter()
        .map(|name| recording.count(name))
        .sum();
    ensure!(lost == 0, "{lost} records were lost");
    Ok(())
}
