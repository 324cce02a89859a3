//! Lives as the side-band tells them, and the bounds.

use std::time::Duration;

use super::*;
use crate::model::space::Code;

const SECOND: u64 = 1_000_000_000;

fn table(max_processes: usize) -> Table {
    Table::new(&Config { max_processes, keep_dead: Duration::from_secs(5), ..Config::default() })
}

fn page(n: u64) -> Mapping {
    Mapping { start: n << 12, end: (n + 1) << 12, file_offset: 0, code: Code::Generated }
}

fn fork(time_ns: u64, parent_pid: u32, pid: u32) -> Fork {
    Fork { time_ns, pid, tid: pid, parent_pid, parent_tid: parent_pid }
}

fn named(time_ns: u64, pid: u32, name: &str, exec: bool) -> CommChange {
    let mut comm = [0; 16];
    comm[..name.len()].copy_from_slice(name.as_bytes());
    CommChange { time_ns, pid, tid: pid, comm, exec }
}

fn exit(time_ns: u64, pid: u32) -> Exit {
    Exit { time_ns, pid, tid: pid }
}

/// The pages of a process that are mapped, of the first ten.
fn pages(table: &Table, pid: u32) -> Option<Vec<u64>> {
    let life = table.get(pid)?;
    Some((0..10).filter(|n| life.space().lookup(n << 12).is_some()).collect())
}

#[test]
fn a_child_has_its_parents_memory_until_either_changes_it() {
    let mut table = table(10);
    table.comm(&named(1, 1, "parent", true));
    table.map(1, page(1));
    table.fork(&fork(2, 1, 2));
    assert_eq!(pages(&table, 2), Some(vec![1]));
    assert_eq!(*table.get(2).unwrap().name, *"parent");
    assert_eq!(table.get(2).unwrap().parent, Some(1));
    table.map(1, page(2));
    table.map(2, page(3));
    assert_eq!((pages(&table, 1), pages(&table, 2)), (Some(vec![1, 2]), Some(vec![1, 3])));
}

#[test]
fn a_copy_is_made_only_when_something_changes() {
    let mut table = table(10);
    table.map(1, page(1));
    table.fork(&fork(2, 1, 2));
    let version = table.get(2).unwrap().version();
    assert_eq!(table.map(2, page(1)), Change::None);
    assert_eq!(table.get(2).unwrap().version(), version);
    assert!(table.budget().fits((1 << 20) - 1), "the one mapping is counted once");
    table.map(2, page(2));
    assert_ne!(table.get(2).unwrap().version(), version);
    assert!(!table.budget().fits((1 << 20) - 1));
}

#[test]
fn a_new_program_has_new_memory() {
    let mut table = table(10);
    table.map(1, page(1));
    let before = table.entry(1).version();
    table.comm(&named(2, 1, "renamed", false));
    assert_eq!(pages(&table, 1), Some(vec![1]));
    table.comm(&named(3, 1, "program", true));
    assert_eq!(pages(&table, 1), Some(vec![]));
    assert_eq!(*table.get(1).unwrap().name, *"program");
    assert_ne!(table.get(1).unwrap().version(), before);
}

#[test]
fn the_name_of_a_thread_is_not_that_of_its_process() {
    let mut table = table(10);
    table.comm(&named(1, 1, "process", false));
    table.comm(&CommChange { tid: 2, ..named(2, 1, "worker", false) });
    assert_eq!(*table.get(1).unwrap().name, *"process");
}

#[test]
fn a_thread_is_not_a_process() {
    let mut table = table(10);
    table.map(1, page(1));
    table.fork(&Fork { time_ns: 1, pid: 1, tid: 2, parent_pid: 1, parent_tid: 1 });
    assert!(table.get(2).is_none());
    table.exit(&Exit { time_ns: 2, pid: 1, tid: 2 }, false);
    assert_eq!(table.living(), [1]);
}

