//! SIGTERM under load: the last window is kept and shipped, and nothing is left in the kernel.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use profiler_tests::daemon::Room;
use profiler_tests::program::Program;
use profiler_tests::{wait, workload};

use super::windows::{assert_nothing_is_lost_silently, end_of, now_ns, samples_of, wait_for};
use crate::{host, leftovers};

const NONE: &[&str] = &[];

/// So long sinks have when the agent ends.
const GRACE: Duration = Duration::from_secs(5);

/// So long the whole end may take, and a process of its size on a busy machine until it is gone.
const ENDING: Duration = Duration::from_secs(10 + 2);

/// A backend that takes connections and never answers, as a sink of the agent's.
fn silent_sink(room: &Room) -> TcpListener {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    room.configure(&format!("[sinks.silent]\ntype = \"parca\"\nurl = \"{url}\"\n")).unwrap();
    silent
}

#[test]
fn sigterm_under_load_loses_nothing_and_leaves_nothing() {
    let _host = host::claim();
    let room = Room::in_memory().unwrap();
    let _silent = silent_sink(&room);
    let _load = Program::start(&workload::SATURATE, NONE).unwrap();
    let _switches = Program::start(&workload::SWITCHER, &["60"]).unwrap();
    let mut agent = room.start(NONE).unwrap();
    wait_for(&room, 2, Duration::from_secs(30)).unwrap();
    let held = leftovers::held_by(agent.pid()).unwrap();
    assert!(!held.is_empty());

    let told = now_ns();
    let began = Instant::now();
    let status = agent.terminate(Duration::from_secs(30)).unwrap();
    let took = began.elapsed();
    println!("ended after {took:?}");
    assert!(status.success(), "{status}\n{}", room.log());
    assert!(took >= GRACE, "the sink that does not answer had {took:?}");
    assert!(took <= ENDING, "the end took {took:?}\n{}", room.log());

    let windows = room.windows().unwrap();
    let last = windows.last().unwrap();
    let missing = told - end_of(last);
    println!("{} windows, the last ended {missing} ns before the signal", windows.len());
    assert!(missing <= 0, "the time until the signal is missing\n{}", room.log());
    assert_nothing_is_lost_silently(&windows);
    assert!(windows.iter().skip(1).any(|window| samples_of(window, "saturate") > 0));

    for (word, id) in held {
        wait::until(&format!("{word} {id} to go"), Duration::from_secs(10), || {
            Ok((!leftovers::exists(word, id)).then_some(()))
        })
        .unwrap();
    }
    assert!(!room.path("agent.sock").exists(), "the socket is left");
}

/// A second signal ends it at once, whatever it waits for.
#[test]
fn a_second_signal_does_not_wait() {
    let _host = host::claim();
    let room = Room::in_memory().unwrap();
    let _silent = silent_sink(&room);
    let mut agent = room.start(NONE).unwrap();
    wait_for(&room, 1, Duration::from_secs(30)).unwrap();
    agent.signal(Signal::SIGTERM).unwrap();
    wait::until("the end to begin", Duration::from_secs(10), || {
        agent.signal(Signal::SIGTERM).ok();
        Ok(agent.wait(Duration::ZERO).ok())
    })
    .unwrap();
}
