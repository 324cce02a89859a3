//! The disk full: windows wait in memory, sinks have them all the same, and they are written when that
//! works again. The disk without an answer, and the slow one: windows wait before it.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use profiler_tests::daemon::Room;
use profiler_tests::{agent, wait, workload};

use super::windows::{assert_nothing_is_lost_silently, gaps, now_ns, wait_for, wait_for_one_after};
use crate::host;

/// How long the disk does not answer: four windows.
const STALL: Duration = Duration::from_secs(8);

/// A small file system in memory, gone with this value.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn mount(at: &'a Path) -> Self {
        fs::create_dir_all(at).unwrap();
        run("mount", &["-t", "tmpfs", "-o", "size=24m", "tmpfs"], at);
        Self(at)
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        // Whoever still has a file of it open keeps it alive, but nobody finds it any more.
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[track_caller]
fn run(program: &str, args: &[&str], at: &Path) {
    let done = agent::finish(Command::new(program).args(args).arg(at)).unwrap();
    assert!(done.status.success(), "{program}: {}", done.stderr);
}

/// Runs through a fault of the store's file system: it begins, it ends, and all windows are there.
fn fault(begin: impl FnOnce(&Path), end: impl FnOnce(&Path)) {
    let _host = host::claim();
    let room = Room::new().unwrap();
    let store = room.path("store");
    let _small = Small::mount(&store);
    let mut agent = room.start(&["--set", "store.size=16 MiB", "--log-level", "info"]).unwrap();
    let before = wait_for(&room, 2, Duration::from_secs(30)).unwrap().len();

    begin(&store);
    // Sinks have windows although the disk has none of them.
    wait_for(&room, before + 4, Duration::from_secs(60)).unwrap();
    assert!(room.log().contains("windows wait in memory"), "{}", room.log());
    end(&store);
    let ended = Instant::now();
    let again = wait::until("windows to be on disk again", Duration::from_secs(30), || {
        Ok(room.log().contains("windows are on disk again").then_some(()))
    });
    again.unwrap_or_else(|error| panic!("{error}\n{}", room.log()));
    println!("on disk again {:?} after the fault", ended.elapsed());
    let shipped = wait_for(&room, before + 6, Duration::from_secs(60)).unwrap().len();
    assert!(agent.terminate(Duration::from_secs(30)).unwrap().success(), "{}", room.log());
    println!("{:?} after the fault all was shipped and stored", ended.elapsed());
    assert_nothing_is_lost_silently(&room.windows().unwrap());

    assert_stored(&room, shipped);
}

/// So many windows are in the store: the next start finds them.
fn assert_stored(room: &Room, shipped: usize) {
    let mut agent = room.start(&["--set", "store.size=16 MiB", "--log-level", "info"]).unwrap();
    let log = room.log();
    let line = log.lines().rev().find(|line| line.contains("flight recorder is open")).unwrap();
    let found = line.split(' ').find_map(|word| word.strip_prefix("windows=")).unwrap();
    let found: usize = found.parse().unwrap();
    assert!(found >= shipped, "{shipped} were shipped, {found} are in the store\n{log}");
    agent.terminate(Duration::from_secs(30)).unwrap();
}

#[test]
fn a_full_disk_loses_nothing() {
    let filler = |store: &Path| store.join("filler");
    fault(
        |store| {
            // Until nothing more fits.
            let mut file = fs::File::create(filler(store)).unwrap();
            let block = vec![7; 1 << 16];
            while std::io::Write::write_all(&mut file, &block).is_ok() {}
        },
        |store| fs::remove_file(filler(store)).unwrap(),
    );
}

/// A file system of its own on a file, gone with this value.
struct Image<'a>(&'a Path);

impl<'a> Image<'a> {
    fn mount(image: &Path, at: &'a Path) -> Self {
        fs::create_dir_all(at).unwrap();
        fs::File::create(image).unwrap().set_len(64 << 20).unwrap();
        run("mkfs.ext4", &["-q", "-F"], image);
        run("mount", &["-o", "loop", image.to_str().unwrap()], at);
        Self(at)
    }
}

impl Drop for Image<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

