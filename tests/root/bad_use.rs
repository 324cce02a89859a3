//! Wrong use and missing things: a message that names the way out, a non-zero exit code, no file.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use profiler_tests::agent::{self, Run};
use profiler_tests::program::Program;
use profiler_tests::workload;

use crate::host::{self, assert_within};

/// The agent refused, said each of `words`, and left nothing in the directory.
#[track_caller]
fn assert_refused(run: &Run, words: &[&str], directory: &Path) {
    assert!(!run.status.success(), "it succeeded: {}", run.stderr);
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    for word in words {
        assert!(run.stderr.contains(word), "no {word:?} in: {}", run.stderr);
    }
    let left: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "half-written: {left:?}");
}

fn record_to(directory: &Path, args: &[&str]) -> Run {
    let output = directory.join("out.svg");
    let mut all = vec!["record", "--output", output.to_str().unwrap()];
    all.extend(args);
    agent::run(&all).unwrap()
}

/// Runs the agent as nobody, in a directory of its own that everybody may write to.
fn run_as_nobody(args: impl Fn(&Path) -> Vec<OsString>, words: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let everybody = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(directory.path(), everybody.clone()).unwrap();
    let copy = directory.path().join("profiler-agent");
    std::fs::copy(agent::binary().unwrap(), &copy).unwrap();
    std::fs::set_permissions(&copy, everybody.clone()).unwrap();
    let results = directory.path().join("results");
    std::fs::create_dir(&results).unwrap();
    std::fs::set_permissions(&results, everybody).unwrap();
    let run = agent::finish(
        Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"])
            .arg(&copy)
            .args(args(&results)),
    )
    .unwrap();
    assert_refused(&run, words, &results);
}

#[test]
fn without_root() {
    let _host = host::claim();
    let record = |results: &Path| {
        let mut args: Vec<OsString> =
            ["record", "--duration", "1s", "--output"].map(OsString::from).into();
        args.push(results.join("out.svg").into());
        args
    };
    run_as_nobody(record, &["CAP_BPF", "run as root"]);
    // The same words, and before it complains of its store or its socket.
    let run = |results: &Path| {
        let set = |key: &str, file: &str| format!("{key}={}", results.join(file).display());
        let (store, socket) = (set("store.path", "store"), set("http.socket", "agent.sock"));
        ["run", "--set", &store, "--set", &socket].map(OsString::from).into()
    };
    run_as_nobody(run, &["CAP_BPF", "run as root"]);
}

#[test]
fn no_such_pid() {
    let _host = host::claim();
    let directory = tempfile::tempdir().unwrap();
    let gone = {
        let program = Program::start(&workload::HANGER, &[] as &[&str]).unwrap();
        program.pid().to_string()
    };
    let run = record_to(directory.path(), &["--pid", &gone, "--duration", "1s"]);
    assert_refused(&run, &[&gone], directory.path());
}

#[test]
fn a_pid_that_exits_at_once() {
    let _host = host::claim();
    let directory = tempfile::tempdir().unwrap();
    // It sleeps, and its end takes less than a millisecond: at one sample a second there is none.
    let program = Command::new("sleep").arg("0.5").spawn();
    let mut program = program.unwrap();
    let pid = program.id().to_string();
    let started = Instant::now();
    let reaper = std::thread::spawn(move || program.wait());
    let flags = ["--pid", &pid, "--duration", "30s", "--frequency", "1"];
    let run = record_to(directory.path(), &flags);
    reaper.join().unwrap().unwrap();
    assert_refused(&run, &[&pid], directory.path());
    assert!(started.elapsed() < Duration::from_secs(20), "it went on without the process");
}

#[test]
fn a_command_that_does_not_exist() {
    let _host = host::claim();
    let directory = tempfile::tempdir().unwrap();
    let run = record_to(directory.path(), &["--", "/no/such/command"]);
    assert_refused(&run, &["/no/such/command"], directory.path());
}

#[test]
fn output_that_cannot_be_written() {
    let _host = host::claim();
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing/out.svg");
    for output in [missing.to_str().unwrap(), "/proc/out.svg"] {
        let started = Instant::now();
        let run = agent::run(&["record", "--duration", "30s", "--output", output]).unwrap();
        assert_refused(&run, &[output], directory.path());
        assert!(started.elapsed() < Duration::from_secs(10), "it recorded first, and failed then");
    }
}

/// A file system of a few pages, unmounted when this is dropped.
struct TinyDisk(tempfile::TempDir);

impl TinyDisk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let size = Some("size=8k");
        mount(Some("tmpfs"), directory.path(), Some("tmpfs"), MsFlags::empty(), size).unwrap();
        Self(directory)
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_disk() {
    let _host = host::claim();
    let disk = TinyDisk::new();
    // Without a sample the picture could fit.
    let _busy = Program::start(&workload::SATURATE, &[] as &[&str]).unwrap();
    let run = record_to(disk.0.path(), &["--duration", "1s"]);
    assert_refused(&run, &["out.svg", "space"], disk.0.path());
}

#[test]
fn two_agents_at_once() {
    let _host = host::claim();
    let _busy = Program::start(&workload::SATURATE, &[] as &[&str]).unwrap();
    let agents: Vec<_> = (0..2)
        .map(|_| std::thread::spawn(|| agent::record(&["--event", "wall", "--duration", "3s"])))
        .collect();
    for agent in agents {
        let recording = agent.join().unwrap().expect("each of two agents records");
        // Whatever else runs on the host: every CPU is busy, so every sample is due.
        let due = 99.0 * host::cpus() as f64 * recording.seconds();
        assert_within("samples", recording.total("samples", |_| true), due as u64, 0.05);
        assert!(recording.total("samples", |stack| stack.has("saturate_site")) > 0);
    }
}

#[test]
fn flags_out_of_range() {
    let _host = host::claim();
    let directory = tempfile::tempdir().unwrap();
    for flags in [
        ["--frequency", "0"],
        ["--frequency", "10001"],
        ["--duration", "0s"],
        ["--duration", "soon"],
        ["--pid", "0"],
        ["--cgroup", "/no/such/cgroup"],
        ["--comm", "a name that is too long"],
        ["--without", "gravity"],
    ] {
        let run = record_to(directory.path(), &flags);
        assert_refused(&run, &[], directory.path());
        assert!(!run.stderr.is_empty(), "{flags:?} failed without a word");
    }
}
