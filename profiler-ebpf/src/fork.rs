//! A process was born: wanted if its parent is.

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_ANY,
    helpers::bpf_get_current_pid_tgid,
    programs::{BtfTracePointContext, TracePointContext},
};
use aya_log_ebpf::debug;
use profiler_common::counter::Counter;

use crate::{
    maps::{TARGETS, count},
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
    if read_kernel(&raw mut pid, 4, child.wrapping_add(settings::task_tgid().into())) {
        born(ctx, pid);
    }
}

/// From the field `child_pid`. That is the id of a thread: new threads of a wanted process are taken
/// for processes, which is needless, and right until such a number comes to another process.
#[inline(always)]
pub fn of_tracepoint(ctx: &TracePointContext) {
    let field = (ctx.as_ptr() as u64).wrapping_add(settings::fork_child_pid().into());
    let mut pid = 0u32;
    if read_kernel(&raw mut pid, 4, field) {
        born(ctx, pid);
    }
}

#[inline(always)]
fn born<C: EbpfContext>(ctx: &C, pid: u32) {
    if !settings::follow_forks() {
        return;
    }
    let parent = Ids::new(bpf_get_current_pid_tgid()).pid;
    if pid == parent || TARGETS.get_ptr(parent).is_none() {
        return; // a thread, or not wanted
    }
    let wanted = 1u32;
    if TARGETS.insert(pid, wanted, BPF_ANY.into()).is_err() && count(Counter::TargetsFull, 1) == 0 {
        debug!(ctx, "the table of wanted processes is full: process {} is not followed", pid);
    }
}
