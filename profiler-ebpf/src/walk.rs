//! The walk of a user stack: picks the step for the code at hand, bounds the depth, and says why it
//! ended.
//!
//! A program does four frames and calls the next, its own continuation: more in one program would be as
//! fast, but newer verifiers go through every path of it. Tail calls end at 33, so past
//! [`USER_FRAMES_BASE`] the last one is to a program that loops, on kernels that can.

use aya_ebpf::{EbpfContext, btf_maps::ProgramArray, cty::c_void, helpers::generated::bpf_loop};
use profiler_common::{
    native::{MappingKind, step, walk::Position},
    walk::{USER_FRAMES_BASE, USER_FRAMES_DEEP, WalkEnd},
};

use crate::{
    arena,
    maps::{self, Owner, PROCESSES, Scratch},
    opaque::{clear, mask, masked},
    record,
    regs::UserRegs,
    settings,
    unwind::native,
    window::{Current, Memory, Window},
};

/// What a walk knows between two frames; in the scratch, between two programs.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Walk {
    /// The frame that comes next.
    pub position: Position,
    /// What the local copy of the stack holds.
    pub window: Window,
    /// Frames that were recorded.
    pub frames: u32,
    /// A [`WalkEnd`], when it has ended.
    pub end: u32,
}

impl Walk {
    /// Puts a walk into the scratch, at the innermost frame of a thread of process `pid`.
    #[inline(always)]
    pub fn begin(scratch: &mut Scratch, pid: u32, regs: &UserRegs) {
        Self::over(scratch, WalkEnd::DepthLimit);
        let position = &mut scratch.walk.position;
        put(&mut position.at.pc, regs.pc);
        put(&mut position.at.sp, regs.sp);
        put(&mut position.at.fp, regs.fp);
        put(&mut position.at.lr, regs.lr);
        put(&mut position.at.kept, regs.kept);
        if regs.compat {
            // 32-bit code keeps its frames in words of 4 bytes: only its innermost frame is shown.
            put(&mut position.at.fp, step::UNKNOWN);
            put(&mut position.code.start, regs.pc);
            put(&mut position.code.len, 1);
            put(&mut position.code.kind, MappingKind::NoRows.raw());
        } else if let Some(list) = PROCESSES.get_ptr(pid) {
            // SAFETY: a map value; while it is written, a list may be mixed from two, and then leads to
            // rows of other code, but not out of the arena.
            let list = unsafe { &*list };
            put(&mut position.list.region, list.region);
            put(&mut position.list.offset, list.offset);
            put(&mut position.list.count, list.count);
        }
    }

    /// Puts one into the scratch that has no frames.
    #[inline(always)]
    pub fn over(scratch: &mut Scratch, end: WalkEnd) {
        clear((&raw mut scratch.walk).cast::<[u64; size_of::<Walk>() / 8]>());
        put(&mut scratch.walk.position.code.kind, MappingKind::Pending.raw());
        put(&mut scratch.walk.end, end.raw());
    }

    /// Puts how it ended into the scratch.
    #[inline(always)]
    fn store_end(&self, scratch: &mut Scratch) {
        let (at, stored) = (&self.position.at, &mut scratch.walk);
        put(&mut stored.position.at.pc, at.pc);
        put(&mut stored.position.at.sp, at.sp);
        put(&mut stored.position.at.fp, at.fp);
        put(&mut stored.position.at.lr, at.lr);
        put(&mut stored.position.at.kept, at.kept);
        put(&mut stored.frames, self.frames);
        put(&mut stored.end, self.end);
    }

    /// Puts it into the scratch, to go on there. Its list stays the same, and its code mostly, which began at
    /// `code` when it was taken out.
    #[inline(always)]
    fn store(&self, scratch: &mut Scratch, code: u64) {
        self.store_end(scratch);
        let (ours, stored) = (&self.position, &mut scratch.walk.position);
        put(&mut stored.stacks, ours.stacks);
        put(&mut stored.guessed, ours.guessed);
        put(&mut scratch.walk.window, self.window);
        if ours.code.start != code {
            put(&mut stored.code.start, ours.code.start);
            put(&mut stored.code.len, ours.code.len);
            put(&mut stored.code.delta, ours.code.delta);
            put(&mut stored.code.region, ours.code.region);
            put(&mut stored.code.table, ours.code.table);
            put(&mut stored.code.rules, ours.code.rules);
            put(&mut stored.code.kind, ours.code.kind);
        }
    }

    /// Takes what differs between the ways to a frame, and was not passed on by them, through memory: the
    /// verifier then follows only one of them from here on. Nothing waits for these.
    #[inline(always)]
    fn settle(&mut self, scratch: &mut Scratch) {
        let (ours, passing) = (&mut self.position.at, &mut scratch.walk.position.at);
        pass(&mut ours.lr, &mut passing.lr);
        pass(&mut ours.kept, &mut passing.kept);
    }

    #[inline(always)]
    fn end(&mut self, end: WalkEnd) -> bool {
        self.end = end.raw();
        true
    }
}