/// A file system that does not answer: whoever writes waits until this value is gone, also for his death.
struct Frozen<'a>(&'a Path);

impl<'a> Frozen<'a> {
    fn new(at: &'a Path) -> Self {
        run("fsfreeze", &["--freeze"], at);
        Self(at)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").arg("--unfreeze").arg(self.0).status();
    }
}

/// The worst of slow disks: nothing is written, and nothing fails either.
#[test]
fn a_disk_that_does_not_answer_loses_nothing() {
    let _host = host::claim();
    let room = Room::new().unwrap();
    let disk = room.path("disk");
    let _image = Image::mount(&room.path("image"), &disk);
    let path = format!("store.path={}", disk.join("store").display());
    let flags = ["--set", &path, "--set", "store.size=16 MiB", "--log-level", "info"];
    let mut agent = room.start(&flags).unwrap();
    let before = wait_for(&room, 2, Duration::from_secs(30)).unwrap().len();

    let frozen = Frozen::new(&disk);
    std::thread::sleep(STALL);
    // Whoever asks how it is does not wait for the disk.
    for path in ["/healthz", "/metrics"] {
        let asked = Instant::now();
        assert_eq!(agent.get(path).unwrap().status, 200);
        assert!(asked.elapsed() < Duration::from_secs(2), "{path}: {:?}", asked.elapsed());
    }
    drop(frozen);
    let ended = (Instant::now(), now_ns());
    let windows = wait_for_one_after(&room, ended.1, Duration::from_secs(60)).unwrap();
    println!("{} windows, the next one {:?} after the fault", windows.len(), ended.0.elapsed());
    assert!(windows.len() >= before + 3);
    assert!(agent.terminate(Duration::from_secs(30)).unwrap().success(), "{}", room.log());
    assert_nothing_is_lost_silently(&room.windows().unwrap());
}

/// The flushes of one agent take longer, the file says how much: see the library.
struct SlowDisk(fs::File);

impl SlowDisk {
    fn set(&self, delay: Duration) {
        self.0.write_all_at(&(delay.as_nanos() as u64).to_ne_bytes(), 0).unwrap();
    }

    /// Flushes that were made to wait.
    fn flushes(&self) -> u64 {
        let mut count = [0; 8];
        self.0.read_exact_at(&mut count, 8).unwrap();
        u64::from_ne_bytes(count)
    }
}

/// Each flush takes longer than a window is long, and all of them come to an end.
#[test]
fn a_slow_disk_loses_nothing() {
    let _host = host::claim();
    let room = Room::new().unwrap();
    let path = room.path("slow");
    fs::write(&path, [0; 16]).unwrap();
    let disk = SlowDisk(fs::File::options().read(true).write(true).open(&path).unwrap());
    let mut command = room.command(&["--log-level", "info"]).unwrap();
    command.env("LD_PRELOAD", workload::SLOW_DISK.build().unwrap()).env("SLOW_DISK", &path);
    let mut agent = room.started(&mut command).unwrap();
    let before = wait_for(&room, 2, Duration::from_secs(30)).unwrap().len();

    disk.set(Duration::from_secs(3));
    wait_for(&room, before + 5, Duration::from_secs(120)).unwrap();
    for path in ["/healthz", "/metrics"] {
        let asked = Instant::now();
        assert_eq!(agent.get(path).unwrap().status, 200);
        assert!(asked.elapsed() < Duration::from_secs(2), "{path}: {:?}", asked.elapsed());
    }
    assert!(disk.flushes() >= 3, "the disk was slow {} times", disk.flushes());
    disk.set(Duration::ZERO);
    let ended = (Instant::now(), now_ns());
    let windows = wait_for_one_after(&room, ended.1, Duration::from_secs(60)).unwrap();
    println!("{} windows, the next one {:?} after the fault", windows.len(), ended.0.elapsed());
    assert!(agent.terminate(Duration::from_secs(30)).unwrap().success(), "{}", room.log());
    let windows = room.windows().unwrap();
    assert_eq!(gaps(&windows), [0; 0], "windows are lost");
    assert_stored(&room, windows.len());
}
