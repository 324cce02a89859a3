//! Threads, files and stacks for the tests of this stage.

use std::path::PathBuf;
use std::sync::Arc;

use profiler_common::thread::ThreadState;

use crate::model::frame::{Binary, BinaryKind, Frame, JitMap, Segment, Stack};
use crate::model::observation::{Activity, Observation, ThreadInfo};

/// A thread of that process and id, both of that name.
pub(super) fn thread(pid: u32, tid: u32, name: &str) -> Arc<ThreadInfo> {
    let name: Arc<str> = Arc::from(name);
    let process = Arc::clone(&name);
    let (cgroup, service) = (Arc::from("/a.service"), Arc::from("a"));
    Arc::new(ThreadInfo { pid, tid, process, thread: name, cgroup, service })
}

/// A file whose text lies 0x1000 higher in memory than in the file.
pub(super) fn binary(id: u32, path: &str) -> Arc<Binary> {
    Arc::new(Binary {
        id,
        path: path.to_owned(),
        kind: BinaryKind::File,
        build_id: format!("AB{id:02x}"),
        file: None,
        debug: None,
        segments: vec![Segment { file_offset: 0x100, file_size: 0xf000, address: 0x1100 }],
        problem: None,
    })
}

pub(super) fn native(binary: &Arc<Binary>, offset: u64) -> Frame {
    Frame::Native { binary: Arc::clone(binary), offset }
}

pub(super) fn jit(pid: u32, address: u64) -> Frame {
    let map = JitMap { id: pid, pid, file: None, path: PathBuf::from("/tmp/perf-1.map") };
    Frame::Jit { map: Arc::new(map), address }
}

/// A stack of kernel addresses: the shortest way to tell stacks apart.
pub(super) fn kernel_stack(addresses: impl IntoIterator<Item = u64>) -> Stack {
    addresses.into_iter().map(|address| Frame::Kernel { address }).collect()
}

pub(super) fn on_cpu(thread: &Arc<ThreadInfo>, stack: &Stack, count: u64) -> Observation {
    Observation {
        thread: Arc::clone(thread),
        stack: Arc::clone(stack),
        activity: Activity::OnCpu,
        count,
        ns: count * 10,
    }
}

pub(super) fn off_cpu(
    thread: &Arc<ThreadInfo>,
    stack: &Stack,
    state: ThreadState,
    ns: u64,
) -> Observation {
    Observation {
        thread: Arc::clone(thread),
        stack: Arc::clone(stack),
        activity: Activity::OffCpu(state),
        count: 1,
        ns,
    }
}
