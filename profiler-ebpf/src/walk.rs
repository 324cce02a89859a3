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
    arena::{self, Known},
    maps::{self, FRAME_SLOTS, Owner, PROCESSES, Scratch},
    opaque::{Unknown, clear, mask, masked},
    record,
    regs::UserRegs,
    settings,
    unwind::native,
    window::{Current, Memory, WINDOW_WORDS, Window},
};

/// What a walk knows between two frames. It stays in the scratch: a copy on the stack would be made and written
/// back in each program, and of what comes from a map value the verifier knows nothing that it would have to
/// follow, whichever way led to it.
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

/// What the steps of a walk use beside it.
pub struct Room<'a> {
    frames: &'a mut [u64; FRAME_SLOTS],
    /// The local copy of the stack.
    pub window: &'a mut [u64; WINDOW_WORDS],
    /// Words through which values pass that the verifier is to forget.
    pub answer: &'a mut Unknown,
    /// The same, while that one is in use.
    pub passing: &'a mut Unknown,
}

impl Walk {
    /// The walk in a scratch, and what its steps use.
    #[inline(always)]
    fn of(scratch: &mut Scratch) -> (&mut Self, Room<'_>) {
        let Scratch { walk, frames, window, answer, passing, .. } = scratch;
        (walk, Room { frames, window, answer, passing })
    }

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
            put(&mut position.code.kind, MappingKind::NoRows.short());
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
        put(&mut scratch.walk.position.code.kind, MappingKind::Pending.short());
        put(&mut scratch.walk.end, end.raw());
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

/// Records the frame that `walk` stands at.
#[inline(always)]
fn record_frame(walk: &mut Walk, room: &mut Room<'_>) {
    const { assert!(USER_FRAMES_DEEP == 512) };
    *masked::<0x1ff, _, _>(room.frames, walk.frames.into()) = walk.position.word();
    walk.frames += 1;
}

/// Records one frame and moves to its caller; true when the walk has ended.
///
/// The place where the kind of step is picked: all code is native so far.
#[inline(always)]
fn one<M: Memory>(
    walk: &mut Walk,
    (table, known): (&mut *const u8, Known),
    room: &mut Room<'_>,
    memory: &M,
) -> bool {
    record_frame(walk, room);
    match native::step(walk, table, known, room, memory) {
        Ok(()) => false,
        Err(end) => walk.end(end),
    }
}

/// Frames that one program does; the last of [`USER_FRAMES_BASE`] is the last of a program, and tail calls end
/// at 33.
const AT_ONCE: u32 = 4;
const _: () = assert!(USER_FRAMES_BASE.is_multiple_of(AT_ONCE) && USER_FRAMES_BASE / AT_ONCE < 33);

/// A loop, and not written out: the same code for each frame is a fourth as much to fetch, and a sample mostly
/// finds its code in no cache. The verifier goes through each iteration either way.
#[inline(always)]
fn several<M: Memory>(walk: &mut Walk, room: &mut Room<'_>, memory: &M) -> bool {
    let Some((mut table, known)) = tables(walk) else { return nowhere(walk, room) };
    for _ in 0..AT_ONCE {
        if one(walk, (&mut table, known), room, memory) {
            return true;
        }
    }
    false
}

/// The region with the table of the code that the walk is in, and what is remembered of tables.
#[inline(always)]
fn tables(walk: &Walk) -> Option<(*const u8, Known)> {
    Some((arena::region(walk.position.code.region.into())?, Known::find()?))
}

/// Ends a walk without tables: there are none yet, or the one that was there is gone.
#[inline(always)]
fn nowhere(walk: &mut Walk, room: &mut Room<'_>) -> bool {
    record_frame(walk, room);
    walk.end(WalkEnd::NotReady)
}

/// The body of the continuation programs.
#[inline(always)]
pub fn tail<C: EbpfContext>(ctx: &C, programs: &ProgramArray<2>, owner: Owner) {
    let Some(scratch) = maps::scratch(owner) else { return };
    let (walk, mut room) = Walk::of(scratch);
    if !several(walk, &mut room, &Current) {
        walk.end(WalkEnd::DepthLimit);
        let next = if walk.frames < USER_FRAMES_BASE { maps::TAIL } else { maps::DEEP };
        if next == maps::TAIL || settings::max_user_frames() > USER_FRAMES_BASE {
            // SAFETY: the programs of an array take this context; nothing is left to drop.
            unsafe { programs.tail_call(ctx, next) };
        }
    }
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
    let (walk, mut room) = Walk::of(scratch);
    let ended = match tables(walk) {
        Some((mut table, known)) => one(walk, (&mut table, known), &mut room, memory),
        None => nowhere(walk, &mut room),
    };
    // Newer verifiers want to know that it is 0 or 1.
    mask::<1>(ended.into()) as i64
}