#[test]
fn a_number_given_away_begins_a_new_life() {
    let mut table = table(10);
    table.comm(&named(1, 5, "first", true));
    table.map(5, page(1));
    table.exit(&exit(2, 5), true);
    assert_eq!(pages(&table, 5), Some(vec![1]), "late stacks still resolve");
    table.comm(&named(3, 9, "shell", true));
    table.map(9, page(2));
    table.fork(&fork(4, 9, 5));
    assert_eq!(pages(&table, 5), Some(vec![2]));
    // The end of the first life does not end the second.
    table.exit(&exit(3 + 10 * SECOND, 7), true);
    assert_eq!(pages(&table, 5), Some(vec![2]));
    assert_eq!(table.living().len(), 2);
}

#[test]
fn the_dead_are_forgotten_in_time() {
    let mut table = table(10);
    table.map(1, page(1));
    table.map(2, page(1));
    table.exit(&exit(SECOND, 1), true);
    table.exit(&exit(SECOND, 2), true);
    table.entry(2).sampled_at_ns = 4 * SECOND;
    table.exit(&exit(5 * SECOND, 99), true);
    assert!(table.get(1).is_some());
    table.exit(&exit(6 * SECOND, 99), true);
    assert!(table.get(1).is_none());
    assert!(table.get(2).is_some(), "threads of it were seen after the end of its first");
    table.exit(&exit(9 * SECOND, 99), true);
    assert!(table.get(2).is_none());
    assert_eq!(table.losses().iter().count(), 0);
}

#[test]
fn the_dead_go_first_when_there_is_no_room() {
    let mut table = table(4);
    for pid in 1..=4 {
        table.comm(&named(1, pid, "p", true));
    }
    table.exit(&exit(2, 3), true);
    table.comm(&named(3, 5, "p", true));
    assert!(table.get(3).is_none());
    assert_eq!(table.losses().get("processes_forgotten_early"), 1);
    table.entry(1).sampled_at_ns = 9;
    table.comm(&named(4, 6, "p", true));
    assert!(table.get(1).is_some(), "it was sampled");
    assert_eq!(table.losses().get("processes_forgotten_table_full"), 1);
    assert_eq!(table.living().len(), 4);
}

#[test]
fn a_storm_of_processes_is_bounded() {
    let mut table = table(64);
    for n in 0..10_000_u32 {
        let pid = 1 + n % 3_000;
        table.fork(&fork(n.into(), 1 + (n + 1) % 3_000, pid));
        table.map(pid, page(u64::from(n % 9)));
        if n % 3 == 0 {
            table.exit(&exit(n.into(), pid), true);
        }
        assert!(table.lives.len() <= 64 && table.ends.len() <= 64);
    }
}

#[test]
fn what_is_older_than_proc_is_no_news() {
    let mut table = table(10);
    table.map(1, page(1));
    table.entry(1).source = Source::Known { at_ns: 100 };
    table.comm(&named(99, 1, "old", true));
    table.fork(&fork(99, 7, 1));
    table.exit(&exit(99, 1), true);
    assert_eq!(pages(&table, 1), Some(vec![1]));
    assert_eq!(table.living(), [1]);
    table.comm(&named(100, 1, "new", true));
    assert_eq!(pages(&table, 1), Some(vec![]));
}

#[test]
fn mappings_beyond_the_limit_are_counted() {
    let config = Config { max_mappings: 3, max_process_mappings: 2, ..Config::default() };
    let mut table = Table::new(&config);
    for n in [1, 3, 5] {
        table.map(1, page(n));
    }
    assert_eq!(table.losses().get("mappings_lost_limit"), 1);
    // A child that would need a copy of its own finds no room for it.
    table.fork(&fork(1, 1, 2));
    table.map(2, page(7));
    assert_eq!(pages(&table, 2), Some(vec![1, 3]));
    assert_eq!(table.losses().get("mappings_lost_limit"), 2);
}
