//! On real processes, with the side-band played by the test.

mod changes;
mod files;
mod generated;
mod probe;

use std::path::Path;
use std::process::Command;

use nix::sys::stat::{major, minor};
use profiler_common::walk::{FRAME_EXACT, WalkEnd};

use self::probe::{Probe, Workshop};
use super::*;
use crate::model::event::{CommChange, Exit, Fork, MmapId, SidebandLost};
use crate::model::frame::{Binary, BinaryKind, Frame, JitMap};

/// A stack of one user address, and of nothing else.
fn stack(pid: u32, tid: u32, address: u64) -> RawStack {
    RawStack {
        time_ns: now_ns(),
        pid,
        tid,
        cgroup_id: 1,
        comm: *b"probe\0\0\0\0\0\0\0\0\0\0\0",
        kernel_end: WalkEnd::Absent,
        ..RawStack::of(&[address | FRAME_EXACT], &[])
    }
}

fn scanned() -> Processes {
    let mut processes = Processes::new(Config::default());
    processes.scan().unwrap();
    processes
}

fn frame(processes: &mut Processes, pid: u32, address: u64) -> Frame {
    let got = processes.attribute(&stack(pid, pid, address));
    assert_eq!(got.stack.len(), 1);
    got.stack[0].clone()
}

fn native(frame: Frame) -> Arc<Binary> {
    let Frame::Native { binary, .. } = frame else { panic!("{frame:?}") };
    binary
}

/// The same for an address in the text of its file.
fn text(frame: Frame) -> Arc<Binary> {
    let Frame::Native { binary, offset } = frame else { panic!("{frame:?}") };
    assert!(binary.address_of(offset).is_some(), "{offset:x} in {binary:?}");
    assert!(binary.file.is_some() && binary.problem.is_none(), "{binary:?}");
    binary
}

fn generated(frame: Frame) -> Arc<JitMap> {
    let Frame::Jit { map, .. } = frame else { panic!("{frame:?}") };
    map
}

/// Events as the side-band would send them when a process maps a file.
fn mapped(pid: u32, start: u64, path: &str, id: MmapId) -> Event {
    let (path, len) = (path.as_bytes().to_vec(), 0x1000);
    Event::Mmap(Mmap { time_ns: now_ns(), pid, start, len, file_offset: 0, id, path })
}

fn exec(pid: u32) -> Event {
    let comm = *b"probe\0\0\0\0\0\0\0\0\0\0\0";
    Event::Comm(CommChange { time_ns: now_ns(), pid, tid: pid, comm, exec: true })
}

fn inode_of(path: &Path) -> MmapId {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(path).unwrap();
    let [major, minor] = [major(meta.dev()), minor(meta.dev())].map(|n| u32::try_from(n).unwrap());
    MmapId::Inode { major, minor, inode: meta.ino(), generation: 0 }
}

fn build_id_of(path: &Path) -> String {
    crate::process::elf::read(&std::fs::File::open(path).unwrap()).unwrap().build_id
}

fn bytes_of(build_id: &str) -> MmapId {
    let digits = build_id.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    MmapId::BuildId(digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect())
}