/// Writes a value by itself: LLVM would call a `memcpy` for several, and on arm64 kernels before 6.0 a
/// program that calls functions may not make tail calls.
#[inline(always)]
fn put<T>(memory: &mut T, value: T) {
    // SAFETY: a reference.
    unsafe { (&raw mut *memory).write_volatile(value) }
}

/// Writes a value to memory and reads it back.
#[inline(always)]
fn pass<T: Copy>(value: &mut T, memory: &mut T) {
    put(memory, *value);
    // SAFETY: a reference.
    *value = unsafe { (&raw const *memory).read_volatile() };
}

/// Records the frame that `walk` stands at.
#[inline(always)]
pub fn record_frame(walk: &mut Walk, scratch: &mut Scratch) {
    const { assert!(USER_FRAMES_DEEP == 512) };
    *masked::<0x1ff, _, _>(&mut scratch.frames, walk.frames.into()) = walk.position.word();
    walk.frames += 1;
}

/// Records one frame and moves to its caller; true when the walk has ended.
///
/// The place where the kind of step is picked: all code is native so far.
#[inline(always)]
fn one<M: Memory>(
    walk: &mut Walk,
    table: &mut *const u8,
    scratch: &mut Scratch,
    memory: &M,
) -> bool {
    record_frame(walk, scratch);
    match native::step(walk, table, scratch, memory) {
        Ok(()) => false,
        Err(end) => walk.end(end),
    }
}

/// Written out: the verifier would go through each iteration of a loop with all that it knows.
#[inline(always)]
fn several<M: Memory>(walk: &mut Walk, scratch: &mut Scratch, memory: &M) -> bool {
    let Some(mut table) = arena::region(walk.position.code.region) else {
        return nowhere(walk, scratch);
    };
    let table = &mut table;
    one(walk, table, scratch, memory)
        || next(walk, table, scratch, memory)
        || next(walk, table, scratch, memory)
        || next(walk, table, scratch, memory)
}

#[inline(always)]
fn next<M: Memory>(
    walk: &mut Walk,
    table: &mut *const u8,
    scratch: &mut Scratch,
    memory: &M,
) -> bool {
    walk.settle(scratch);
    one(walk, table, scratch, memory)
}

/// Ends a walk without tables: there are none yet, or the one that was there is gone.
#[inline(always)]
fn nowhere(walk: &mut Walk, scratch: &mut Scratch) -> bool {
    record_frame(walk, scratch);
    walk.end(WalkEnd::NotReady)
}

/// The body of the continuation programs.
#[inline(always)]
pub fn tail<C: EbpfContext>(ctx: &C, programs: &ProgramArray<2>, owner: Owner) {
    let Some(scratch) = maps::scratch(owner) else { return };
    let mut walk = scratch.walk;
    let code = walk.position.code.start;
    if !several(&mut walk, scratch, &Current) {
        walk.end(WalkEnd::DepthLimit);
        walk.store(scratch, code);
        let next = if walk.frames < USER_FRAMES_BASE { maps::TAIL } else { maps::DEEP };
        if next == maps::TAIL || settings::max_user_frames() > USER_FRAMES_BASE {
            // SAFETY: the programs of an array take this context; nothing is left to drop.
            unsafe { programs.tail_call(ctx, next) };
        }
    }
    walk.store_end(scratch);
    record::finish(ctx, scratch);
}

/// The body of the programs behind the last tail call: the same steps in a loop, which costs a call
/// for each.
#[inline(always)]
pub fn deep<C: EbpfContext>(ctx: &C, owner: Owner) {
    const ITERATIONS: u32 = USER_FRAMES_DEEP - USER_FRAMES_BASE;
    let step: LoopStep = if owner == Owner::Sample { sample_step } else { switch_step };
    // SAFETY: the callback takes no context.
    unsafe { bpf_loop(ITERATIONS, step as *mut c_void, core::ptr::null_mut(), 0) };
    let Some(scratch) = maps::scratch(owner) else { return };
    record::finish(ctx, scratch);
}

type LoopStep = unsafe extern "C" fn(u32, *mut c_void) -> i64;

#[inline(never)]
unsafe extern "C" fn sample_step(_: u32, _: *mut c_void) -> i64 {
    step_in_scratch(Owner::Sample, &Current)
}

#[inline(never)]
unsafe extern "C" fn switch_step(_: u32, _: *mut c_void) -> i64 {
    step_in_scratch(Owner::Switch, &Current)
}

/// One step of a walk that stays in the scratch, so that all look alike to the verifier; 1 when it has
/// ended, as `bpf_loop` wants to know.
#[inline(always)]
pub fn step_in_scratch<M: Memory>(owner: Owner, memory: &M) -> i64 {
    let Some(scratch) = maps::scratch(owner) else { return 1 };
    let mut walk = scratch.walk;
    let code = walk.position.code.start;
    let ended = match arena::region(walk.position.code.region) {
        Some(mut table) => one(&mut walk, &mut table, scratch, memory),
        None => nowhere(&mut walk, scratch),
    };
    walk.store(scratch, code);
    // Newer verifiers want to know that it is 0 or 1.
    mask::<1>(ended.into()) as i64
}
