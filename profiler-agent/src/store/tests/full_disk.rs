//! A disk that is full, and one that cannot be written to: a small file system in a namespace of its own.

use std::fs;
use std::process::Command;

use super::*;

/// Tells the test that it is inside, and where.
const INSIDE: &str = "PROFILER_AGENT_TEST_DISK";

const BYTES: usize = 100_000;

#[test]
fn windows_wait_for_a_disk_that_is_full_or_read_only() {
    if let Some(path) = std::env::var_os(INSIDE) {
        return inside(Path::new(&path));
    }
    let directory = tempfile::tempdir().unwrap();
    let ended = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount"])
        .arg(std::env::current_exe().unwrap())
        .args([
            "store::tests::full_disk::windows_wait_for_a_disk_that_is_full_or_read_only",
            "--exact",
        ])
        .env(INSIDE, directory.path())
        .output()
        .expect("unshare of util-linux");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&ended.stdout),
        String::from_utf8_lossy(&ended.stderr)
    );
    assert!(ended.status.success(), "(needs root, or user namespaces for everybody)\n{said}");
}

fn mount(path: &Path, options: &str) {
    let status = Command::new("mount")
        .args(["-t", "tmpfs", "-o", options, "tmpfs"])
        .arg(path)
        .status()
        .expect("mount");
    assert!(status.success(), "mount -o {options}");
}

fn inside(path: &Path) {
    mount(path, "size=6m,mode=0700");
    let config = config(path, &["a"]);
    let filler = path.join("filler");
    let store = open(&config);
    let mut numbers = vec![store.put(&window(0, BYTES))];
    fs::write(&filler, vec![0; 3 << 20]).unwrap();
    while store.status().degraded.is_none() {
        assert!(numbers.len() < 60, "6 MiB hold no 60 windows");
        numbers.push(store.put(&window(numbers.len() as u64, BYTES)));
    }
    numbers.push(store.put(&window(numbers.len() as u64, BYTES)));
    let status = store.status();
    assert!(status.degraded.unwrap().contains("No space left"), "the first cause");
    assert_eq!((status.waiting, status.counters.dropped), (2, 0));
    let check = |store: &Store| {
        assert_eq!(ids(&store.infos(Range::ALL)), numbers);
        for (number, id) in (0..).zip(&numbers) {
            assert_eq!(store.window(*id).unwrap(), Some(window(number, BYTES)));
        }
    };
    check(&store);
    assert_eq!(store.pending("a", 99).len(), numbers.len(), "sinks get all of them");
    fs::remove_file(&filler).unwrap();
    store.tend();
    let status = store.status();
    assert_eq!((status.waiting, status.degraded), (0, None));
    check(&store);
    drop(store);
    check(&open(&config));
    read_only(path, &config, &mut numbers);
}

fn read_only(path: &Path, config: &Config, numbers: &mut Vec<u64>) {
    mount(path, "remount,ro");
    let (store, opening) = Store::open(config).unwrap();
    assert!(opening.degraded.unwrap().contains("Read-only"));
    let reader = Reader::open(&config.path).unwrap();
    assert_eq!(ids(&reader.infos(Range::ALL)), *numbers);
    assert_eq!(reader.window(numbers[0]).unwrap(), Some(window(0, BYTES)));
    let id = store.put(&window(numbers.len() as u64, BYTES));
    assert_eq!(ids(&store.infos(Range::ALL)), [id]);
    mount(path, "remount,rw,size=6m");
    store.tend();
    numbers.push(id);
    let status = store.status();
    assert_eq!((status.degraded, status.waiting), (None, 0));
    assert_eq!(ids(&store.infos(Range::ALL)), *numbers);
}
