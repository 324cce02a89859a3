//! The walk of a user stack: picks the step for the code at hand, bounds the depth, and says why it
//! ended.
//!
//! A program does four frames and calls the next, its own continuation: more in one program would be as
//! fast, but newer verifiers go through every path of it. Tail calls end at 33, so past
//! [`USER_FRAMES_BASE`] the last one is to a program that loops, on kernels that can.

use aya_ebpf::{EbpfContext, btf_maps::ProgramArray, cty::c_void, helpers::generated::bpf_loop};
use profiler_common::walk::{USER_FRAMES_BASE, USER_FRAMES_DEEP, WalkEnd};

use crate::{
    maps::{self, Owner, Scratch},
    opaque::masked,
    record,
    regs::UserRegs,
    settings,
    unwind::{frame_pointer, leaf},
    window::{Current, Memory, Window},
};

/// What a walk knows between two frames; in the scratch, between two programs.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Walk {
    /// The address of the frame that comes next.
    pub pc: u64,
    /// Where that frame's part of the stack begins: frames further out are above.
    pub sp: u64,
    /// Its frame pointer.
    pub fp: u64,
    /// What the local copy of the stack holds.
    pub window: Window,
    /// Frames that were recorded.
    pub frames: u32,
    /// A [`WalkEnd`], when it has ended.
    pub end: u32,
    /// How often the walk went on on another stack.
    pub stacks: u32,
    /// Padding.
    pub _pad: u32,
}

impl Walk {
    /// At the innermost function with a frame; those that have none, further in, are recorded.
    #[inline(always)]
    pub fn begin<M: Memory>(regs: &UserRegs, scratch: &mut Scratch, memory: &M) -> Self {
        let mut walk = Self {
            pc: regs.pc,
            sp: regs.sp,
            fp: plain_fp(regs),
            ..Self::over(WalkEnd::DepthLimit)
        };
        if !regs.compat {
            leaf::steps(&mut walk, regs, scratch, memory);
        }
        walk
    }

    /// One that has no frames.
    #[inline(always)]
    pub fn over(end: WalkEnd) -> Self {
        let window = Window::EMPTY;
        Self { pc: 0, sp: 0, fp: 0, window, frames: 0, end: end.raw(), stacks: 0, _pad: 0 }
    }

    /// The same through memory, word by word: what the verifier knew of each way to here is forgotten,
    /// so that it follows only one of them from here on.
    #[inline(always)]
    pub fn settle(&mut self, scratch: &mut Scratch) {
        const WORDS: usize = size_of::<Walk>() / 8;
        const { assert!(size_of::<Walk>() % 8 == 0) };
        let (ours, stored) =
            ((&raw mut *self).cast::<u64>(), (&raw mut scratch.walk).cast::<u64>());
        let mut word = 0;
        while word < WORDS {
            // SAFETY: within two structures of this type, which are whole words without padding.
            unsafe {
                stored.add(word).write_volatile(*ours.add(word));
                *ours.add(word) = stored.add(word).read_volatile();
            }
            word += 1;
        }
    }

    /// A chain that ends in the caller of `main` is whole, though a C library without frame pointers
    /// lets it break there: further out is only what starts a program.
    #[inline(always)]
    pub fn judge_end<M: Memory>(&mut self, memory: &M) {
        if self.end == WalkEnd::BrokenChain.raw() && called_main(memory, self.pc) {
            self.end = WalkEnd::Complete.raw();
        }
    }

    #[inline(always)]
    fn end(&mut self, end: WalkEnd) -> bool {
        self.end = end.raw();
        true
    }
}

/// Whether the call before `return_address` was that of `main`, as it is in glibc and musl on x86-64:
/// `exit(main(…))`, where `mov edi, eax; call exit` follows.
#[inline(always)]
fn called_main<M: Memory>(memory: &M, return_address: u64) -> bool {
    const EXIT: u64 = 0xe8_c789;
    let mut next = 0u64;
    !settings::is_arm() && memory.read(&raw mut next, 8, return_address) && next & 0xff_ffff == EXIT
}

/// 32-bit code keeps its frames in words of 4 bytes: only its innermost frame is shown.
#[inline(always)]
fn plain_fp(regs: &UserRegs) -> u64 {
    if regs.compat { 1 } else { regs.fp }
}

/// Records the frame that `walk` stands at.
#[inline(always)]
pub fn record_frame(walk: &mut Walk, scratch: &mut Scratch) {
    const { assert!(USER_FRAMES_DEEP == 512) };
    *masked::<0x1ff, _, _>(&mut scratch.frames, walk.frames.into()) = walk.pc;
    walk.frames += 1;
}

/// Records one frame and moves to its caller; true when the walk has ended.
///
/// The place where the kind of step is picked: by frame pointer, so far the only one.
#[inline(always)]
fn one<M: Memory>(walk: &mut Walk, scratch: &mut Scratch, memory: &M) -> bool {
    record_frame(walk, scratch);
    match frame_pointer::step(walk, scratch, memory) {
        Ok(()) => false,
        Err(end) => walk.end(end),
    }
}

/// Written out: the verifier would go through each iteration of a loop with all that it knows.
#[inline(always)]
fn several<M: Memory>(walk: &mut Walk, scratch: &mut Scratch, memory: &M) -> bool {
    one(walk, scratch, memory)
        || one(walk, scratch, memory)
        || one(walk, scratch, memory)
        || one(walk, scratch, memory)
}

/// The body of the continuation programs.
#[inline(always)]
pub fn tail<C: EbpfContext>(ctx: &C, programs: &ProgramArray<2>, owner: Owner) {
    let Some(scratch) = maps::scratch(owner) else { return };
    let mut walk = scratch.walk;
    if !several(&mut walk, scratch, &Current) {
        walk.end(WalkEnd::DepthLimit);
        scratch.walk = walk;
        let next = if walk.frames < USER_FRAMES_BASE { maps::TAIL } else { maps::DEEP };
        if next == maps::TAIL || settings::max_user_frames() > USER_FRAMES_BASE {
            // SAFETY: the programs of an array take this context; nothing is left to drop.
            unsafe { programs.tail_call(ctx, next) };
        }
    }
    walk.judge_end(&Current);
    record::finish(ctx, scratch, &walk);
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
    let mut walk = scratch.walk;
    walk.judge_end(&Current);
    record::finish(ctx, scratch, &walk);
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

/// One step of a walk that stays in the scratch, so that all look alike to the verifier; 1 when it has ended, as `bpf_loop` wants to know.
#[inline(always)]
pub fn step_in_scratch<M: Memory>(owner: Owner, memory: &M) -> i64 {
    let Some(scratch) = maps::scratch(owner) else { return 1 };
    let mut walk = scratch.walk;
    let ended = one(&mut walk, scratch, memory);
    scratch.walk = walk;
    ended.into()
}
