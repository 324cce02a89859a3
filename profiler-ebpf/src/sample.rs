//! A sample of the clock: what was on the CPU when it hit.

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns},
    programs::PerfEventContext,
};
use profiler_common::{
    counter::Counter,
    live::{Live, marks},
    record::RecordKind,
    walk::WalkEnd,
};

use crate::{
    filter,
    maps::{self, Owner, Scratch, TAIL, TAIL_PERF, count},
    record::{self, Ids},
    regs::{self, UserSide},
    walk::Walk,
};

/// The clock hit.
#[inline(always)]
pub fn on_cpu(ctx: &PerfEventContext) {
    // The registers first: the compiler must not move the context's pointer before they are read.
    let hit = regs::of_sample(ctx);
    let ids = Ids::new(bpf_get_current_pid_tgid());
    if ids.pid == 0 {
        return; // idle
    }
    let Some(live) = maps::live() else { return };
    if !filter::wants_current(ids.pid, live) {
        count(Counter::Filtered, 1);
        return;
    }
    // SAFETY: the helper takes nothing.
    let now = unsafe { bpf_ktime_get_ns() };
    if !is_due(ids.pid, live, now) {
        return;
    }
    let Some(scratch) = maps::scratch(Owner::Sample) else { return };
    record::begin(scratch, RecordKind::OnCpu, ids, now);
    let (user, needs) = match hit {
        Some(regs) => (UserSide::At(regs), 0),
        None => (regs::of_current(scratch), record::KERNEL_STACK),
    };
    scratch.needs = needs;
    if begin_user(user, scratch) {
        // SAFETY: the programs of the array take this context; nothing is left to drop.
        unsafe { TAIL_PERF.tail_call(ctx, TAIL) };
    }
    record::finish(ctx, scratch);
}

/// Whether a hit of the clock is a sample of this process: while the clock hits more often for some
/// processes, the others have one sample in each of their own, longer periods. Which hits these are is
/// decided by the time alone, and not by who was seen first, so that nobody is seen more often than he
/// runs.
#[inline(always)]
fn is_due(pid: u32, live: &Live, now_ns: u64) -> bool {
    let every = live.others_every_ns;
    every == 0 || now_ns % every < live.period_ns || maps::marks(pid) & marks::BURST != 0
}

/// Puts the beginning of the user's stack into the scratch; false where there is none to walk.
#[inline(always)]
pub fn begin_user(user: UserSide, scratch: &mut Scratch) -> bool {
    match user {
        UserSide::At(regs) => {
            let pid = scratch.record.pid;
            Walk::begin(scratch, pid, &regs);
            true
        }
        UserSide::Absent => {
            Walk::over(scratch, WalkEnd::Absent);
            false
        }
        UserSide::Unknown => {
            scratch.needs |= record::USER_STACK;
            Walk::over(scratch, WalkEnd::NoRegisters);
            false
        }
    }
}
