//! Tables of the kernel side that are full: what they turn away is counted, and the kernel side says so
//! when it is asked to speak.

use profiler_tests::agent::{self, Recording};
use profiler_tests::workload;

use crate::host;

/// Records so many processes and threads, with what the kernel side says.
fn crowd(processes: &str, threads: &str) -> Recording {
    let crowd = workload::CROWD.build().unwrap();
    let flags = ["--event", "wall", "--log-level", "debug", "--"];
    let command = [crowd.to_str().unwrap(), processes, threads];
    let recording = agent::record(&[&flags[..], &command].concat()).unwrap();
    let made = format!("{{\"processes\": {processes}, \"threads\": {threads}}}");
    assert!(recording.run.stdout.contains(&made), "only {}", recording.run.stdout);
    recording
}

#[track_caller]
fn assert_told(recording: &Recording, count: &str, words: &str) {
    assert!(recording.count(count) > 0, "{count}: {:?}", recording.counts());
    // Once for each CPU that it happened on, however often it did.
    let told = recording.run.stderr.lines().filter(|line| line.contains(words)).count() as u64;
    assert!((1..=host::cpus()).contains(&told), "{told} times: {}", recording.run.stderr);
}

#[test]
fn more_children_than_can_be_followed_are_told() {
    let _host = host::claim();
    // 8,192 fit.
    let recording = crowd("8400", "0");
    let words = "the table of marked processes is full";
    assert_told(&recording, "processes_lost_target_table_full", words);
}

#[test]
fn more_sleeping_threads_than_can_be_remembered_are_told() {
    let _host = host::claim();
    // 16,384 have a slot, and 8,192 more fit, unless there are very many already.
    let recording = crowd("0", "25500");
    assert_told(&recording, "blocks_lost_thread_table_full", "the table of threads is full");
}
