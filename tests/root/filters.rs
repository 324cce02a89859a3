//! Who is recorded, and until when, as the flags and Ctrl-C say.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use profiler_tests::agent::{self, Recording, Running};
use profiler_tests::program::Program;
use profiler_tests::{wait, workload};

use crate::host;

/// Fails unless saturate was recorded, and spinner was not.
#[track_caller]
fn assert_saturate_alone(recording: &Recording) {
    assert!(recording.total("samples", |stack| stack.has("saturate_site")) > 0);
    assert_eq!(recording.total("samples", |stack| !stack.has("saturate_site")), 0);
}

#[test]
fn threads_of_other_names_are_not_recorded() {
    let _host = host::claim();
    let _wanted = Program::start(&workload::SATURATE, &[] as &[&str]).unwrap();
    let _other = Program::start(&workload::SPINNER, &["20"]).unwrap();
    let flags = ["--comm", "saturate", "--frequency", "499", "--duration", "2s"];
    assert_saturate_alone(&agent::record(&flags).unwrap());
}

/// A cgroup of the v2 hierarchy, empty and removed at the end.
struct Cgroup(PathBuf);

impl Cgroup {
    fn make() -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let root = mounts.lines().map(|l| l.split(' ').collect::<Vec<_>>());
        let root = root.into_iter().find(|words| words.get(2) == Some(&"cgroup2"));
        let root = root.expect("this test needs a cgroup v2 hierarchy: mount one")[1].to_owned();
        let path = Path::new(&root).join(format!("profiler-agent-test-{}", std::process::id()));
        fs::create_dir_all(path.join("below")).unwrap();
        Self(path)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A cgroup can be removed once its last process is reaped.
        let removed = wait::until("an empty cgroup", Duration::from_secs(5), || {
            Ok(fs::remove_dir(self.0.join("below")).and_then(|()| fs::remove_dir(&self.0)).ok())
        });
        removed.unwrap();
    }
}

#[test]
fn a_cgroup_is_recorded_with_those_below_it() {
    let _host = host::claim();
    let cgroup = Cgroup::make();
    let wanted = Program::start(&workload::SATURATE, &[] as &[&str]).unwrap();
    fs::write(cgroup.0.join("below/cgroup.procs"), wanted.pid().to_string()).unwrap();
    let _other = Program::start(&workload::SPINNER, &["20"]).unwrap();
    let path = cgroup.0.to_str().unwrap();
    let flags = ["--cgroup", path, "--frequency", "499", "--duration", "2s"];
    let recording = agent::record(&flags).unwrap();
    drop(wanted);
    assert_saturate_alone(&recording);
}

#[test]
fn an_interrupt_ends_a_recording_early_and_still_writes_it() {
    let _host = host::claim();
    let _busy = Program::start(&workload::SATURATE, &[] as &[&str]).unwrap();
    let recording = Running::start(&[] as &[&str]).unwrap().interrupt().unwrap();
    assert!(recording.seconds() < 60.0);
}
