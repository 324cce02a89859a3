//! A budget that is too small: the agent gives way step by step, what it says stays true, and with more of
//! a budget it is as configured again.

use std::time::Duration;

use nix::sys::signal::Signal;
use profiler_proto::pprof::Profile;
use profiler_tests::daemon::{Daemon, Room};
use profiler_tests::program::{BlockerTruth, Program, SpinnerTruth};
use profiler_tests::stacks::{self, Stack};
use profiler_tests::{wait, workload};

use super::windows::{now_ns, wait_for_one_after};
use crate::host::{self, assert_within};

const LIMIT: Duration = Duration::from_secs(60);

/// 10 steps, several at a time, each judged some seconds after the one before.
const TO_THE_LEAST: Duration = Duration::from_secs(120);

/// So long the programs work whose truth is known.
const SECONDS: &str = "40";

/// Threads of the blocker, and where each of them blocks.
const THREADS: &[(&str, &str)] = &[
    ("sleeper", "sleep_site"),
    ("waiter", "lock_site"),
    ("holder", "holder_site"),
    ("reader", "pipe_site"),
    ("writer", "writer_site"),
];

fn wait_for_frequency(agent: &Daemon, hertz: f64, limit: Duration) {
    let metric = "profiler_agent_frequency_hertz";
    let reached = wait::until(&format!("{hertz} Hz"), limit, || {
        Ok((agent.metric(metric)? == Some(hertz)).then_some(()))
    });
    reached.unwrap_or_else(|error| panic!("{error}: {:?}", agent.metric(metric)));
}

fn sum(windows: &[Profile], kind: &str, wanted: impl Fn(&Stack) -> bool) -> u64 {
    let stacks = windows.iter().flat_map(stacks::of);
    stacks.filter(|stack| wanted(stack)).map(|stack| stack.value(kind)).sum()
}

#[test]
fn it_gives_way_tells_the_truth_all_the_same_and_comes_back() {
    let _host = host::claim();
    let room = Room::new().unwrap();
    // The least that can be said, and no agent can do with so little.
    room.configure("[budget]\ncpu = \"0.01%\"\n").unwrap();
    let _busy = Program::start(&workload::SATURATE, &[] as &[&str]).unwrap();
    let mut agent = room.start(&["--log-level", "info"]).unwrap();
    wait_for_frequency(&agent, 19.0, TO_THE_LEAST);

    // Short blocks lose their own records and fewer keep their stack; only then there are fewer samples.
    let log = room.log();
    let first = log.find("no block of less than").unwrap_or_else(|| panic!("{log}"));
    assert!(log.find("19 samples").is_some_and(|last| last > first), "{log}");

    let spinner = Program::start(&workload::SPINNER, &[SECONDS]).unwrap();
    let blocker = Program::start(&workload::BLOCKER, &[SECONDS]).unwrap();
    let (spun, blocked): (SpinnerTruth, BlockerTruth) =
        (spinner.truth().unwrap(), blocker.truth().unwrap());
    let windows = wait_for_one_after(&room, now_ns(), LIMIT).unwrap();
    assert_within(
        "time on the CPU",
        sum(&windows, "cpu", |s| s.has("spin_site")),
        spun.cpu_ns,
        0.1,
    );
    // Of a thread's blocks few keep their stack, in some windows none, but its time is whole: it is at least
    // what the thread was blocked, and no more than it lived.
    for (thread, site) in THREADS {
        let found = sum(&windows, "off_cpu", |stack| stack.label("thread") == *thread) as f64;
        let (least, most) = (blocked.blocked[*site] as f64, blocked.lived[*thread] as f64);
        println!("{thread}: {found} ns of {least} to {most}");
        assert!((0.95 * least..=1.05 * most).contains(&found), "{thread}");
    }
    let last = windows.last().unwrap();
    let comments = last.comment.iter().map(|index| &last.string_table[*index as usize]);
    assert!(comments.into_iter().any(|text| text == "frequency: 19 Hz"));

    room.configure("[budget]\ncpu = \"100%\"\n").unwrap();
    agent.signal(Signal::SIGHUP).unwrap();
    wait_for_frequency(&agent, 99.0, LIMIT);
    let windows = wait_for_one_after(&room, now_ns(), LIMIT).unwrap();
    // A window is two seconds long, and no CPU is idle.
    let samples = sum(&windows[windows.len() - 1..], "samples", |_| true);
    assert_within("samples of every CPU", samples, 2 * 99 * host::cpus(), 0.15);
    assert!(agent.terminate(LIMIT).unwrap().success(), "{}", room.log());
}
