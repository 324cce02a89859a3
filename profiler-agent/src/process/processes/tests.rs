use super::*;
use crate::model::frame::{BinaryKind, Frame, Marker};
use profiler_common::walk::WalkEnd;

/// A stack of one user address, and of nothing else.
fn stack(pid: u32, tid: u32, address: u64) -> RawStack {
    RawStack {
        time_ns: now_ns(),
        pid,
        tid,
        cpu: 0,
        cgroup_id: 1,
        comm: *b"thread\0\0\0\0\0\0\0\0\0\0",
        user: vec![address],
        kernel: Vec::new(),
        user_end: WalkEnd::Complete,
        kernel_end: WalkEnd::Absent,
    }
}

#[test]
fn this_process() {
    let mut processes = Processes::new(Config::default());
    processes.scan().unwrap();
    let here = this_process as fn() as usize as u64;
    let got = processes.attribute(&stack(std::process::id(), 1, here));
    let [Frame::Native { binary, offset }] = &*got.stack else { panic!("{:?}", got.stack) };
    assert_eq!(binary.path, std::env::current_exe().unwrap().to_str().unwrap());
    assert_eq!(binary.kind, BinaryKind::File);
    assert!(binary.address_of(*offset).is_some());
    assert!(binary.file.is_some() && binary.problem.is_none());
    assert_eq!(processes.process_count(), 1);
    assert_eq!(*got.thread.thread, *"thread");
}

#[test]
fn a_cut_stack_says_so() {
    let mut raw = stack(std::process::id(), 1, 0x10);
    raw.kernel = vec![0xffff_ffff_8000_0010, 0xffff_ffff_8000_0020];
    raw.kernel_end = WalkEnd::DepthLimit;
    raw.user_end = WalkEnd::Unreadable;
    let got = Processes::new(Config::default()).attribute(&raw);
    let want = [
        Frame::Kernel { address: 0xffff_ffff_8000_0010 },
        Frame::Kernel { address: 0xffff_ffff_8000_001f },
        Frame::Marker(Marker::KernelTruncated(WalkEnd::DepthLimit)),
        Frame::Unmapped { address: 0x10 },
        Frame::Marker(Marker::UserTruncated(WalkEnd::Unreadable)),
    ];
    assert_eq!(*got.stack, want);
}
