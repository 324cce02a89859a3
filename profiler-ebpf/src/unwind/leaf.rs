//! The first steps of a walk. The innermost function may not have made its frame yet, may have given it
//! back already, or may be one that never makes one, such as the wrappers of system calls in a C library
//! without frame pointers: then the frame pointer is its caller's, and a step over it would miss the
//! caller.
//!
//! Most samples are in a function with a frame, which shows in what lies on top of their stack. Where
//! that could be a return address, or the thread is in a system call, the code decides: [`x86_64`] and
//! [`arm64`] follow it to its way out. Where that does not end soon, a word is taken for the return
//! address if it follows a call to the very function, which has made no frame so far.

use crate::{
    maps::Scratch,
    opaque::{clear, mask},
    regs::UserRegs,
    settings,
    unwind::{
        arm64,
        call_site::{self, CallSite},
        code::{BEFORE, CODE_BYTES, CodeBytes, PROLOGUE_WORDS},
        may_be_code, plain_address,
        x86_64::{self, Saved},
    },
    walk::{self, Walk},
    window::Memory,
};

/// Functions without a frame, one called by the other, that are left at the end of a stack: `usleep`,
/// `nanosleep`, `clock_nanosleep`.
const MAX_LEAVES: u32 = 3;
/// A function without a frame is no longer than this.
const MAX_LEAF: u64 = 64 << 10;
/// A call that entered a function not this far before a place has probably entered the one around it.
const NEAR: u64 = 2 << 10;
/// Words that are no further from the stack pointer point into the stack.
const STACK: u64 = 16 << 20;

/// Takes `walk` from functions without a frame to the first one with a frame. Does nothing in the
/// ordinary case.
#[inline(always)]
pub fn steps<M: Memory>(walk: &mut Walk, regs: &UserRegs, scratch: &mut Scratch, memory: &M) {
    cover_top(walk, scratch, memory);
    if settings::is_arm() {
        return arm64_step(walk, regs, scratch, memory);
    }
    let mut count = 0;
    while count < MAX_LEAVES {
        if !x86_64_step(walk, count == 0, scratch, memory) {
            return;
        }
        count += 1;
    }
}

/// One step from a function without a frame; whether its caller may be another one.
#[inline(always)]
fn x86_64_step<M: Memory>(
    walk: &mut Walk,
    innermost: bool,
    scratch: &mut Scratch,
    memory: &M,
) -> bool {
    walk.settle(scratch);
    let pc = walk.pc;
    let Some(at) = read_code(memory, pc, &mut scratch.code) else { return false };
    let lacks = innermost && may_lack_frame(walk, scratch);
    if innermost && !lacks && !x86_64::follows_syscall(&scratch.code, at) {
        return false;
    }
    scratch.answer.set(lacks.into());
    let followed = x86_64::follow(&scratch.code, at, &mut scratch.way);
    let saved = followed.unwrap_or(Saved { return_address: 0, fp: 0, keeps_frames: false });
    let place = walk.sp.wrapping_add(saved.return_address);
    let Some(address) = word(walk, scratch, memory, place) else { return false };
    if !may_be_code(address) {
        return false;
    }
    let call = call_site::read(memory, address);
    let target = call.target(memory);
    let proved = match followed {
        Some(_) => call.is_call(),
        None if !innermost => false,
        None => scratch.answer.get() != 0 && enters(walk, scratch, memory, pc, target),
    };
    if !proved {
        return false;
    }
    let fp = match saved.fp.checked_sub(1) {
        Some(above) => word(walk, scratch, memory, walk.sp.wrapping_add(above)),
        None => Some(walk.fp),
    };
    walk::record_frame(walk, scratch);
    walk.pc = address;
    walk.sp = place.wrapping_add(8);
    walk.fp = fp.unwrap_or(0);
    // A call through a linkage table came from another binary.
    let same_binary = target.is_some_and(|entry| pc.wrapping_sub(entry) < MAX_LEAF);
    !saved.keeps_frames && same_binary && !has_frame(walk, scratch, memory, address, NEAR)
}

/// Whether the top of the stack could be what a function without a frame has there: a return address,
/// or its caller's frame pointer, pushed just now.
#[inline(always)]
fn may_lack_frame(walk: &Walk, scratch: &Scratch) -> bool {
    if walk.sp & 7 != 0 || !walk.window.holds(walk.sp) {
        return false;
    }
    let top = walk.window.pair(&scratch.window, walk.sp).0;
    let in_stack = top.wrapping_sub(walk.sp).wrapping_add(STACK) < 2 * STACK;
    top == walk.fp || (may_be_code(top) && !in_stack)
}

