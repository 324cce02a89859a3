//! SIGKILL at random moments: each start finds the store as it was, and no more than the window in
//! progress is lost.

use std::time::{Duration, Instant};

use profiler_proto::pprof::Profile;
use profiler_tests::daemon::Room;
use profiler_tests::program::Program;
use profiler_tests::{wait, workload};

use super::windows::{end_of, gaps, now_ns, wait_for};
use crate::host;

/// Names the number of kills; CI has time for a few.
const KILLS: &str = "PROFILER_TEST_KILLS";

/// The longest life of an agent here: three windows of two seconds end in it.
const LONGEST: Duration = Duration::from_secs(8);

/// How long a window is, ns. It ends where a multiple of that does in Unix time; the first of a life is longer
/// than a half.
const WINDOW_NS: i64 = 2_000_000_000;

/// So long after its end a window is on the disk: it waits half a second for names at most, and then it is
/// encoded and written, on a machine with a load of 20. It is as long as a window, so that no two are lost.
const SAFE_NS: i64 = WINDOW_NS;

const NONE: &[&str] = &[];

/// One life of an agent: when it was attached, if it came to that, and killed (Unix time, ns).
struct Life {
    attached: Option<i64>,
    killed: i64,
}

impl Life {
    /// Runs the agent for so long, and kills it. `before` others lived in this room.
    fn live(room: &Room, length: Duration, before: usize) -> Self {
        let mut child = room.command(&["--log-level", "info"]).unwrap().spawn().unwrap();
        let end = Instant::now() + length;
        let mut attached = None;
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
            if attached.is_none() && room.log().matches("profiles this host").count() > before {
                attached = Some(now_ns());
            }
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself\n{}", room.log());
        let killed = now_ns();
        child.kill().unwrap();
        child.wait().unwrap();
        Self { attached, killed }
    }

    /// What is missing at its end.
    fn lost(&self, windows: &[Profile]) -> Lost {
        let Some(attached) = self.attached else { return Lost::default() };
        let ends = windows.iter().map(end_of).filter(|end| *end <= self.killed);
        let kept = ends.max().unwrap_or(0);
        let since = kept.max(attached);
        // The first end of a window that is not there. Ends are a little off, as clocks are.
        let begun = if kept < attached { attached + WINDOW_NS / 2 } else { kept + WINDOW_NS / 4 };
        let end = (begun / WINDOW_NS + 1) * WINDOW_NS;
        Lost { ns: self.killed - since, ended_ns: (end < self.killed).then(|| self.killed - end) }
    }
}

/// What a kill cost.
#[derive(Clone, Copy, Debug, Default)]
struct Lost {
    /// Time that no window has, ns.
    ns: i64,
    /// Where a window that had ended is among it: how long before the kill it had, ns.
    ended_ns: Option<i64>,
}

#[test]
fn of_each_sigkill_at_most_the_window_in_progress_is_lost() {
    let _host = host::claim();
    let kills: usize = std::env::var(KILLS).ok().and_then(|text| text.parse().ok()).unwrap_or(8);
    let room = Room::in_memory().unwrap();
    let _load = Program::start(&workload::SPINNER, &["3000"]).unwrap();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::from(std::process::id());
    let mut lives: Vec<Life> = Vec::new();
    for _ in 0..kills {
        // Xorshift: what matters is that the moments differ.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let length = Duration::from_millis(seed % LONGEST.as_millis() as u64);
        let before = lives.iter().filter(|life| life.attached.is_some()).count();
        lives.push(Life::live(&room, length, before));
    }

    // The last start has all windows that any sink ever had, and ships what is left.
    let kept = room.windows().unwrap_or_default().len();
    let mut agent = room.start(&["--log-level", "info"]).unwrap();
    let found = opened_with(&room.log());
    println!("{found} windows in the store, {kept} were shipped");
    assert!(found >= kept, "{kept} were shipped, {found} are in the store\n{}", room.log());
    wait_for(&room, found, Duration::from_secs(60)).unwrap();
    agent.terminate(Duration::from_secs(30)).unwrap();
    let windows = room.windows().unwrap();
    tell(&lives.iter().map(|life| life.lost(&windows)).collect::<Vec<_>>());
    gaps(&windows);
    let broken = std::fs::read_dir(room.path("store")).unwrap().flatten();
    let broken: Vec<_> =
        broken.filter(|entry| entry.file_name().to_string_lossy().ends_with(".broken")).collect();
    assert!(broken.is_empty(), "{broken:?}");
}

/// Says what kills cost, and fails where a window was not safe when it should have been.
#[track_caller]
fn tell(lost: &[Lost]) {
    let mut ms: Vec<i64> = lost.iter().map(|lost| lost.ns / 1_000_000).collect();
    ms.sort_unstable();
    let mut ended: Vec<i64> = lost.iter().filter_map(|lost| lost.ended_ns).collect();
    ended.sort_unstable();
    let ended: Vec<i64> = ended.iter().map(|ns| ns / 1_000_000).collect();
    println!("{} kills; lost, in ms: {ms:?}", lost.len());
    println!("{} times with a window that had ended so many ms before: {ended:?}", ended.len());
    let worst = ended.last().copied().unwrap_or_default();
    assert!(worst <= SAFE_NS / 1_000_000, "{worst} ms after its end, a window was not safe");
}

/// How many windows the last start found.
fn opened_with(log: &str) -> usize {
    let line = log.lines().rev().find(|line| line.contains("flight recorder is open")).unwrap();
    let number = line.split(' ').find_map(|word| word.strip_prefix("windows="));
    number.unwrap_or_else(|| panic!("no number of windows in {line}")).parse().unwrap()
}

/// A torn write: the newest segment loses its tail, as after a power cut.
#[test]
fn a_torn_store_opens_and_goes_on() {
    let _host = host::claim();
    let room = Room::new().unwrap();
    let mut agent = room.start(NONE).unwrap();
    wait_for(&room, 3, Duration::from_secs(30)).unwrap();
    agent.signal(nix::sys::signal::Signal::SIGKILL).unwrap();
    agent.wait(Duration::from_secs(10)).unwrap();
    let segments = std::fs::read_dir(room.path("store")).unwrap().flatten().map(|e| e.path());
    let segment =
        segments.filter(|path| path.extension().is_some_and(|e| e == "redb")).max().unwrap();
    let file = std::fs::File::options().write(true).open(&segment).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length - length / 3).unwrap();

    let before = room.windows().unwrap().len();
    let agent = room.start(&["--log-level", "info"]).unwrap();
    wait_for(&room, before + 2, Duration::from_secs(30)).unwrap();
    drop(agent);
    wait::until("the torn file to be set aside, or repaired", Duration::from_secs(5), || {
        let names = std::fs::read_dir(room.path("store"))?.flatten().map(|e| e.file_name());
        let names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        println!("{names:?}");
        Ok((!names.is_empty()).then_some(()))
    })
    .unwrap();
}
