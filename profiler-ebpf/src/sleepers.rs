//! The threads that are off the CPU when a recording begins. A thread that sleeps through all of it
//! never switches, so nothing else would tell of it.

use aya_ebpf::{
    bindings::task_struct,
    cty::c_void,
    helpers::{
        bpf_ktime_get_ns,
        generated::{bpf_get_task_stack, bpf_loop, bpf_task_pt_regs},
    },
};
use profiler_common::{
    counter::Counter,
    record::{COMM_LEN, RecordKind, flags},
    thread::ThreadState,
    walk::{KERNEL_FRAMES, USER_FRAMES_DEEP, WalkEnd},
};

use crate::{
    filter,
    maps::{self, Owner, Scratch, count},
    off_cpu,
    opaque::load,
    record::{self, Ids},
    regs::{self, UserSide, read_kernel},
    settings, threads,
    walk::{self, Walk},
    window::OtherTask,
};

/// Called for each thread, with `struct bpf_iter__task { meta, task }`.
#[inline(always)]
pub fn thread(ctx: *mut c_void) {
    let task = load!(u64, ctx, "8") as *mut task_struct;
    if task.is_null() {
        return; // after the last one
    }
    let Some(ids) = ids(task) else { return };
    let Some(live) = maps::live() else { return };
    if !filter::wants_process(ids.pid, live) || threads::get(ids.tid).is_some() {
        return;
    }
    let Some(state) = off_cpu_state(task) else { return };
    let Some(scratch) = maps::scratch(Owner::Sleepers) else { return };
    if describe(scratch, task, ids, state) && enter(scratch, task, ids, state) {
        send(scratch, task);
    }
}

#[inline(always)]
fn field<T>(task: *mut task_struct, to: *mut T, bytes: u32, offset: u32) -> bool {
    read_kernel(to, bytes, (task as u64).wrapping_add(offset.into()))
}

#[inline(always)]
fn ids(task: *mut task_struct) -> Option<Ids> {
    let mut ids = Ids { pid: 0, tid: 0 };
    let read = field(task, &raw mut ids.pid, 4, settings::task_tgid())
        && field(task, &raw mut ids.tid, 4, settings::task_pid());
    read.then_some(ids)
}

/// What a thread is, if it is off the CPU and has not died.
#[inline(always)]
fn off_cpu_state(task: *mut task_struct) -> Option<ThreadState> {
    let mut state = 0u32;
    if is_on_cpu(task) || !field(task, &raw mut state, 4, settings::task_state()) {
        return None;
    }
    off_cpu::state_of(state.into())
}

/// `on_cpu` is 0 or 1 in an `int` of the machine's order, little endian, and from 7.3 on in a byte with
/// other flags behind it: its first byte is right on both.
#[inline(always)]
fn is_on_cpu(task: *mut task_struct) -> bool {
    let mut on_cpu = 1u8;
    field(task, &raw mut on_cpu, 1, settings::task_on_cpu()) && on_cpu != 0
}

/// Fills the header of the record; false where the thread is not wanted after all.
#[inline(always)]
fn describe(scratch: &mut Scratch, task: *mut task_struct, ids: Ids, state: ThreadState) -> bool {
    // SAFETY: the helper takes nothing.
    record::begin_any(scratch, RecordKind::Block, ids, unsafe { bpf_ktime_get_ns() });
    let record = &mut scratch.record;
    record.state = state.raw() as u8;
    record.flags = flags::SINCE_BEFORE;
    field(task, &raw mut record.comm, COMM_LEN as u32, settings::task_comm());
    record.cgroup_id = filter::cgroup_of(task);
    filter::wants_user_of(task)
        && filter::wants_cgroup_of(task)
        && filter::wants_comm_in(&record.comm)
}

/// Enters the thread as blocked from now on; false where a switch was faster.
#[inline(always)]
fn enter(scratch: &mut Scratch, task: *mut task_struct, ids: Ids, state: ThreadState) -> bool {
    let entry = &mut scratch.entry;
    entry.blocked_at_ns = scratch.record.time_ns;
    entry.pid = ids.pid;
    entry.state = state.raw();
    entry.kept = 1;
    if !threads::insert_other(ids.tid, entry) {
        if threads::get(ids.tid).is_none() {
            count(Counter::ThreadsFull, 1);
        }
        return false;
    }
    if is_on_cpu(task) {
        // It came back before it was entered: nothing will end this block.
        threads::remove_other(ids.tid);
        return false;
    }
    true
}

/// What the steps of the walk need.
#[repr(C)]
struct Context {
    task: *mut task_struct,
}

/// Walks the thread's stacks and sends them.
#[inline(always)]
fn send(scratch: &mut Scratch, task: *mut task_struct) {
    // SAFETY: the helper takes any task.
    let regs = unsafe { bpf_task_pt_regs(task) };
    if let UserSide::At(regs) = regs::of_task_regs(regs as *const c_void) {
        let pid = scratch.record.pid;
        Walk::begin(scratch, pid, &regs);
        let mut context = Context { task };
        // SAFETY: the callback takes this context.
        unsafe {
            let context = (&raw mut context).cast();
            bpf_loop(USER_FRAMES_DEEP, step as *mut c_void, context, 0);
        }
    } else {
        Walk::over(scratch, WalkEnd::Absent);
    }
    record::store_walk(scratch);
    let waits = scratch.record.state != ThreadState::Runnable.raw() as u8;
    let kernel = if waits && settings::block_kernel_stacks() {
        kernel_stack(scratch, task)
    } else {
        (0, WalkEnd::Absent)
    };
    record::send(scratch, kernel);
}

#[inline(never)]
unsafe extern "C" fn step(_: u32, context: *mut Context) -> i64 {
    // SAFETY: `bpf_loop` hands on what it was given.
    let task = unsafe { (*context).task };
    walk::step_in_scratch(Owner::Sleepers, &OtherTask(task))
}

#[inline(always)]
fn kernel_stack(scratch: &mut Scratch, task: *mut task_struct) -> (u64, WalkEnd) {
    let at = record::user_frames(scratch) as usize;
    // SAFETY: as in `record::by_helper`.
    let bytes = unsafe {
        let to = scratch.frames.as_mut_ptr().add(at);
        bpf_get_task_stack(task, to.cast(), KERNEL_FRAMES * 8, 0)
    };
    record::outcome(bytes)
}
