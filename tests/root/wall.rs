//! Time on the CPU and off it make up a thread's life.

use profiler_tests::agent;
use profiler_tests::program::{BlockerTruth, Program, SpinnerTruth, truth};
use profiler_tests::workload;

use crate::host::{self, assert_within};

#[test]
fn on_and_off_the_cpu_are_the_life_of_each_thread() {
    let _host = host::claim();
    let blocker = workload::BLOCKER.build().unwrap();
    let recording = agent::record(&[
        "--event",
        "wall",
        "--frequency",
        "999",
        "--",
        blocker.to_str().unwrap(),
        "8",
    ])
    .unwrap();
    let truth: BlockerTruth = truth(&recording.run.stdout).unwrap();
    for (thread, lived) in &truth.lived {
        let mine = |kind| recording.total(kind, |stack| stack.label("thread") == thread);
        assert_within(thread, mine("cpu") + mine("off_cpu"), *lived, 0.01);
    }
}

#[test]
fn a_thread_without_a_cpu_is_ready_but_not_running() {
    let _host = host::claim();
    // Two programs share one CPU: each waits for it half of the time.
    let other = Program::start(&workload::SPINNER, &["20", "0"]).unwrap();
    let spinner = workload::SPINNER.build().unwrap();
    let recording = agent::record(&[
        "--event",
        "wall",
        "--frequency",
        "999",
        "--",
        spinner.to_str().unwrap(),
        "8",
        "0",
    ])
    .unwrap();
    drop(other);
    let truth: SpinnerTruth = truth(&recording.run.stdout).unwrap();
    let waited = recording
        .total("off_cpu", |stack| stack.label("state") == "runnable" && stack.has("spin_site"));
    assert_within("waited for a CPU", waited, truth.wall_ns - truth.cpu_ns, 0.03);
    let all = recording.total("cpu", |_| true) + recording.total("off_cpu", |_| true);
    assert_within("life", all, truth.wall_ns, 0.01);
}
