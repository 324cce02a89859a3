//! SIGKILL at random moments: each start finds the store as it was, and no more than the window in
//! progress is lost.

use std::time::{Duration, Instant};

use profiler_tests::daemon::Room;
use profiler_tests::program::Program;
use profiler_tests::{wait, workload};

use super::windows::{end_of, gaps, now_ns, wait_for};
use crate::host;

/// Names the number of kills; CI has time for a few.
const KILLS: &str = "PROFILER_TEST_KILLS";

/// The longest life of an agent here: it starts within one, and two windows of a second end in it.
const LONGEST: Duration = Duration::from_millis(3500);

/// From a window's end until it is on the disk, on a machine with a load of 10.
const HANDED_OVER: Duration = Duration::from_secs(3);

const NONE: &[&str] = &[];

#[test]
fn of_each_sigkill_at_most_the_window_in_progress_is_lost() {
    let _host = host::claim();
    let kills: u32 = std::env::var(KILLS).ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let room = Room::new().unwrap();
    let _load = Program::start(&workload::SATURATE, NONE).unwrap();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::from(std::process::id());
    let (mut worst, mut lives) = (0, 0);
    for kill in 0..kills {
        let mut child = room.command(&["--log-level", "info"]).unwrap().spawn().unwrap();
        // Xorshift: what matters is that the moments differ.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let life = Duration::from_millis(seed % LONGEST.as_millis() as u64);
        let end = Instant::now() + life;
        // The moment is what is tested, not what happens until then.
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
        assert!(child.try_wait().unwrap().is_none(), "kill {kill}: it ended\n{}", room.log());
        let kept = room.windows().unwrap_or_default().len();
        let (killed, attached) = (now_ns(), has_said(&room, "profiles this host", kill + 1));
        child.kill().unwrap();
        child.wait().unwrap();

        let windows = room.windows().unwrap_or_default();
        if let (true, Some(last)) = (attached, windows.last()) {
            let lost = killed - end_of(last);
            // A life that was too short for a window lost only itself.
            if lost < life.as_nanos() as i64 {
                (worst, lives) = (worst.max(lost), lives + 1);
            }
        }
        assert!(windows.len() >= kept);
    }
    println!("{kills} kills, {lives} with windows: at most {} ms lost", worst / 1_000_000);
    let most = Duration::from_secs(1) + HANDED_OVER;
    assert!(worst <= most.as_nanos() as i64, "{worst} ns are more than the window in progress");

    // The last start has all windows that any sink ever had, and ships what is left.
    let kept = room.windows().unwrap_or_default().len();
    let mut agent = room.start(&["--log-level", "info"]).unwrap();
    let found = opened_with(&room.log());
    println!("{found} windows in the store, {kept} were shipped");
    assert!(found >= kept, "{kept} were shipped, {found} are in the store\n{}", room.log());
    wait_for(&room, found, Duration::from_secs(60)).unwrap();
    agent.terminate(Duration::from_secs(30)).unwrap();
    let windows = room.windows().unwrap();
    // Between two lives there is a gap, within one there is none.
    let gaps = gaps(&windows).len();
    assert!(gaps <= kills as usize, "{gaps} gaps of {kills} kills");
    let broken = std::fs::read_dir(room.path("store")).unwrap().flatten();
    let broken: Vec<_> =
        broken.filter(|entry| entry.file_name().to_string_lossy().ends_with(".broken")).collect();
    assert!(broken.is_empty(), "{broken:?}");
}

/// Whether a line with these words was said so many times.
fn has_said(room: &Room, words: &str, times: u32) -> bool {
    room.log().matches(words).count() >= times as usize
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
