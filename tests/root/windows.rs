//! Windows without end: what spans several is in each with its part, and they add up to the truth.

use std::time::Duration;

use profiler_proto::pprof::{self, Profile};
use profiler_tests::daemon::Room;
use profiler_tests::program::{BlockerTruth, Program, truth};
use profiler_tests::stacks::{self, Stack};
use profiler_tests::{agent, workload};

use crate::host::{self, assert_within};

const NO_ARGS: &[&str] = &[];

/// How long an end may take on a loaded machine.
const END: Duration = Duration::from_secs(60);

fn total(profile: &Profile, kind: &str, wanted: impl Fn(&Stack) -> bool) -> u64 {
    stacks::of(profile).iter().filter(|stack| wanted(stack)).map(|stack| stack.value(kind)).sum()
}

fn duration(profile: &Profile) -> u64 {
    u64::try_from(profile.duration_nanos).unwrap()
}

#[test]
fn blocked_time_adds_up_over_windows_to_the_truth() {
    let _host = host::claim();
    let room = Room::new().unwrap();
    let mut agent = room.start(NO_ARGS).unwrap();
    let blocker = workload::BLOCKER.build().unwrap();
    let run = agent::finish(std::process::Command::new(blocker).arg("5")).unwrap();
    let truth: BlockerTruth = truth(&run.stdout).unwrap();
    assert!(agent.terminate(END).unwrap().success(), "{}", room.log());

    let windows = room.windows().unwrap();
    for (site, blocked) in &truth.blocked {
        let found = |window: &Profile| total(window, "off_cpu", |stack| stack.has(site));
        let parts: Vec<u64> = windows.iter().map(found).filter(|part| *part > 0).collect();
        assert!(parts.len() >= 2, "in one window only: {site}: {parts:?}");
        // The first block of a process that has just begun may come before its tables, and is then cut.
        assert_within(site, parts.iter().sum(), *blocked, 0.03);
    }
}

#[test]
fn a_thread_that_hangs_is_in_every_window_with_its_stack() {
    let _host = host::claim();
    let hanger = Program::start(&workload::HANGER, NO_ARGS).unwrap();
    let pid = hanger.pid().to_string();
    let room = Room::new().unwrap();
    let mut agent = room.start(NO_ARGS).unwrap();
    agent.wait_for_metric("profiler_agent_windows_written_total", 5.0, END).unwrap();
    let hangs = |stack: &Stack| {
        stack.label("pid") == pid && stack.has("hang_site") && stack.has("hang_below")
    };

    // A profile of now is as long as was asked for, and has the thread for as long.
    let answer = agent.get(&format!("/debug/pprof/offcpu?seconds=2&pid={pid}")).unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let live = pprof::decode(&answer.body).unwrap();
    assert!(duration(&live) >= 2_000_000_000, "{}", duration(&live));
    assert_within("live", total(&live, "off_cpu", hangs), duration(&live), 0.01);

    assert!(agent.terminate(END).unwrap().success(), "{}", room.log());
    let windows = room.windows().unwrap();
    assert!(windows.len() >= 5, "{}", windows.len());
    let mut blocks = 0;
    for window in &windows {
        let blocked = total(window, "off_cpu", hangs);
        assert_within("hang_site", blocked, duration(window), 0.01);
        blocks += total(window, "blocks", hangs);
    }
    assert_eq!(blocks, 1, "one block is one, in however many windows it is");
    for pair in windows.windows(2) {
        let [before, after] = pair else { unreachable!("pairs") };
        let gap = after.time_nanos - (before.time_nanos + before.duration_nanos);
        assert!(gap.abs() < 5_000_000, "{gap} ns between windows");
    }
}
