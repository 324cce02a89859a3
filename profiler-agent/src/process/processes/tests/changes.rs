//! What the preparation line is told of the memory of processes.

use super::*;
use crate::model::space::{Code, Space};

/// The news, by process, as far as they are of these processes.
fn news(processes: &mut Processes, pids: &[u32]) -> Vec<(u32, Option<Space>)> {
    let mut news: Vec<_> = processes
        .take_changed()
        .into_iter()
        .filter(|change| pids.contains(&change.pid))
        .map(|change| (change.pid, change.space))
        .collect();
    news.sort_by_key(|(pid, _)| *pid);
    news
}

fn fork(parent_pid: u32, pid: u32) -> Event {
    Event::Fork(Fork { time_ns: now_ns(), pid, tid: pid, parent_pid, parent_tid: parent_pid })
}

fn exit(pid: u32, tid: u32) -> Event {
    Event::Exit(Exit { time_ns: now_ns(), pid, tid })
}

#[test]
fn what_lives_at_the_beginning_and_nothing_twice() {
    let workshop = Workshop::new();
    let probe = Probe::of(workshop.path("probe"));
    let mut processes = scanned();
    let told = news(&mut processes, &[probe.pid()]);
    let [(_, Some(space))] = &told[..] else { panic!("{told:?}") };
    let is_probe = |code: &Code| matches!(code, Code::Binary(b) if b.path.ends_with("/probe"));
    assert!(space.iter().any(|mapping| is_probe(&mapping.code)), "{space:?}");
    assert!(space.is_sorted_by_key(|mapping| mapping.start));
    assert!(processes.take_changed().is_empty());
}

#[test]
fn a_child_shares_the_very_memory_of_its_parent_until_it_runs_a_program() {
    // Numbers that no process has.
    let (parent, child) = (u32::MAX - 1, u32::MAX);
    let mut processes = Processes::new(Config::default());
    processes.apply(&exec(parent));
    processes.apply(&mapped(parent, 0x10000, "//anon", MmapId::BuildId(vec![1])));
    processes.apply(&fork(parent, child));
    let told = news(&mut processes, &[parent, child]);
    let [(_, Some(parents)), (_, Some(childs))] = &told[..] else { panic!("{told:?}") };
    assert!(Arc::ptr_eq(parents, childs) && parents.len() == 1);

    processes.apply(&exec(child));
    let told = news(&mut processes, &[parent, child]);
    assert!(matches!(&told[..], [(pid, Some(space))] if *pid == child && space.is_empty()));
    processes.apply(&exit(child, child));
    assert!(matches!(news(&mut processes, &[parent, child])[..], [(pid, None)] if pid == child));
}

#[test]
fn a_process_that_came_and_went_unseen_is_told_as_gone() {
    let pid = u32::MAX;
    let mut processes = Processes::new(Config::default());
    processes.apply(&exec(pid));
    processes.apply(&exit(pid, pid));
    assert!(matches!(news(&mut processes, &[pid])[..], [(_, None)]));
}

#[test]
fn a_process_lives_as_long_as_any_of_its_threads() {
    let workshop = Workshop::new();
    let mut probe = Probe::of(workshop.path("probe"));
    let pid = probe.pid();
    let mut processes = scanned();
    news(&mut processes, &[pid]);
    let tid = u32::try_from(probe.ask("leave")).unwrap();
    processes.apply(&exit(pid, pid));
    assert!(news(&mut processes, &[pid]).is_empty(), "another thread lives");
    drop(probe);
    processes.apply(&exit(pid, tid));
    assert!(matches!(news(&mut processes, &[pid])[..], [(_, None)]));
}

#[test]
fn the_end_of_the_last_thread_may_be_told_before_it_is_gone() {
    let workshop = Workshop::new();
    let mut probe = Probe::of(workshop.path("probe"));
    let pid = probe.pid();
    let mut processes = scanned();
    let tid = u32::try_from(probe.ask("leave")).unwrap();
    processes.apply(&exit(pid, pid));
    processes.apply(&exit(pid, tid));
    news(&mut processes, &[pid]);
    drop(probe);
    // Whatever happens a second later.
    let time_ns = now_ns() + 1_100_000_000;
    processes.apply(&Event::Exit(Exit { time_ns, pid: u32::MAX, tid: u32::MAX }));
    assert!(matches!(news(&mut processes, &[pid])[..], [(_, None)]));
}
