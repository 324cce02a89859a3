//! How many samples arrive, and how much CPU time they stand for.

use profiler_tests::agent::{self, Recording};
use profiler_tests::program::{Program, SpinnerTruth, SplitTruth, truth};
use profiler_tests::workload;

use crate::host::{self, assert_within};

const NO_ARGS: &[&str] = &[];

#[track_caller]
fn assert_nothing_lost(recording: &Recording) {
    let counts = recording.counts();
    let lost: Vec<_> =
        counts.iter().filter(|(name, count)| name.contains("lost") && **count > 0).collect();
    assert!(counts.contains_key("samples_lost_ring_full"), "losses are not shown: {counts:?}");
    assert!(lost.is_empty(), "{lost:?}");
}

/// Records the whole host with every CPU busy.
fn saturated(frequency: u64) {
    let _host = host::claim();
    let _busy = Program::start(&workload::SATURATE, NO_ARGS).unwrap();
    let flag = frequency.to_string();
    let recording = agent::record(&["--frequency", &flag, "--duration", "10s"]).unwrap();
    let due = frequency as f64 * host::cpus() as f64 * recording.seconds();
    let received = recording.total("samples", |_| true);
    assert_within("samples", received, due as u64, 0.02);
    assert_nothing_lost(&recording);
}

#[test]
fn saturated_cpus_give_every_sample_at_99_hz() {
    saturated(99);
}

#[test]
fn saturated_cpus_give_every_sample_at_999_hz() {
    saturated(999);
}

#[test]
fn the_cpu_time_of_a_busy_process_is_its_utime_and_stime() {
    let _host = host::claim();
    let spinner = workload::SPINNER.build().unwrap();
    // At 99 Hz chance alone is 2 % where the process has to share its CPU.
    let args = ["--frequency", "499", "--", spinner.to_str().unwrap(), "10"];
    let recording = agent::record(&args).unwrap();
    let truth: SpinnerTruth = truth(&recording.run.stdout).unwrap();
    assert_within("cpu time", recording.total("cpu", |_| true), truth.cpu_ns, 0.03);
}

#[test]
fn two_paths_at_75_to_25_come_out_so() {
    let _host = host::claim();
    let split = workload::SPLIT.build().unwrap();
    let recording =
        agent::record(&["--frequency", "999", "--", split.to_str().unwrap(), "10"]).unwrap();
    let truth: SplitTruth = truth(&recording.run.stdout).unwrap();
    let of = |path| recording.total("cpu", |stack| stack.has(path)) as f64;
    let found = of("path_heavy") / (of("path_heavy") + of("path_light"));
    let real = truth.path_heavy as f64 / (truth.path_heavy + truth.path_light) as f64;
    assert!((real - 0.75).abs() < 0.01, "the workload itself missed 75:25: {real}");
    assert!((found - real).abs() <= 0.03, "{found} instead of {real}");
}

#[test]
fn a_command_hands_on_its_exit_code() {
    let _host = host::claim();
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("a.svg");
    for code in [0, 7] {
        let script = format!("exit {code}");
        let run = agent::run(&[
            "record",
            "--output",
            output.to_str().unwrap(),
            "--",
            "sh",
            "-c",
            &script,
        ]);
        assert_eq!(run.unwrap().status.code(), Some(code));
    }
}

#[test]
fn a_command_may_have_more_children_than_the_table_of_wanted_processes_has_room_for() {
    let _host = host::claim();
    // 8,192 fit at once.
    let script = "i=0; while [ $i -lt 9000 ]; do /bin/true; i=$((i+1)); done";
    let recording = agent::record(&["--", "sh", "-c", script]).unwrap();
    assert_eq!(recording.count("processes_lost_target_table_full"), 0);
}
