//! The calendar is set while the agent runs, and the host sleeps.
//!
//! The calendar is that of the agent alone: a library that is preloaded stands between it and the kernel,
//! since everything else on the host lives by the same clock. A host that sleeps cannot be had in a test
//! either; what its processes see of it is that all of them stood still and that the calendar went on. (What
//! differs: here CLOCK_MONOTONIC goes on too, for as long as the agent is stopped.)

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use profiler_proto::pprof::Profile;
use profiler_tests::daemon::{Daemon, Room};
use profiler_tests::program::Program;
use profiler_tests::{wait, workload};

use super::windows::{now_ns, samples_of, wait_for};
use crate::host;

const HOUR: Duration = Duration::from_secs(3600);
const LIMIT: Duration = Duration::from_secs(60);

/// So much later or earlier than meant a window may begin and still be of that time.
const ABOUT_NS: i64 = 600_000_000_000;

/// An agent whose calendar can be set.
struct Calendar {
    room: Room,
    file: File,
}

impl Calendar {
    fn new() -> Self {
        let room = Room::new().unwrap();
        let path = Self::path(&room);
        let file = File::create(path).unwrap();
        let calendar = Self { room, file };
        calendar.set(0);
        calendar
    }

    fn path(room: &Room) -> PathBuf {
        room.path("calendar")
    }

    fn start(&self) -> Daemon {
        let library = workload::CALENDAR.build().unwrap();
        let mut command = self.room.command(&["--log-level", "info"]).unwrap();
        command.env("LD_PRELOAD", library).env("CALENDAR", Self::path(&self.room));
        self.room.started(&mut command).unwrap()
    }

    /// How much later it is for the agent than for others, ns.
    fn set(&self, offset_ns: i64) {
        self.file.write_all_at(&offset_ns.to_ne_bytes(), 0).unwrap();
    }

    /// Sets it, and waits for a window that begins by it; how long that took.
    fn jump(&self, offset_ns: i64) -> Duration {
        let set = Instant::now();
        self.set(offset_ns);
        let waited = wait::until("a window by the new time", LIMIT, || {
            let windows = self.room.windows().unwrap_or_default();
            let off = |window: &Profile| (window.time_nanos - offset_ns - now_ns()).abs();
            Ok(windows.iter().any(|window| off(window) < ABOUT_NS).then_some(()))
        });
        waited.unwrap_or_else(|error| panic!("{error}\n{}", self.room.log()));
        set.elapsed()
    }
}

fn hours(hours: i64) -> i64 {
    hours * HOUR.as_nanos() as i64
}

/// Windows keep their length, whatever the calendar says, no two begin alike, and no time is missing.
fn assert_whole(windows: &[Profile], ran: Duration) {
    let mut starts: Vec<_> = windows.iter().map(|window| window.time_nanos).collect();
    starts.dedup();
    assert_eq!(starts.len(), windows.len(), "two begin alike");
    let lengths: Vec<_> = windows.iter().map(|window| window.duration_nanos / 1_000_000).collect();
    let regular = lengths.iter().filter(|ms| (900..=3100).contains(*ms)).count();
    // The last ends when the agent does.
    assert!(regular + 1 >= lengths.len(), "{lengths:?} ms");
    let sum: i64 = lengths.iter().sum();
    println!("{} windows, {sum} ms of {ran:?}", windows.len());
    assert!(sum >= ran.as_millis() as i64, "{sum} ms of {ran:?}: {lengths:?}");
}

#[test]
fn the_calendar_is_set_forward_and_back() {
    let _host = host::claim();
    let calendar = Calendar::new();
    let mut agent = calendar.start();
    let ready = Instant::now();
    wait_for(&calendar.room, 1, LIMIT).unwrap();
    println!("a window by the new time: {:?} after it was set forward", calendar.jump(hours(1)));
    println!("… and {:?} after it was set back", calendar.jump(hours(-2)));
    let ran = ready.elapsed();
    assert!(agent.terminate(LIMIT).unwrap().success(), "{}", calendar.room.log());
    assert_whole(&calendar.room.windows().unwrap(), ran);
    let log = calendar.room.log();
    for way in ["forward", "back"] {
        assert!(log.contains(&format!("the clock of the host went {way}")), "{log}");
    }
}

#[test]
fn the_host_sleeps() {
    let _host = host::claim();
    let calendar = Calendar::new();
    let load = Program::start(&workload::SPINNER, &["120"]).unwrap();
    let mut agent = calendar.start();
    wait_for(&calendar.room, 1, LIMIT).unwrap();
    for signal in [Signal::SIGSTOP, Signal::SIGCONT] {
        let pid = nix::unistd::Pid::from_raw(load.pid().cast_signed());
        agent.signal(signal).unwrap();
        nix::sys::signal::kill(pid, signal).unwrap();
        if signal == Signal::SIGSTOP {
            calendar.set(hours(8));
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    println!("a window by the new time: {:?} after the host woke", calendar.jump(hours(8)));
    assert!(agent.terminate(LIMIT).unwrap().success(), "{}", calendar.room.log());
    let windows = calendar.room.windows().unwrap();
    assert_whole(&windows, Duration::ZERO);
    assert!(samples_of(windows.last().unwrap(), "spinner") > 0, "{}", calendar.room.log());
}
