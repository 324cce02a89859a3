//! The life of a process: what it has from its parent at its birth, and loses when it runs another
//! program. The user side hears of both a few milliseconds later.

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_ANY,
    helpers::bpf_get_current_pid_tgid,
    programs::{BtfTracePointContext, TracePointContext},
};
use aya_log_ebpf::debug;
use profiler_common::{counter::Counter, live::marks};

use crate::{
    maps::{PROCESSES, TARGETS, count, marks},
    opaque::load,
    record::Ids,
    regs::read_kernel,
    settings,
};

/// From `sched_process_fork(parent, child)`.
#[inline(always)]
pub fn of_btf(ctx: &BtfTracePointContext) {
    let child = load!(u64, ctx.as_ptr(), "8");
    let mut pid = 0u32;
    if !read_kernel(&raw mut pid, 4, child.wrapping_add(settings::task_tgid().into())) {
        return;
    }
    let parent = Ids::new(bpf_get_current_pid_tgid()).pid;
    if pid == parent {
        return; // a thread
    }
    hand_on_mappings(parent, pid);
    hand_on_marks(ctx, parent, pid);
}

/// From the field `child_pid`. That is the id of a thread: new threads of a wanted process are taken
/// for processes, which is needless, and right until such a number comes to another process.
#[inline(always)]
pub fn of_tracepoint(ctx: &TracePointContext) {
    let field = (ctx.as_ptr() as u64).wrapping_add(settings::fork_child_pid().into());
    let mut pid = 0u32;
    let parent = Ids::new(bpf_get_current_pid_tgid()).pid;
    if read_kernel(&raw mut pid, 4, field) && pid != parent {
        hand_on_marks(ctx, parent, pid);
    }
}

/// The child has its parent's memory, so its first sample can be unwound.
#[inline(always)]
fn hand_on_mappings(parent: u32, child: u32) {
    if let Some(list) = PROCESSES.get_ptr(parent) {
        // SAFETY: a map value; the copy is for the program, which may not hand on the map's own.
        let list = unsafe { *list };
        if PROCESSES.insert(child, &list, BPF_ANY.into()).is_err() {
            count(Counter::ProcessesFull, 1);
        }
    }
}

/// The child has its parent's marks: it is wanted, or not, if its parent is.
#[inline(always)]
fn hand_on_marks<C: EbpfContext>(ctx: &C, parent: u32, child: u32) {
    if !settings::follow_forks() {
        return;
    }
    let marks = marks(parent) & !marks::BURST;
    if marks == 0 {
        return;
    }
    let failed = TARGETS.insert(child, marks, BPF_ANY.into()).is_err();
    if failed && count(Counter::TargetsFull, 1) == 0 {
        debug!(ctx, "the table of marked processes is full: process {} is not followed", child);
    }
}

/// The current process runs another program: its mappings are gone.
#[inline(always)]
pub fn exec() {
    let _ = PROCESSES.remove(Ids::new(bpf_get_current_pid_tgid()).pid);
}
