//! The agent stopped for a while, as by a frozen cgroup or a debugger.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use profiler_tests::daemon::Room;
use profiler_tests::program::Program;
use profiler_tests::workload;

use super::windows::{now_ns, samples_of, wait_for, wait_for_one_after};
use crate::host;

/// Names how long the agent is stopped, in seconds; CI has no minute for it.
const STOPPED: &str = "PROFILER_TEST_STOPPED";

#[test]
fn it_goes_on_after_it_was_stopped() {
    let _host = host::claim();
    let seconds = std::env::var(STOPPED).ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    let room = Room::new().unwrap();
    let _load = Program::start(&workload::SPINNER, &["300"]).unwrap();
    let mut agent = room.start(&[] as &[&str]).unwrap();
    wait_for(&room, 2, Duration::from_secs(30)).unwrap();

    agent.signal(Signal::SIGSTOP).unwrap();
    std::thread::sleep(Duration::from_secs(seconds));
    let continued = (Instant::now(), now_ns());
    agent.signal(Signal::SIGCONT).unwrap();
    let windows = wait_for_one_after(&room, continued.1, Duration::from_secs(60)).unwrap();
    println!("a window that began after the stop was there after {:?}", continued.0.elapsed());
    let last = windows.last().unwrap();
    assert!(samples_of(last, "spinner") > 0, "{}", room.log());

    // What the kernel kept meanwhile is in windows, and no two of them overlap.
    super::windows::gaps(&windows);
    let samples: u64 = windows.iter().map(|window| samples_of(window, "spinner")).sum();
    println!("{} windows, {samples} samples", windows.len());
    assert!(agent.terminate(Duration::from_secs(30)).unwrap().success(), "{}", room.log());
}
