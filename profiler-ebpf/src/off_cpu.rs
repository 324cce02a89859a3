//! A context switch: one thread leaves the CPU, another is back.

use aya_ebpf::{
    EbpfContext,
    btf_maps::ProgramArray,
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns, generated::bpf_get_smp_processor_id},
    programs::{BtfTracePointContext, TracePointContext},
};
use aya_log_ebpf::debug;
use profiler_common::{
    counter::Counter,
    live::Live,
    record::{RecordKind, ResumeRecord},
    thread::{Skipped, THREAD_STATES, ThreadEntry, ThreadState},
};

use crate::{
    emit, filter,
    maps::{self, Owner, Scratch, TAIL, count},
    opaque::{clear, load},
    rate,
    record::{self, Ids},
    regs::{self, read_kernel},
    sample, settings, threads,
};

/// What both tracepoints say.
pub struct Switch {
    /// The one that goes, which is still the current thread.
    ids: Ids,
    /// Thread id of the one that comes.
    next_tid: u32,
    /// What the one that goes is from now on; `None` where it dies.
    state: Option<ThreadState>,
}

/// Bits of `task_struct.__state` (include/linux/sched.h), the same from 5.10 on.
mod bits {
    pub const INTERRUPTIBLE: u64 = 0x1;
    pub const UNINTERRUPTIBLE: u64 = 0x2;
    /// Stopped or traced.
    pub const STOPPED: u64 = 0x4 | 0x8;
    pub const EXITING: u64 = 0x10 | 0x20;
    pub const PARKED: u64 = 0x40;
    pub const DEAD: u64 = 0x80;
    /// With UNINTERRUPTIBLE: idle, of kernel threads.
    pub const NO_LOAD: u64 = 0x400;
    pub const FROZEN: u64 = 0x8000;
    /// In the field of the classic tracepoint: idle (`TASK_REPORT_IDLE`).
    pub const REPORTED_IDLE: u64 = 0x80;
    /// In the field of the classic tracepoint: preempted (`TASK_REPORT_MAX`).
    pub const REPORTED_PREEMPTED: u64 = 0x100;
}

impl Switch {
    /// From `sched_switch(preempt, prev, next[, prev_state])`.
    #[inline(always)]
    pub fn of_btf(ctx: &BtfTracePointContext) -> Self {
        let ctx = ctx.as_ptr();
        let (preempted, next) = (load!(u64, ctx, "0") & 0xff != 0, load!(u64, ctx, "16"));
        let state = if preempted {
            0
        } else if settings::switch_has_state() {
            load!(u64, ctx, "24") & 0xffff_ffff
        } else {
            let mut state = 0u32;
            let from = load!(u64, ctx, "8").wrapping_add(settings::task_state().into());
            read_kernel(&raw mut state, 4, from);
            state.into()
        };
        // Without helpers, of which a call alone takes 10 ns: the verifier knows the structure, and the offsets.
        let prev = load!(u64, ctx, "8");
        let ids = Ids {
            pid: number(prev, settings::task_tgid()),
            tid: number(prev, settings::task_pid()),
        };
        Self { ids, next_tid: number(next, settings::task_pid()), state: state_of(state) }
    }

    /// From the fields of `sched/sched_switch`: `prev_state` at 32, `next_pid` at 56.
    #[inline(always)]
    pub fn of_tracepoint(ctx: &TracePointContext) -> Self {
        let ctx = ctx.as_ptr();
        let (reported, next_tid) = (load!(u64, ctx, "32"), load!(u64, ctx, "56") as u32);
        let state = if reported & bits::REPORTED_PREEMPTED != 0 {
            Some(ThreadState::Runnable)
        } else if reported & bits::EXITING != 0 {
            None
        } else if reported & bits::REPORTED_IDLE != 0 {
            Some(ThreadState::Sleeping)
        } else {
            Some(kind(reported))
        };
        Self { ids: Ids::new(bpf_get_current_pid_tgid()), next_tid, state }
    }
}

/// A number in a `task_struct` of a BTF tracepoint.
#[inline(always)]
fn number(task: u64, offset: u32) -> u32 {
    let place = task.wrapping_add(offset.into());
    load!(u32, place, "0") as u32
}

/// What a thread with this `task_struct.__state` is; `None` where it dies.
#[inline(always)]
pub fn state_of(state: u64) -> Option<ThreadState> {
    if state & (bits::EXITING | bits::DEAD) != 0 { None } else { Some(kind(state)) }
}

/// The [`ThreadState`] of a `task_struct.__state` of a thread that lives.
#[inline(always)]
fn kind(state: u64) -> ThreadState {
    let idle = bits::UNINTERRUPTIBLE | bits::NO_LOAD;
    if state == 0 {
        ThreadState::Runnable
    } else if state & bits::INTERRUPTIBLE != 0 || state & idle == idle {
        ThreadState::Sleeping
    } else if state & (bits::STOPPED | bits::PARKED | bits::FROZEN) != 0 {
        ThreadState::Stopped
    } else {
        ThreadState::Uninterruptible
    }
}

