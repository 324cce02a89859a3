//! What disks and people do to a store.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};

use super::*;
use crate::store::segment::Segment;

/// A store with windows in three segments, closed.
fn three_segments(config: &Config) -> Vec<PathBuf> {
    let store = open(config);
    for number in 0..20 {
        store.put(&window(number, 150_000));
    }
    drop(store);
    let numbers = disk::segments_in(&config.path, false).unwrap();
    assert_eq!(numbers.len(), 3);
    numbers.iter().map(|number| config.path.join(files::segment_name(*number))).collect()
}

fn names_in(path: &Path, part: &str) -> usize {
    let entries = fs::read_dir(path).unwrap();
    entries.filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains(part)).count()
}

#[test]
fn one_process_writes_and_the_next_is_told_who() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), &[]);
    let store = open(&config);
    let error = Store::open(&config).unwrap_err().to_string();
    assert!(error.contains(&format!("process {} (", std::process::id())), "{error}");
    drop(store);
    open(&config);
}

#[test]
fn only_a_directory_of_its_own_will_do() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path(), &[]);
    let refused = |config: &Config| Store::open(config).unwrap_err().to_string();
    fs::create_dir(directory.path().join("real")).unwrap();
    symlink(directory.path().join("real"), &config.path).unwrap();
    assert!(refused(&config).contains("symbolic link"));
    config.path = directory.path().join("real");
    fs::write(config.path.join("thesis.tex"), "").unwrap();
    assert!(refused(&config).contains("thesis.tex"));
    config.path = config.path.join("thesis.tex");
    assert!(refused(&config).contains("not a directory"));
    config.max_bytes = 1000;
    assert!(refused(&config).contains("store.size"));
}

#[test]
fn nobody_else_may_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), &["a"]);
    fs::create_dir(&config.path).unwrap();
    fs::set_permissions(&config.path, Permissions::from_mode(0o755)).unwrap();
    let store = open(&config);
    store.put(&window(0, 10));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&config.path), 0o700);
    for entry in fs::read_dir(&config.path).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

#[test]
fn a_link_in_the_place_of_a_file_is_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), &[]);
    let segments = three_segments(&config);
    let target = directory.path().join("target");
    fs::rename(&segments[0], &target).unwrap();
    symlink(&target, &segments[0]).unwrap();
    let (_, opening) = Store::open(&config).unwrap();
    assert!(opening.degraded.is_some(), "{opening:?}");
}

#[test]
fn a_torn_end_costs_the_window_in_progress_at_most() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), &[]);
    let store = open(&config);
    let first: Vec<_> = (0..4).map(|n| store.put(&window(n, 100_000))).collect();
    // As a power cut leaves it: the next commit is half there. The writer never closes the file.
    let segment = config.path.join(files::segment_name(first[0]));
    let before = fs::read(&segment).unwrap();
    store.put(&window(4, 100_000));
    let mut torn = fs::read(&segment).unwrap();
    std::mem::forget(store);
    let differ =
        |n: &usize| before.get(n * 4096..(n + 1) * 4096) != torn.get(n * 4096..(n + 1) * 4096);
    let changed: Vec<usize> = (1..torn.len() / 4096).filter(differ).collect();
    assert!(changed.len() > 20);
    // The header with the new root is there, every second new page is not.
    for page in changed.iter().step_by(2) {
        let old = before.get(page * 4096..(page + 1) * 4096).unwrap_or(&[0xa5; 4096]).to_vec();
        torn[page * 4096..(page + 1) * 4096].copy_from_slice(&old);
    }
    let other = super::config(&directory.path().join("other"), &[]);
    fs::create_dir_all(&other.path).unwrap();
    fs::write(other.path.join(segment.file_name().unwrap()), torn).unwrap();
    let store = open(&other);
    assert_eq!(ids(&store.infos(Range::ALL)), first);
    for (number, id) in (0..).zip(first) {
        assert_eq!(store.window(id).unwrap(), Some(window(number, 100_000)));
    }
    let id = store.put(&window(9, 1000));
    assert_eq!(store.window(id).unwrap(), Some(window(9, 1000)));
}