/// Copies the bytes around `pc`, and says where in them it is.
#[inline(always)]
fn read_code<M: Memory>(memory: &M, pc: u64, code: &mut CodeBytes) -> Option<u64> {
    const PAGE: u64 = 4096;
    let offset = pc & (PAGE - 1);
    let start = pc - if offset < BEFORE { offset } else { BEFORE };
    if memory.read(code.as_mut_ptr(), CODE_BYTES as u32, start) {
        return Some(pc - start);
    }
    // The next page is absent.
    let start = (pc | (PAGE - 1)) - (CODE_BYTES - 1);
    memory.read(code.as_mut_ptr(), CODE_BYTES as u32, start).then(|| pc.wrapping_sub(start))
}

/// Brings the top of the stack into the window: with the first frame, where that is near.
#[inline(always)]
fn cover_top<M: Memory>(walk: &mut Walk, scratch: &mut Scratch, memory: &M) {
    let (sp, fp) = (walk.sp, walk.fp);
    let near = fp & 7 == 0 && fp.wrapping_sub(sp) < 1024;
    walk.window.cover(&mut scratch.window, memory, sp, if near { fp } else { sp & !7 });
}

/// One word of the stack.
#[inline(always)]
fn word<M: Memory>(walk: &Walk, scratch: &Scratch, memory: &M, address: u64) -> Option<u64> {
    if address & 7 == 0 && walk.window.holds(address) {
        return Some(walk.window.pair(&scratch.window, address).0);
    }
    let mut word = 0u64;
    memory.read(&raw mut word, 8, address).then_some(word)
}

/// Whether a call to `target` entered the function around `pc`, which has made no frame so far.
#[inline(always)]
fn enters<M: Memory>(
    walk: &Walk,
    scratch: &mut Scratch,
    memory: &M,
    pc: u64,
    target: Option<u64>,
) -> bool {
    let Some(mut entry) = target else { return false };
    if pc.wrapping_sub(entry) >= MAX_LEAF && !settings::is_arm() {
        let Some(linked) = call_site::linked(memory, entry) else { return false };
        entry = linked;
    }
    let inside = pc.wrapping_sub(entry);
    if inside >= MAX_LEAF || has_frame(walk, scratch, memory, pc, inside) {
        return false;
    }
    const MOST: u64 = 8 * PROLOGUE_WORDS as u64 - 1;
    let prologue = &mut scratch.prologue;
    clear(prologue);
    let len = mask::<MOST>(if inside > MOST { MOST } else { inside });
    if !memory.read(prologue.as_mut_ptr(), len as u32, entry) {
        return false;
    }
    !if settings::is_arm() { arm64::makes_frame(prologue) } else { x86_64::makes_frame(prologue) }
}

/// Whether the frame that there is was made by a function that begins less than `inside` bytes before
/// `pc`: then `pc` is in that one.
#[inline(always)]
fn has_frame<M: Memory>(walk: &Walk, scratch: &Scratch, memory: &M, pc: u64, inside: u64) -> bool {
    let Some(address) = framed(walk, scratch) else { return false };
    let start = call_site::read(memory, address).target(memory);
    start.is_some_and(|start| pc.wrapping_sub(start) < inside)
}

/// The return address in the frame that there is, if the window holds it.
#[inline(always)]
fn framed(walk: &Walk, scratch: &Scratch) -> Option<u64> {
    if walk.fp & 7 != 0 || !walk.window.holds(walk.fp) {
        return None;
    }
    let address = plain_address(walk.window.pair(&scratch.window, walk.fp).1);
    may_be_code(address).then_some(address)
}

/// The link register holds the return address as long as the function has called no other.
#[inline(always)]
fn arm64_step<M: Memory>(walk: &mut Walk, regs: &UserRegs, scratch: &mut Scratch, memory: &M) {
    let address = plain_address(regs.lr);
    if !may_be_code(address) || framed(walk, scratch) == Some(address) {
        return;
    }
    let Some(at) = read_code(memory, regs.pc, &mut scratch.code) else { return };
    let lacks = match arm64::follow(&scratch.code, at) {
        arm64::Way::Returns => true,
        arm64::Way::Framed => false,
        arm64::Way::Unknown => {
            let target = CallSite::target(call_site::read(memory, address), memory);
            enters(walk, scratch, memory, regs.pc, target)
        }
    };
    if lacks {
        walk::record_frame(walk, scratch);
        walk.pc = address;
    }
}
