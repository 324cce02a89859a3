//! Size and age.

use super::*;

fn bytes_in(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).unwrap();
    entries.map(|entry| files::bytes_on_disk(&entry.unwrap().path())).sum()
}

#[test]
fn the_budget_is_kept_and_what_goes_unshipped_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), &["up", "down"]);
    let store = open(&config);
    const BYTES: usize = 150_000;
    let mut most = 0;
    for number in 0..300 {
        let id = store.put(&window(number, BYTES));
        store.delivered("up", id);
        most = most.max(bytes_in(&config.path));
        assert_eq!(store.window(id).unwrap().unwrap().profile.len(), BYTES);
    }
    assert!(most <= MIN_BYTES, "{most}");
    let status = store.status();
    let kept = status.windows;
    assert!(kept as usize * BYTES > MIN_BYTES as usize * 3 / 4, "{kept} windows are kept");
    assert_eq!(status.counters.evicted, 300 - kept);
    assert_eq!(status.sinks["down"].evicted_unshipped, 300 - kept);
    assert_eq!(status.sinks["down"].pending, kept);
    assert_eq!(status.sinks["up"].evicted_unshipped, 0);
    assert_eq!(store.infos(Range::ALL)[0].start_unix_ns, (301 - kept) * LENGTH, "the oldest went");
    drop(store);
    assert_eq!(open(&config).status().windows, kept);
}

#[test]
fn what_is_too_old_goes_and_nothing_younger() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path(), &[]);
    config.max_age = Duration::from_secs(1600);
    let store = open(&config);
    for number in 0..500 {
        store.put(&window(number, 100));
        let oldest = store.status().oldest_unix_ns.unwrap();
        let age = (number + 2) * LENGTH - oldest;
        // A segment is 100 s long here, and goes when its last window has had its age.
        assert!(age <= 1_730_000_000_000, "window {number}: {age}");
    }
    assert!(store.status().windows >= 160);
    store.set_limits(MIN_BYTES, Duration::from_secs(320)).unwrap();
    (500..700).for_each(|number| {
        store.put(&window(number, 100));
    });
    let windows = store.status().windows;
    assert!((32..=36).contains(&windows), "{windows}");
    assert!(store.set_limits(1 << 20, Duration::from_secs(1)).is_err());
}

#[test]
fn a_jump_of_the_clock_empties_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&config(directory.path(), &[]));
    (0..10).for_each(|number| {
        store.put(&window(number, 1000));
    });
    // A month ahead for a few windows, and back.
    (300_000..300_010).chain(10..20).for_each(|number| {
        store.put(&window(number, 1000));
    });
    assert_eq!(store.status().windows, 30);
}

#[test]
fn a_window_larger_than_a_quarter_of_the_budget_is_counted_and_pushes_nothing_out() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&config(directory.path(), &["a"]));
    let kept = store.put(&window(0, 1000));
    store.put(&window(1, 5 << 20));
    let status = store.status();
    assert_eq!((status.windows, status.counters.dropped), (1, 1));
    assert_eq!(status.sinks["a"].evicted_unshipped, 1);
    assert!(store.window(kept).unwrap().is_some());
}