#[test]
fn a_segment_that_is_cut_or_garbled_never_stops_the_agent() {
    for (at, length) in [(0, 4096), (200, 100), (4096, 400_000), (0, 1_000_000)] {
        for cut in [true, false] {
            for which in 0..3 {
                let directory = tempfile::tempdir().unwrap();
                let config = config(directory.path(), &["a"]);
                let segments = three_segments(&config);
                let file = File::options().write(true).open(&segments[which]).unwrap();
                if cut {
                    file.set_len(at + length / 2).unwrap();
                } else {
                    file.write_all_at(&vec![0x5a; length as usize], at).unwrap();
                }
                let (store, opening) = Store::open(&config).unwrap();
                assert_eq!(opening.degraded, None);
                let mut right = 0;
                for info in store.infos(Range::ALL) {
                    if let Some(found) = store.window(info.id).unwrap() {
                        assert_eq!(found, window(found.start_unix_ns / LENGTH - 1, 150_000));
                        right += 1;
                    }
                }
                assert!(right >= 12, "the other segments are whole: {right}");
                let status = store.status();
                assert_eq!(status.windows, right);
                let id = store.put(&window(100, 1000));
                assert_eq!(store.window(id).unwrap(), Some(window(100, 1000)));
                // The 100 bytes may be those of a commit before the last.
                let noticed = store.status().counters.unreadable > 0 || !opening.notes.is_empty();
                assert!(noticed || !cut && length == 100, "{at} {length} {which}");
            }
        }
    }
}

#[test]
fn a_store_of_another_version_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), &["a"]);
    let segments = three_segments(&config);
    for path in &segments {
        Segment::open(path).unwrap().set_version(2);
    }
    let (store, opening) = Store::open(&config).unwrap();
    assert_eq!((opening.windows, opening.notes.len()), (0, 3));
    assert!(opening.notes[0].contains("version 2"), "{opening:?}");
    assert_eq!(names_in(&config.path, ".old-version"), 3);
    let id = store.put(&window(50, 10));
    assert_eq!(ids(&store.pending("a", 9)), [id]);
    drop(store);
    assert_eq!(open(&config).status().windows, 1);
}

#[test]
fn broken_files_do_not_pile_up() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), &[]);
    for round in 0..7 {
        let (store, opening) = Store::open(&config).unwrap();
        assert_eq!(opening.notes.len(), usize::from(round > 0));
        let id = store.put(&window(round, 10));
        drop(store);
        fs::write(config.path.join(files::segment_name(id)), "noise").unwrap();
    }
    assert_eq!(names_in(&config.path, ".broken"), 4);
}

#[test]
fn where_the_disk_fails_windows_wait_in_memory_for_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), &["a"]);
    // A file where the directory should be: neither root nor anybody can make one.
    let parent = directory.path().join("parent");
    let config = Config { path: parent.join("store"), ..config };
    fs::write(&parent, "").unwrap();
    let (store, opening) = Store::open(&config).unwrap();
    assert!(opening.degraded.is_some());
    let numbers: Vec<_> = (0..MAX_WAITING as u64 + 5).map(|n| store.put(&window(n, 100))).collect();
    let status = store.status();
    assert_eq!((status.waiting, status.counters.dropped), (MAX_WAITING as u64, 5));
    assert_eq!(status.sinks["a"].evicted_unshipped, 5);
    assert_eq!(store.window(numbers[20]).unwrap(), Some(window(20, 100)));
    assert_eq!(
        ids(&store.pending("a", 1)),
        [*numbers.last().unwrap()],
        "sinks get them all the same"
    );
    store.delivered("a", numbers[20]);
    fs::remove_file(&parent).unwrap();
    store.tend();
    let status = store.status();
    assert_eq!((status.waiting, status.degraded), (0, None));
    assert_eq!(status.counters.written, MAX_WAITING as u64);
    drop(store);
    let store = open(&config);
    assert_eq!(store.status().windows, MAX_WAITING as u64);
    let pending = ids(&store.pending("a", 100));
    assert_eq!(pending.len(), MAX_WAITING - 1, "what was delivered meanwhile stays so");
    assert!(!pending.contains(&numbers[20]));
}
