//! Processes that are gone before anybody looks.

use profiler_tests::agent::{self, Recording};
use profiler_tests::program::{Program, SpawnerTruth, truth};
use profiler_tests::workload;

use crate::host;

/// Often enough that chance does not decide, even when others use the host too.
const FREQUENCY: u64 = 499;

/// 95 % of the samples that were due for `short_lived_work` arrived and carry its name.
#[track_caller]
fn assert_most_arrived(recording: &Recording, truth: &SpawnerTruth) {
    let begun = u64::try_from(recording.profile.time_nanos).unwrap();
    let ended = begun + u64::try_from(recording.profile.duration_nanos).unwrap();
    let due = truth.worked_ns(begun..ended) as f64 / 1e9 * FREQUENCY as f64;
    let received = recording.total("samples", |stack| stack.has("short_lived_work")) as f64;
    println!("{received} of {due:.0} samples that were due have their function");
    assert!(due > 1000.0, "the processes hardly ran: {due:.0} samples were due");
    assert!(received >= 0.95 * due, "{received} of {due:.0} samples that were due");
}

#[test]
fn processes_of_50_ms_below_a_command() {
    let _host = host::claim();
    let spawner = workload::SPAWNER.build().unwrap();
    let frequency = FREQUENCY.to_string();
    let recording =
        agent::record(&["--frequency", &frequency, "--", spawner.to_str().unwrap(), "10"]).unwrap();
    assert_most_arrived(&recording, &truth(&recording.run.stdout).unwrap());
}

#[test]
fn processes_of_50_ms_anywhere_on_the_host() {
    let _host = host::claim();
    let spawner = Program::start(&workload::SPAWNER, &["14"]).unwrap();
    let frequency = FREQUENCY.to_string();
    let recording = agent::record(&["--frequency", &frequency, "--duration", "10s"]).unwrap();
    assert_most_arrived(&recording, &spawner.truth().unwrap());
}
