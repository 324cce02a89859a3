//! Blocked time: where, how long, in which state.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use profiler_tests::agent;
use profiler_tests::program::{BlockerTruth, Program, truth};
use profiler_tests::stacks::Stack;
use profiler_tests::{wait, workload};

use crate::host::{self, assert_within};

const NO_ARGS: &[&str] = &[];

#[test]
fn blocked_time_of_each_stack_is_the_truth() {
    let _host = host::claim();
    let blocker = workload::BLOCKER.build().unwrap();
    let recording =
        agent::record(&["--event", "off-cpu", "--", blocker.to_str().unwrap(), "6"]).unwrap();
    let truth: BlockerTruth = truth(&recording.run.stdout).unwrap();
    for (site, blocked) in &truth.blocked {
        let found = recording.total("off_cpu", |stack| stack.has(site));
        assert_within(site, found, *blocked, 0.01);
    }
    let sleeping = recording
        .total("off_cpu", |stack| stack.has("sleep_site") && stack.label("state") == "sleeping");
    let all = recording.total("off_cpu", |stack| stack.has("sleep_site"));
    assert!(sleeping as f64 > 0.97 * all as f64, "a sleep is not told apart: {sleeping} of {all}");
}

#[test]
fn a_thread_that_is_blocked_all_the_time_is_there_in_full() {
    let _host = host::claim();
    let hanger = Program::start(&workload::HANGER, NO_ARGS).unwrap();
    let pid = hanger.pid().to_string();
    for event in ["off-cpu", "wall"] {
        let recording =
            agent::record(&["--event", event, "--pid", &pid, "--duration", "2s"]).unwrap();
        let duration = u64::try_from(recording.profile.duration_nanos).unwrap();
        let blocked =
            recording.total("off_cpu", |stack| stack.has("hang_site") && stack.has("hang_below"));
        assert_within("hang_site", blocked, duration, 0.01);
    }
}

#[test]
fn without_the_iterator_a_sleeper_keeps_its_time() {
    let _host = host::claim();
    let hanger = Program::start(&workload::HANGER, NO_ARGS).unwrap();
    let pid = hanger.pid().to_string();
    let recording = agent::record(&[
        "--event",
        "off-cpu",
        "--pid",
        &pid,
        "--duration",
        "2s",
        "--without",
        "sleepers-iterator",
    ])
    .unwrap();
    let duration = u64::try_from(recording.profile.duration_nanos).unwrap();
    assert_within("blocked", recording.total("off_cpu", |_| true), duration, 0.01);
}

#[test]
fn a_block_that_begins_in_the_recording_and_does_not_end_is_counted() {
    let _host = host::claim();
    let hanger = workload::HANGER.build().unwrap();
    // It hangs just after it said that it is ready, and `sleep` begins just after that was read. It has
    // none of our pipes, for whose end we wait.
    let script = format!("{{ {} 2>/dev/null & }} | {{ read ready; sleep 3; }}", hanger.display());
    let recording = agent::record(&["--event", "off-cpu", "--", "sh", "-c", &script]).unwrap();
    let hung = |stack: &Stack| stack.has("hang_site");
    let pid = recording.stacks.iter().find(|stack| hung(stack)).unwrap().label("pid");
    kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL).unwrap();
    let blocked = recording.total("off_cpu", hung);
    let longest = u64::try_from(recording.profile.duration_nanos).unwrap();
    assert!((2_900_000_000..=longest).contains(&blocked), "{blocked} ns of {longest}");
}

#[test]
fn threads_whose_slot_is_anothers_have_their_time() {
    let _host = host::claim();
    let (crowd, blocker) = (workload::CROWD.build().unwrap(), workload::BLOCKER.build().unwrap());
    // So many threads in a row have every one of the 16,384 slots before the blocker's begin.
    let (crowd, blocker) = (crowd.display(), blocker.display());
    let script = format!("{crowd} 0 17000 5 | {{ read ready; {blocker} 4; }}");
    let recording = agent::record(&["--event", "off-cpu", "--", "sh", "-c", &script]).unwrap();
    let truth: BlockerTruth = truth(&recording.run.stdout).unwrap();
    for (site, blocked) in &truth.blocked {
        assert_within(site, recording.total("off_cpu", |stack| stack.has(site)), *blocked, 0.01);
    }
}

#[test]
fn classic_tracepoints_measure_the_same() {
    let _host = host::claim();
    let _tracefs = host::tracefs();
    let blocker = workload::BLOCKER.build().unwrap();
    let recording = agent::record(&[
        "--event",
        "off-cpu",
        "--without",
        "btf-tracepoints",
        "--",
        blocker.to_str().unwrap(),
        "3",
    ])
    .unwrap();
    let truth: BlockerTruth = truth(&recording.run.stdout).unwrap();
    for (site, blocked) in &truth.blocked {
        assert_within(site, recording.total("off_cpu", |stack| stack.has(site)), *blocked, 0.01);
    }
}

#[test]
fn blocks_whose_stacks_find_no_room_leave_their_time_to_the_thread() {
    let _host = host::claim();
    // Of its two threads, which share a CPU, one is always off it.
    let switcher = Program::start(&workload::SWITCHER, &["8", "pipe"]).unwrap();
    let pid = switcher.pid().to_string();
    let flags = ["--event", "off-cpu", "--max-blocks", "1000000", "--min-block", "0ns"];
    let flags = [&flags[..], &["--pid", &pid, "--log-level", "debug"]].concat();
    let agent = agent::Running::start(&flags).unwrap();
    wait::until("the programs to be attached", Duration::from_secs(20), || {
        Ok(agent.log()?.contains("attaching").then_some(()))
    })
    .unwrap();
    // While it is stopped it reads nothing, and the ring is full in a fraction of that. Each time there is a
    // moment when a stack finds no room any more and the shorter record of its end does.
    for _ in 0..6 {
        agent.signal(Signal::SIGSTOP).unwrap();
        std::thread::sleep(Duration::from_millis(700));
        agent.signal(Signal::SIGCONT).unwrap();
        std::thread::sleep(Duration::from_millis(200));
    }
    let recording = agent.interrupt().unwrap();

    assert!(recording.count("blocks_lost_ring_full") > 1_000, "{}", recording.run.stderr);
    assert_eq!(recording.count("blocks_lost_without_begin"), 0, "{}", recording.run.stderr);
    let blocked = recording.total("off_cpu", |_| true) as f64 / 1e9;
    let seconds = recording.seconds();
    assert!(seconds > 4.0 && blocked > 0.97 * seconds, "{blocked} s of {seconds} s");
}

#[test]
fn a_rate_limit_keeps_the_totals() {
    let _host = host::claim();
    let switcher = Program::start(&workload::SWITCHER, &["8"]).unwrap();
    let pid = switcher.pid().to_string();
    let recording = agent::record(&[
        "--event",
        "wall",
        "--pid",
        &pid,
        "--duration",
        "4s",
        "--max-blocks",
        "1000",
        "--frequency",
        "999",
    ])
    .unwrap();
    let skipped = recording.count("blocks_skipped_rate_limit");
    assert!(skipped > 1000, "the limit was not reached: {:?}", recording.counts());
    // Two threads on one CPU: off and on CPU they make up two times the duration.
    let duration = u64::try_from(recording.profile.duration_nanos).unwrap();
    let short_ns = recording.count("blocks_shorter_than_minimum_ns");
    let total = recording.total("off_cpu", |_| true) + recording.total("cpu", |_| true) + short_ns;
    assert_within("time of two threads", total, 2 * duration, 0.02);
}