/// A process that has come and gone: its number.
fn ended() -> u32 {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

#[test]
fn a_process_that_was_there_before() {
    let workshop = Workshop::new();
    let mut probe = Probe::of(workshop.path("probe"));
    let landmark = probe.ask("landmark");
    let mut processes = scanned();
    let binary = text(frame(&mut processes, probe.pid(), landmark));
    assert_eq!(binary.path, workshop.path("probe").to_str().unwrap());
    assert_eq!(binary.kind, BinaryKind::File);
    assert_eq!(binary.build_id, build_id_of(&workshop.path("probe")));
    assert!(binary.file.is_some());
    assert_eq!(processes.process_count(), 1);
}

#[test]
fn a_process_that_nobody_told_of() {
    let workshop = Workshop::new();
    let mut probe = Probe::of(workshop.path("probe"));
    let landmark = probe.ask("landmark");
    let mut processes = Processes::new(Config::default());
    let got = processes.attribute(&stack(probe.pid(), probe.pid(), landmark));
    native(got.stack[0].clone());
    assert_eq!((&*got.thread.process, &*got.thread.thread), ("probe", "probe"));
    assert!(got.thread.cgroup.starts_with('/'), "{}", got.thread.cgroup);
    assert_eq!(processes.losses(), Losses::default());
}

#[test]
fn a_child_without_exec() {
    let workshop = Workshop::new();
    let mut probe = Probe::of(workshop.path("probe"));
    let landmark = probe.ask("landmark");
    let mut processes = scanned();
    let parent = text(frame(&mut processes, probe.pid(), landmark));
    let pid = u32::try_from(probe.ask("fork")).unwrap();
    let (parent_pid, time_ns) = (probe.pid(), now_ns());
    processes.apply(&Event::Fork(Fork {
        time_ns,
        pid,
        tid: pid,
        parent_pid,
        parent_tid: parent_pid,
    }));
    assert!(Arc::ptr_eq(&parent, &native(frame(&mut processes, pid, landmark))));
    assert_eq!(processes.process_count(), 2);
}

#[test]
fn a_new_program() {
    let workshop = Workshop::new();
    let other = workshop.build(
        &format!("{}\nint unlike;", include_str!("probe.c")),
        "other",
        &["-static-pie", "-pthread"],
    );
    let mut probe = Probe::of(workshop.path("probe"));
    let before = probe.ask("landmark");
    let mut processes = scanned();
    native(frame(&mut processes, probe.pid(), before));

    assert_eq!(probe.tell(&format!("exec {}", other.display())), "ready");
    processes.apply(&exec(probe.pid()));
    let after = probe.ask("landmark");
    let start = after & !0xfff;
    // What the side-band tells of the mapping is less than the whole of it: the file is found by path.
    processes.apply(&mapped(probe.pid(), start, other.to_str().unwrap(), inode_of(&other)));
    let binary = native(frame(&mut processes, probe.pid(), after));
    assert_eq!(binary.path, other.to_str().unwrap());
    assert_eq!(binary.build_id, build_id_of(&other));
}

#[test]
fn an_address_in_no_mapping_is_looked_for_seldom() {
    let workshop = Workshop::new();
    let probe = Probe::of(workshop.path("probe"));
    let mut processes = scanned();
    for _ in 0..100 {
        assert_eq!(frame(&mut processes, probe.pid(), 0x10), Frame::Unmapped { address: 0x10 });
    }
    assert_eq!(processes.losses().get("user_frames_unmapped"), 100);
}

#[test]
fn a_process_that_is_gone_and_that_nobody_told_of() {
    let mut processes = Processes::new(Config::default());
    let pid = ended();
    for _ in 0..3 {
        let got = processes.attribute(&stack(pid, pid, 0x10000));
        assert_eq!(*got.stack, [Frame::Unmapped { address: 0x10000 }]);
        assert_eq!(*got.thread.process, *"probe");
    }
    assert_eq!(processes.losses().get("stacks_of_unknown_processes"), 3);
}

#[test]
fn the_first_thread_may_end_before_the_others() {
    let workshop = Workshop::new();
    let mut probe = Probe::of(workshop.path("probe"));
    let landmark = probe.ask("landmark");
    let tid = u32::try_from(probe.ask("leave")).unwrap();
    let mut processes = Processes::new(Config::default());
    let got = processes.attribute(&stack(probe.pid(), tid, landmark));
    assert!(native(got.stack[0].clone()).file.is_some());
}

#[test]
fn lost_events_are_made_up_for() {
    let workshop = Workshop::new();
    let mut processes = scanned();
    let mut probe = Probe::of(workshop.path("probe"));
    let landmark = probe.ask("landmark");
    let lost = SidebandLost { time_ns: now_ns(), records: 7 };
    processes.apply(&Event::SidebandLost(lost));
    assert!(processes.table.get(probe.pid()).is_some_and(|life| life.space().len() > 0));
    text(frame(&mut processes, probe.pid(), landmark));
}

#[test]
fn a_kernel_thread() {
    let mut raw = stack(2, 2, 0);
    raw.user.clear();
    raw.user_end = WalkEnd::Absent;
    raw.kernel = vec![0xffff_ffff_8000_0010];
    raw.comm = *b"kthreadd\0\0\0\0\0\0\0\0";
    let got = scanned().attribute(&raw);
    assert_eq!(*got.stack, [Frame::Kernel { address: 0xffff_ffff_8000_0010 }]);
    assert_eq!(*got.thread.process, *"kthreadd");
}

#[test]
fn no_procfs() {
    let mut processes = Processes::new(Config { proc: "/nowhere".into(), ..Config::default() });
    let error = processes.scan().unwrap_err().to_string();
    assert!(error.contains("/nowhere") && error.contains("mount procfs"), "{error}");
    let got = processes.attribute(&stack(1, 1, 5));
    assert_eq!(*got.stack, [Frame::Unmapped { address: 5 }]);
    assert_eq!(*got.thread.cgroup, *"id:1");
}
