//! Processes that are gone before anybody looks.

use profiler_tests::agent::{self, Recording};
use profiler_tests::program::{Program, SpawnerTruth, truth};
use profiler_tests::workload;

use crate::host;

const FREQUENCY: f64 = 99.0;

fn assert_most_arrived(recording: &Recording, due: f64) {
    let received = recording.total("samples", |stack| stack.has("short_lived_work")) as f64;
    println!("{received} of {due:.0} samples that were due have their function");
    assert!(received >= 0.95 * due, "{received} of {due:.0} samples that were due");
}

#[test]
fn processes_of_50_ms_below_a_command() {
    let _host = host::claim();
    let spawner = workload::SPAWNER.build().unwrap();
    let recording = agent::record(&["--", spawner.to_str().unwrap(), "10"]).unwrap();
    let truth: SpawnerTruth = truth(&recording.run.stdout).unwrap();
    assert!(truth.children > 100, "{truth:?}");
    assert_most_arrived(&recording, truth.worked_ns as f64 / 1e9 * FREQUENCY);
}

#[test]
fn processes_of_50_ms_anywhere_on_the_host() {
    let _host = host::claim();
    let spawner = Program::start(&workload::SPAWNER, &["14"]).unwrap();
    let recording = agent::record(&["--duration", "10s"]).unwrap();
    let truth: SpawnerTruth = spawner.truth().unwrap();
    // The spawner does the same all the time, so its rate is that of the recording.
    let due = truth.worked_ns as f64 / 14e9 * recording.seconds() * FREQUENCY;
    assert_most_arrived(&recording, due);
}
