//! No file descriptors, and little memory.

use std::process::Command;
use std::time::{Duration, Instant};

use profiler_tests::daemon::Room;
use profiler_tests::program::Program;
use profiler_tests::{agent, workload};

use super::windows::{
    assert_nothing_is_lost_silently, now_ns, samples_of, wait_for, wait_for_one_after,
};
use crate::host;
use crate::memory_cgroup::Cgroup;

/// What a service manager may allow the agent, in bytes: more than its budget of 96 MiB.
const LIMIT: u64 = 128 << 20;

const NONE: &[&str] = &[];

/// So many new processes a second, for so many seconds.
fn storm(rate: &str, seconds: &str) -> Program {
    let nothing = workload::NOTHING.build().unwrap();
    let args = ["1000000", rate, seconds, nothing.to_str().unwrap()];
    Program::start(&workload::STORM, &args).unwrap()
}

#[test]
fn without_file_descriptors_windows_go_on() {
    let _host = host::claim();
    let room = Room::new().unwrap();
    let mut agent = room.start(NONE).unwrap();
    let before = wait_for(&room, 2, Duration::from_secs(30)).unwrap().len();
    let limit = |number: &str| {
        let pid = agent.pid().to_string();
        let mut command = Command::new("prlimit");
        let done = agent::finish(command.args(["--pid", &pid, &format!("--nofile={number}:")]));
        assert!(done.unwrap().status.success());
    };
    // From here on every descriptor that is opened is one too many.
    limit("3");
    let _new = Program::start(&workload::SPINNER, &["120"]).unwrap();
    let _storm = storm("300", "2");
    std::thread::sleep(Duration::from_secs(3));
    limit("4096");
    let ended = (Instant::now(), now_ns());
    let windows = wait_for_one_after(&room, ended.1, Duration::from_secs(60)).unwrap();
    println!("normal {:?} after the fault, {} windows", ended.0.elapsed(), windows.len());
    assert!(windows.len() > before);
    assert!(agent.terminate(Duration::from_secs(30)).unwrap().success(), "{}", room.log());
    let windows = room.windows().unwrap();
    assert_nothing_is_lost_silently(&windows);
    assert!(samples_of(windows.last().unwrap(), "spinner") > 0);
}

#[test]
fn a_memory_cgroup_holds_it() {
    let _host = host::claim();
    let room = Room::new().unwrap();
    let cgroup = Cgroup::new(LIMIT);
    let join = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", cgroup.path.display());
    let mut command = Command::new("sh");
    command.args(["-c", &join, "sh"]).arg(agent::binary().unwrap());
    command.arg("run").arg("--config").arg(room.path("agent.toml"));
    room.with_log(&mut command).unwrap();
    let mut agent = room.started(&mut command).unwrap();
    let _storm = storm("1500", "8");
    let before = wait_for(&room, 2, Duration::from_secs(30)).unwrap().len();
    wait_for(&room, before + 5, Duration::from_secs(60)).unwrap();
    let (rss, peak) = (agent.status_kib("VmRSS").unwrap(), cgroup.peak());
    println!("RSS {rss} KiB, peak of the cgroup {peak} bytes of {LIMIT}");
    assert!(!cgroup.has_killed(), "{}", room.log());
    assert!(agent.terminate(Duration::from_secs(30)).unwrap().success(), "{}", room.log());
    drop(agent);
    assert_nothing_is_lost_silently(&room.windows().unwrap());
}
