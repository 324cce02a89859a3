//! Unwind tables on disk: a second recording makes none, and believes only what is its own.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use profiler_tests::agent::{self, Recording};
use profiler_tests::program::Program;
use profiler_tests::workload::{self, way};

use crate::host;

const LINE: &str = "unwind tables tables";

fn record(program: &Program, directory: &Path) -> Recording {
    let directory = directory.to_str().unwrap();
    let pid = program.pid().to_string();
    let flags = ["--duration", "1s", "--log-level", "info", "--unwind-cache", directory, "--pid"];
    agent::record(&[&flags[..], &[&pid]].concat()).unwrap()
}

/// Tables that were on disk, and tables that were made, for a program of which every stack must be whole.
#[track_caller]
fn judge(recording: &Recording) -> (u64, u64) {
    assert!(
        recording.run.stderr.contains(" 100.0 % of the stacks whole"),
        "{}",
        recording.run.stderr
    );
    ["from_disk", "made"].map(|key| recording.run.told(LINE, key).unwrap()).into()
}

#[test]
fn a_second_recording_makes_no_table() {
    let _host = host::claim();
    let program = Program::start(&workload::CHAIN.built(way::O2), &["40"]).unwrap();
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("unwind");

    let (from_disk, made) = judge(&record(&program, &directory));
    assert!(from_disk == 0 && made >= 3, "program, libc and dynamic linker: {from_disk}, {made}");
    assert_eq!(judge(&record(&program, &directory)), (made, 0));

    // Where others may write, nothing is read and nothing is kept.
    std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o777)).unwrap();
    let recording = record(&program, &directory);
    assert_eq!(judge(&recording), (0, 0));
    assert_eq!(recording.count("unwind_cache_refused"), 1);
    assert!(recording.run.stderr.contains("others may write to it"), "{}", recording.run.stderr);
}
