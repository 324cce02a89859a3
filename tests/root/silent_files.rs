//! A binary on a file system that does not answer.

use profiler_tests::agent;
use profiler_tests::program::Program;
use profiler_tests::workload::{SILENT, SPINNER};

use crate::host;

/// How long the program from there runs, in seconds. The agent's own process is gone only when the file system has
/// answered, or its last user is gone: the kernel lets nobody go who waits for it.
const LIFE: &str = "12";

#[test]
fn a_file_system_that_does_not_answer_costs_names_of_what_lies_there() {
    let _host = host::claim();
    agent::binary().unwrap();
    let spinner = SPINNER.build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let there = [directory.path().as_os_str(), spinner.as_os_str(), LIFE.as_ref()];
    let there = Program::start(&SILENT, &there).unwrap();
    let here = Program::start(&SPINNER, &[LIFE]).unwrap();

    let (there, here) = (there.pid().to_string(), here.pid().to_string());
    let flags = ["--duration", "3s", "--frequency", "99", "--pid", &there, "--pid", &here];
    let recording = agent::record(&flags).unwrap();

    // Nothing waited for an answer but the end of the process.
    assert!(recording.seconds() < 4.0, "{} s", recording.seconds());
    let of = |pid: &str| -> Vec<_> {
        recording.stacks.iter().filter(|stack| stack.label("pid") == pid).collect()
    };
    let (named, unnamed) = (of(&here), of(&there));
    assert!(named.iter().any(|stack| stack.has("spin_site")), "{}", recording.run.stderr);
    assert!(unnamed.iter().all(|stack| !stack.has("spin_site")), "{}", recording.run.stderr);
    assert!(unnamed.iter().any(|stack| stack.line().contains("[program+0x")));
    assert!(recording.count("binaries_not_opened_timeout") > 0);
    let note = "its file system does not answer";
    assert!(recording.comments().iter().any(|comment| comment.contains(note)));
}
