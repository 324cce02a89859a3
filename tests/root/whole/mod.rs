//! Programs without frame pointers: every stack is whole, from the entry point to the leaf, in the right
//! order and without an invented frame, on and off CPU.

mod c;
mod compiling;
mod frames;
mod languages;
mod processes;
mod signals;
mod stacks;

use std::iter::repeat_n;

use profiler_tests::agent::{self, Recording};
use profiler_tests::chain::{ANY, Expected, MARKER, ONE, Wholeness};
use profiler_tests::program::Program;
use profiler_tests::stacks::Stack;
use profiler_tests::workload::Workload;

use crate::host;

/// The share of samples that must be whole.
const BAR: f64 = 0.999;
/// What a program by glibc begins with: `_start`, `__libc_start_main`, and a function that only libc's
/// debug information names.
const START: [&str; 3] = ["_start", ONE, ONE];
/// On the CPU.
const SAMPLES: &str = "samples";
/// Off the CPU.
const BLOCKS: &str = "blocks";

/// Whether a stack is whole.
type IsWhole = Box<dyn Fn(&Stack) -> bool>;

/// A program that runs while one records, and what its stacks must look like.
struct Case {
    workload: Workload,
    args: Vec<String>,
    /// The kinds of values of which there must be enough.
    kinds: &'static [&'static str],
    is_whole: IsWhole,
    /// The share that must be whole.
    bar: f64,
}

impl Case {
    /// One that computes and waits.
    fn new(workload: Workload, args: &[&str], is_whole: IsWhole) -> Self {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        Self { workload, args, kinds: &[SAMPLES, BLOCKS], is_whole, bar: BAR }
    }

    /// One that only computes.
    fn busy(self) -> Self {
        Self { kinds: &[SAMPLES], ..self }
    }

    /// The workload `chain`, so many levels deep.
    fn chain(workload: Workload, levels: usize) -> Self {
        let expected = chain(&START, levels);
        Self::new(workload, &[&levels.to_string(), "all"], one_of(vec![expected]))
    }
}

/// The stack is as one of these.
fn one_of(expected: Vec<Expected<'static>>) -> IsWhole {
    Box::new(move |stack| {
        let frames = stack.user();
        expected.iter().any(|expected| expected.is_whole(&frames))
    })
}

/// `start → main → descend × levels → all`.
fn chain(start: &[&'static str], levels: usize) -> Expected<'static> {
    let outer = start.iter().copied().chain(["main"]).chain(repeat_n("descend", levels));
    Expected { outer: outer.collect(), leaves: vec![vec!["all"]] }
}

/// Runs programs and records all of them together, on and off CPU: each must have enough stacks of each
/// kind, and they must be whole.
#[track_caller]
fn assert_whole(cases: &[Case]) {
    let _host = host::claim();
    let start = |case: &Case| Program::start(&case.workload, &case.args).unwrap();
    let programs: Vec<Program> = cases.iter().map(start).collect();
    let pids: Vec<String> = programs.iter().map(|program| program.pid().to_string()).collect();
    let mut args = vec!["--event", "wall", "--frequency", "499", "--duration", "3s"];
    pids.iter().for_each(|pid| args.extend(["--pid", pid]));
    let recording = agent::record(&args).unwrap();
    let failed: Vec<String> =
        cases.iter().zip(&pids).flat_map(|(case, pid)| failures(case, &recording, pid)).collect();
    assert!(failed.is_empty(), "{}\n{}", failed.join("\n"), recording.run.stderr);
}

/// What is not as it must be with the stacks of one program.
fn failures(case: &Case, recording: &Recording, pid: &str) -> Vec<String> {
    let mut failures = Vec::new();
    for kind in case.kinds {
        let stacks = recording.stacks.iter().filter(|stack| stack.label("pid") == pid);
        let wholeness = Wholeness::of(stacks, kind, &case.is_whole);
        let name = format!("{} {}", case.workload.file_name(), case.args.join(" "));
        println!("{name}: {kind}: {wholeness}");
        if wholeness.samples < 50 || !wholeness.reaches(case.bar) {
            failures.push(format!("{name}: {kind}: {wholeness}"));
        }
    }
    failures
}
