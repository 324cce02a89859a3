//! Debian's own programs at work: every stack is whole, on and off CPU, in user and in kernel mode.
//!
//! They work on through the whole recording: how a process begins and ends is `whole::compiling`'s matter.

mod judge;

use profiler_tests::agent::{self, Recording};
use profiler_tests::chain::Wholeness;
use profiler_tests::debian::{self, Debian, Work};
use profiler_tests::stacks::Stack;

use crate::host;
use judge::Judge;

/// The share of samples that must be whole.
const BAR: f64 = 0.999;
/// The share of samples that may come before the tables. An agent that was built without optimization, as
/// for tests, needs a second for those of this host; a release build has them ready before it begins.
const EARLY: f64 = 0.15;
/// How the frame begins that says so.
const NOT_READY: &str = "[truncated: unwind rows not ready";
/// Samples of a program, at least.
const ENOUGH: u64 = 500;

#[test]
fn openssl() {
    assert_whole(&[debian::OPENSSL]);
}

#[test]
fn gzip_and_xz() {
    assert_whole(&[debian::GZIP, debian::XZ]);
}

#[test]
fn compiler_and_interpreters() {
    assert_whole(&[debian::CC1, debian::PERL, debian::PYTHON]);
}

#[test]
fn git() {
    assert_whole(&[debian::GIT_LOG, debian::GIT_GREP, debian::GIT_REPACK]);
}

#[test]
fn redis_under_its_benchmark() {
    assert_whole(&[debian::REDIS]);
}

#[test]
fn postgres_under_pgbench() {
    assert_whole(&[debian::POSTGRES]);
}

#[test]
fn nginx_under_wrk() {
    assert_whole(&[debian::NGINX]);
}

/// Code that Node compiles has no rows, and keeps frame pointers: stacks lead through it, from the entry
/// point through Node's own code to the function that runs.
#[test]
fn node_through_its_compiled_code() {
    let _host = host::claim();
    let work = debian::NODE.start().unwrap();
    let [pid] = work.pids().unwrap()[..] else { panic!("not one process: {work:?}") };
    let args = ["--pid", &pid.to_string(), "--frequency", "999", "--duration", "4s"];
    let recording = agent::record(&args).unwrap();
    let judge = Judge::new(&work.file);
    // JavaScript's names are those of the file that Node writes.
    let place = |stack: &Stack, name: &str| stack.frames.iter().position(|f| f.name.contains(name));
    let passes = |stack: &Stack| {
        let way = ["node::Start(", "descend", "leaf"].map(|name| place(stack, name));
        judge.is_whole(stack) && way.is_sorted() && !way.contains(&None)
    };
    let in_leaf = recording.stacks.iter().filter(|stack| place(stack, "leaf ").is_some());
    let wholeness = Wholeness::of(in_leaf, "samples", passes);
    drop(work);
    std::fs::remove_file(format!("/tmp/perf-{pid}.map")).unwrap();
    println!("node: {wholeness}");
    assert!(wholeness.samples >= ENOUGH && wholeness.share() >= BAR, "{wholeness}");
}

/// Records programs that work at the same time, long enough for each.
#[track_caller]
fn assert_whole(programs: &[Debian]) {
    let _host = host::claim();
    let works: Vec<Work> = programs.iter().map(|program| program.start().unwrap()).collect();
    let pids: Vec<Vec<u32>> = works.iter().map(|work| work.pids().unwrap()).collect();
    let pids: Vec<Vec<String>> =
        pids.iter().map(|pids| pids.iter().map(u32::to_string).collect()).collect();
    // They share the CPUs.
    let duration = format!("{}s", 1 + 3 * programs.len());
    let mut args = vec!["--event", "wall", "--frequency", "999", "--duration", &duration];
    pids.iter().flatten().for_each(|pid| args.extend(["--pid", pid]));
    let recording = agent::record(&args).unwrap();
    let judged = programs.iter().zip(&works).zip(&pids);
    let failed: Vec<String> = judged
        .flat_map(|((program, work), pids)| failures(program.name, work, pids, &recording))
        .collect();
    assert!(failed.is_empty(), "{}\n{}", failed.join("\n"), recording.run.stderr);
}

/// What is not as it must be with the stacks of one program.
fn failures(name: &str, work: &Work, pids: &[String], recording: &Recording) -> Vec<String> {
    let judge = Judge::new(&work.file);
    // Programs that only compute leave the CPU when another one takes it: not often.
    let kinds = [("samples", ENOUGH), ("blocks", 1)];
    let judged = kinds.into_iter().filter_map(|(kind, enough)| {
        let own = recording.stacks.iter().filter(|s| pids.iter().any(|pid| pid == s.label("pid")));
        let (early, steady): (Vec<&Stack>, Vec<&Stack>) = own.partition(|stack| is_early(stack));
        let early: u64 = early.iter().map(|stack| stack.value(kind)).sum();
        let wholeness = Wholeness::of(steady, kind, |stack| judge.is_whole(stack));
        println!("{name}: {kind}: {early} came before the tables; {wholeness}");
        let is_good = wholeness.samples >= enough
            // A single one is no share.
            && (wholeness.share() >= BAR || wholeness.whole + 1 == wholeness.samples)
            && early as f64 <= EARLY * wholeness.samples as f64;
        (!is_good).then(|| format!("{name}: {kind}: {early} early; {wholeness}"))
    });
    judged.collect()
}

/// Whether it was taken in the first moments of the recording: it begins in time, though a slow agent has
/// not made all tables by then. They count apart.
fn is_early(stack: &Stack) -> bool {
    stack.frames.first().is_some_and(|frame| frame.name.starts_with(NOT_READY))
}
