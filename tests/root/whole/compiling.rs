//! A compiler that runs again and again: processes that live for some tens of milliseconds.

use profiler_tests::workload::{self, repository};

use super::*;

/// Samples that were due, by the CPU time that the shell tells of its children, arrive with whole stacks.
#[test]
fn a_loop_of_gcc() {
    const HZ: f64 = 499.0;
    /// The share of what was due that is whole, or is the kernel's time for a process that has no memory left.
    const ACCOUNTED: f64 = 0.97;
    /// The share of what was due that is whole: on the slowest hosts, on which that time is 4 % and more.
    const WHOLE: f64 = 0.93;
    let _host = host::claim();
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("object.o");
    let source = repository().join("tests/workloads").join(workload::BLOCKER.source);
    let script = format!(
        "for i in $(seq 150); do gcc -O2 -c {} -o {}; done; times",
        source.display(),
        output.display()
    );
    let hz = HZ.to_string();
    let recording = agent::record(&["--frequency", &hz, "--", "sh", "-c", &script]).unwrap();
    let due = HZ * children_seconds(&recording.run.stdout);
    let ending = format!("{MARKER}: the process ends, its memory is gone]");
    let begins = |stack: &Stack, marker: &str| {
        stack.frames.first().is_some_and(|frame| frame.name.starts_with(marker))
    };
    let whole = recording.total(SAMPLES, |stack| !begins(stack, MARKER));
    let ended = recording.total(SAMPLES, |stack| begins(stack, &ending));
    let all = recording.total(SAMPLES, |_| true);
    println!("{due:.0} samples were due, {all} came, {whole} are whole\n{}", recording.run.stderr);
    assert!(whole as f64 >= WHOLE * due, "{whole} of {due}\n{}", recording.run.stderr);
    assert!(
        (whole + ended) as f64 >= ACCOUNTED * due,
        "{whole} and {ended} of {due}\n{}",
        recording.run.stderr
    );
}

/// CPU time, in user and in kernel mode, of the children of a shell: the last line of what its `times`
/// prints, such as `0m7.930000s 0m1.650000s`.
fn children_seconds(output: &str) -> f64 {
    let last = output.lines().last().unwrap();
    let seconds = |time: &str| {
        let (minutes, seconds) = time.trim_end_matches('s').split_once('m').unwrap();
        minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()
    };
    last.split_whitespace().map(seconds).sum()
}