/// Handles a switch. The walk goes on in `programs`, so the thread that comes is first.
#[inline(always)]
pub fn switch<C: EbpfContext>(ctx: &C, programs: &ProgramArray<2>, switch: &Switch) {
    let Some(live) = maps::live() else { return };
    let mut clock = Clock(0);
    resume(switch.next_tid, live, &mut clock);
    let ids = switch.ids;
    if ids.pid == 0 {
        return; // idle
    }
    let Some(state) = switch.state else {
        return forget(ids.tid, &mut clock);
    };
    if !filter::wants_current(ids.pid, live) {
        count(Counter::Filtered, 1);
        return;
    }
    let now = clock.now();
    if block(ctx, live, ids, state, now)
        && let Some(scratch) = maps::scratch(Owner::Switch)
    {
        walk(ctx, programs, scratch, ids, state, now);
    }
}

/// The time, asked for once in a switch and only if needed.
struct Clock(u64);

impl Clock {
    #[inline(always)]
    fn now(&mut self) -> u64 {
        if self.0 == 0 {
            // SAFETY: the helper takes nothing.
            self.0 = unsafe { bpf_ktime_get_ns() };
        }
        self.0
    }
}

/// A thread is back: what it was off the CPU for goes to its stack, or to what it carries.
#[inline(always)]
fn resume(tid: u32, live: &Live, clock: &mut Clock) {
    if tid == 0 {
        return;
    }
    let Some(entry) = threads::get(tid) else { return };
    let blocked_at_ns = entry.blocked_at_ns;
    if blocked_at_ns == 0 {
        return;
    }
    entry.blocked_at_ns = 0;
    let now = clock.now();
    let ns = now.saturating_sub(blocked_at_ns);
    if ns < live.min_block_ns {
        count(Counter::BlocksShort, 1);
        count(Counter::BlocksShortNs, ns);
        return;
    }
    if entry.kept == 0 {
        return carry(entry, ns);
    }
    if ns < live.carry_below_ns {
        count(Counter::BlocksCarried, 1);
        return carry(entry, ns);
    }
    if !send_resume(entry, tid, blocked_at_ns, now) {
        count(Counter::ResumesLost, 1);
        carry(entry, ns);
    }
}

/// A thread dies: what it carries goes up with it.
#[inline(always)]
fn forget(tid: u32, clock: &mut Clock) {
    let Some(entry) = threads::get(tid) else { return };
    let carries = entry.skipped.iter().fold(0, |blocks, skipped| blocks | skipped.blocks) != 0;
    if carries && !send_resume(entry, tid, 0, clock.now()) {
        count(Counter::ResumesLost, 1);
    }
    threads::remove(tid);
}

/// Adds to what the thread carries: time without a stack.
#[inline(always)]
fn carry(entry: &mut ThreadEntry, ns: u64) {
    let skipped = &mut entry.skipped[(entry.state & STATE_MASK) as usize];
    skipped.blocks += 1;
    skipped.ns += ns;
}

const SKIPPED_WORDS: usize = size_of::<[Skipped; THREAD_STATES]>() / 8;
const STATE_MASK: u32 = THREAD_STATES as u32 - 1;
const _: () = assert!(THREAD_STATES.is_power_of_two());

/// Sends the time, with what the thread carries, which is then zero.
#[inline(always)]
fn send_resume(entry: &mut ThreadEntry, tid: u32, blocked_at_ns: u64, now: u64) -> bool {
    let mut record = ResumeRecord {
        kind: RecordKind::Resume.raw(),
        // SAFETY: the helper takes nothing.
        cpu: unsafe { bpf_get_smp_processor_id() },
        pid: entry.pid,
        tid,
        blocked_at_ns,
        resumed_at_ns: now,
        skipped: entry.skipped,
    };
    let sent = emit::resume(&mut record);
    if sent {
        clear((&raw mut entry.skipped).cast::<[u64; SKIPPED_WORDS]>());
    }
    sent
}

/// Notes that the current thread leaves the CPU. Whether its stack is kept.
#[inline(always)]
fn block<C: EbpfContext>(ctx: &C, live: &Live, ids: Ids, state: ThreadState, now: u64) -> bool {
    let Some(entry) = threads::get_or_insert(ids.tid) else {
        if count(Counter::ThreadsFull, 1) == 0 {
            debug!(ctx, "the table of threads is full: thread {} is not followed", ids.tid);
        }
        return false;
    };
    let keep = rate::keeps(live, now);
    entry.blocked_at_ns = now;
    entry.pid = ids.pid;
    entry.state = state.raw();
    entry.kept = keep.into();
    if !keep {
        count(Counter::BlocksSkipped, 1);
    }
    keep
}

/// Walks the stack of the current thread, in `programs`, and sends it.
#[inline(always)]
fn walk<C: EbpfContext>(
    ctx: &C,
    programs: &ProgramArray<2>,
    scratch: &mut Scratch,
    ids: Ids,
    state: ThreadState,
    now: u64,
) {
    let (state, now) = (scratch.answer.pass(state.raw().into()), scratch.answer.pass(now));
    record::begin(scratch, RecordKind::Block, ids, now);
    scratch.record.state = state as u8;
    // Where a thread was preempted says nothing of what it waits for: a CPU.
    let runnable = state == ThreadState::Runnable.raw().into();
    let kernel = settings::block_kernel_stacks() && !runnable;
    scratch.needs = if kernel { record::KERNEL_STACK } else { 0 };
    let user = regs::of_current(scratch);
    if sample::begin_user(user, scratch) {
        // SAFETY: the programs of the array take this context; nothing is left to drop.
        unsafe { programs.tail_call(ctx, TAIL) };
    }
    record::finish(ctx, scratch);
}
