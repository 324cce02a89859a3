//! Each sink has its own cursor, which survives.

use super::*;

#[test]
fn each_sink_settles_for_itself_newest_first() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), &["a", "b"]);
    let store = open(&config);
    let numbers: Vec<_> = (0..6).map(|n| store.put(&window(n, 100))).collect();
    let newest = ids(&store.pending("a", 3));
    assert_eq!(newest, [numbers[5], numbers[4], numbers[3]]);
    store.delivered("a", numbers[5]);
    store.delivered("a", numbers[2]);
    store.refused("a", numbers[0]);
    store.delivered("a", numbers[5]);
    store.delivered("nobody", numbers[1]);
    let left = [numbers[4], numbers[3], numbers[1]];
    assert_eq!(ids(&store.pending("a", 9)), left);
    assert_eq!(store.pending("b", 9).len(), 6);
    let a = store.status().sinks["a"];
    assert_eq!((a.delivered, a.refused, a.pending), (2, 1, 3));
    assert_eq!(a.oldest_pending_unix_ns, Some(2 * LENGTH));
    drop(store);
    let store = open(&config);
    assert_eq!(ids(&store.pending("a", 9)), left, "after a restart");
    assert_eq!(store.pending("b", 9).len(), 6);
}

#[test]
fn a_new_sink_begins_with_now_and_one_that_is_gone_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let with = |sinks: &[&str]| config(directory.path(), sinks);
    let store = open(&with(&["a"]));
    (0..3).for_each(|n| {
        store.put(&window(n, 100));
    });
    store.set_sinks(&["a".to_owned(), "live".to_owned()]);
    assert!(store.pending("live", 9).is_empty());
    let fourth = store.put(&window(3, 100));
    assert_eq!(ids(&store.pending("live", 9)), [fourth]);
    drop(store);
    let store = open(&with(&["b", "live"]));
    assert!(store.pending("b", 9).is_empty());
    assert_eq!(ids(&store.pending("live", 9)), [fourth]);
    let fifth = store.put(&window(4, 100));
    assert_eq!(ids(&store.pending("b", 9)), [fifth]);
    drop(store);
    let store = open(&with(&["a", "b"]));
    assert!(store.pending("a", 9).is_empty(), "the cursor of before is gone");
    assert_eq!(ids(&store.pending("b", 9)), [fifth]);
}

#[test]
fn with_lost_cursors_everything_is_shipped_again_rather_than_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), &["a"]);
    let store = open(&config);
    let number = store.put(&window(0, 100));
    store.delivered("a", number);
    drop(store);
    let cursors = config.path.join(files::CURSORS);
    std::fs::write(&cursors, [7; 9000]).unwrap();
    let (store, opening) = Store::open(&config).unwrap();
    assert_eq!(opening.notes.len(), 1, "{opening:?}");
    assert_eq!(ids(&store.pending("a", 9)), [number]);
    assert!(config.path.join("cursors.redb.broken").exists());
    store.delivered("a", number);
    drop(store);
    assert!(open(&config).pending("a", 9).is_empty());
    std::fs::remove_file(&cursors).unwrap();
    assert_eq!(ids(&open(&config).pending("a", 9)), [number]);
}
