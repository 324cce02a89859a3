//! The store's behaviour, against real directories.

mod bounds;
mod faults;
mod full_disk;
mod killed;
mod sinks;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::model::finished::Finished;
use crate::model::query::Range;

/// Length of a window, ns.
const LENGTH: u64 = 10_000_000_000;

fn config(path: &Path, sinks: &[&str]) -> Config {
    Config {
        path: path.join("store"),
        max_bytes: MIN_BYTES,
        max_age: Duration::from_secs(24 * 3600),
        sinks: sinks.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// The window of this number, with so many bytes that nothing makes smaller.
fn window(number: u64, bytes: usize) -> Finished {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 56) as u8
    };
    let profile: Arc<[u8]> = (0..bytes).map(|_| byte()).collect();
    Finished { start_unix_ns: (number + 1) * LENGTH, duration_ns: LENGTH, profile }
}

fn open(config: &Config) -> Store {
    let (store, opening) = Store::open(config).unwrap();
    assert_eq!(opening.degraded, None);
    assert_eq!(opening.notes, Vec::<String>::new());
    store
}

fn ids(infos: &[Info]) -> Vec<u64> {
    infos.iter().map(|info| info.id).collect()
}

#[test]
fn windows_are_found_again_by_number_and_time_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), &["a"]);
    let windows: Vec<_> = (0..20).map(|n| window(n, 1 + n as usize * 17_000)).collect();
    let store = open(&config);
    let numbers: Vec<_> = windows.iter().map(|window| store.put(window)).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b));
    let check = |infos: &dyn Fn(Range) -> Vec<Info>, read: &dyn Fn(u64) -> Option<Finished>| {
        assert_eq!(ids(&infos(Range::ALL)), numbers);
        let range = Range { from_unix_ns: 3 * LENGTH, to_unix_ns: 5 * LENGTH };
        assert_eq!(
            ids(&infos(range)),
            numbers[2..4],
            "windows from their begin to before their end"
        );
        for (number, window) in numbers.iter().zip(&windows) {
            assert_eq!(read(*number).as_ref(), Some(window));
        }
        assert_eq!(read(1), None);
    };
    check(&|range| store.infos(range), &|id| store.window(id).unwrap());
    let status = store.status();
    assert_eq!((status.windows, status.counters.written, status.waiting), (20, 20, 0));
    assert!(status.bytes > 3_000_000 && status.bytes < 4_500_000, "{status:?}");
    drop(store);
    let reader = Reader::open(&config.path).unwrap();
    check(&|range| reader.infos(range), &|id| reader.window(id).unwrap());
    let store = open(&config);
    check(&|range| store.infos(range), &|id| store.window(id).unwrap());
    assert!(store.put(&window(20, 5)) > numbers[19]);
    assert_eq!(store.infos(Range::ALL).len(), 21);
}

#[test]
fn a_clock_that_goes_back_takes_no_number_twice() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&config(directory.path(), &["a"]));
    let late = store.put(&window(100, 10));
    let early = store.put(&window(5, 10));
    assert_eq!(early, late + 1);
    assert_eq!(ids(&store.infos(Range::ALL)), [early, late], "by time");
    assert_eq!(ids(&store.pending("a", 9)), [early, late], "the one that came last first");
}

#[test]
fn a_reader_needs_no_lock_and_sees_what_a_writer_has_written() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), &[]);
    let store = open(&config);
    for number in 0..5 {
        let id = store.put(&window(number, 100_000));
        let reader = Reader::open(&config.path).unwrap();
        assert_eq!(reader.problems(), Vec::<String>::new());
        assert_eq!(reader.window(id).unwrap(), Some(window(number, 100_000)));
        assert_eq!(reader.infos(Range::ALL).len() as u64, number + 1);
    }
    let missing = Reader::open(directory.path()).unwrap_err().to_string();
    assert!(missing.contains("there is no store"), "{missing}");
}

#[test]
fn all_threads_may_use_it_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&config(directory.path(), &["a", "b"]));
    std::thread::scope(|scope| {
        for part in 0..2 {
            let store = &store;
            scope.spawn(move || {
                (0..20).for_each(|n| {
                    store.put(&window(part * 100 + n, 30_000));
                })
            });
        }
        for sink in ["a", "b"] {
            let store = &store;
            scope.spawn(move || {
                while store.status().sinks[sink].delivered < 40 {
                    for info in store.pending(sink, 4) {
                        let window = store.window(info.id).unwrap().unwrap();
                        assert_eq!(window.start_unix_ns, info.start_unix_ns);
                        store.delivered(sink, info.id);
                    }
                }
            });
        }
    });
    let status = store.status();
    assert_eq!(status.counters.written, 40);
    assert!(status.sinks.values().all(|sink| sink.pending == 0 && sink.delivered == 40));
}
