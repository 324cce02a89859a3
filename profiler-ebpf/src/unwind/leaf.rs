//! The first step of a walk. The innermost function may not have made its frame yet, may have given it
//! back already, or may be one that never makes one: then the frame pointer is its caller's, and a
//! step over it would miss the caller.
//!
//! What tells is the code: a few bytes around the program counter decide most cases. Where they do
//! not, the word that would be the return address does: if it follows a call to the function that we
//! are in, which has made no frame so far, it is one.

use crate::{
    maps::Scratch,
    regs::UserRegs,
    settings,
    unwind::{arm64, call_site, may_be_code, plain_address, x86_64},
    walk::{self, Walk},
    window::Memory,
};

/// Where the innermost function's return address is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In its frame: the ordinary case.
    Frame,
    /// On top of the stack; in the link register on arm64.
    Top,
    /// Below the frame pointer that was pushed just now.
    Pushed,
    /// The code does not say.
    Unsure,
}

/// The code around a program counter: 32 bytes of its page, and zeros.
pub type CodeBytes = [u64; 9];

/// A function without a frame is no longer than this.
const MAX_LEAF: u64 = 64 << 10;
/// Bytes at the beginning of a function in which its frame is made.
pub const PROLOGUE_WORDS: usize = 8;

/// Takes `walk` from a leaf without a frame to its caller. Does nothing in the ordinary case.
#[inline(always)]
pub fn step<M: Memory>(walk: &mut Walk, regs: &UserRegs, scratch: &mut Scratch, memory: &M) {
    let Some(at) = read_code(memory, regs.pc, &mut scratch.code) else { return };
    cover_top(walk, scratch, memory);
    let place = if settings::is_arm() {
        arm64::place(&scratch.code, at)
    } else {
        x86_64::place(&scratch.code, at)
    };
    if place == Place::Frame {
        return;
    }
    let Some((address, sp)) = candidate(walk, regs, scratch, place == Place::Pushed) else {
        return;
    };
    if place == Place::Unsure && !is_caller(walk, scratch, memory, regs, address) {
        return;
    }
    walk::record_frame(walk, scratch);
    walk.pc = address;
    walk.sp = sp;
}

/// Copies the bytes around `pc`, and says where in them it is.
#[inline(always)]
fn read_code<M: Memory>(memory: &M, pc: u64, code: &mut CodeBytes) -> Option<u64> {
    const LEN: u64 = 32;
    // From 8 bytes before it, but never out of its page: the next may be absent.
    let page = pc & !4095;
    let at = pc & 4095;
    let start = if at < 8 { 0 } else { at - 8 };
    let start = page + if start > 4096 - LEN { 4096 - LEN } else { start };
    memory.read(code.as_mut_ptr(), LEN as u32, start).then_some(pc - start)
}

/// Brings the top of the stack into the window: with the first frame, where that is near.
#[inline(always)]
fn cover_top<M: Memory>(walk: &mut Walk, scratch: &mut Scratch, memory: &M) {
    let (sp, fp) = (walk.sp, walk.fp);
    let near = fp & 7 == 0 && fp.wrapping_sub(sp) < 1024;
    walk.window.cover(&mut scratch.window, memory, sp, if near { fp } else { sp & !7 });
}

/// The return address, if the function has no frame, and the stack pointer in its caller.
#[inline(always)]
fn candidate(walk: &Walk, regs: &UserRegs, scratch: &Scratch, pushed: bool) -> Option<(u64, u64)> {
    let sp = walk.sp;
    let found = if settings::is_arm() {
        (plain_address(regs.lr), sp)
    } else {
        if sp & 7 != 0 || !walk.window.holds(sp) {
            return None;
        }
        let (top, next) = walk.window.pair(&scratch.window, sp);
        if pushed { (next, sp.wrapping_add(16)) } else { (top, sp.wrapping_add(8)) }
    };
    may_be_code(found.0).then_some(found)
}

/// Whether `address` is where the function around `pc`, which has no frame yet, returns to.
#[inline(always)]
fn is_caller<M: Memory>(
    walk: &Walk,
    scratch: &mut Scratch,
    memory: &M,
    regs: &UserRegs,
    address: u64,
) -> bool {
    // Most words on a stack point into the stack, or are small.
    if address.wrapping_sub(walk.sp).wrapping_add(STACK) < 2 * STACK {
        return false;
    }
    let pc = regs.pc;
    let Some(mut entry) = call_site::read(memory, address).target(memory) else { return false };
    if pc.wrapping_sub(entry) >= MAX_LEAF && !settings::is_arm() {
        let Some(linked) = call_site::linked(memory, entry) else { return false };
        entry = linked;
    }
    let inside = pc.wrapping_sub(entry);
    if inside >= MAX_LEAF {
        return false;
    }
    if walk.window.holds(walk.fp) && walk.fp & 7 == 0 {
        // The frame that there is: if a function that begins after `entry` made it, we are in that.
        let framed = plain_address(walk.window.pair(&scratch.window, walk.fp).1);
        if settings::is_arm() && framed == address {
            return false;
        }
        if may_be_code(framed)
            && let Some(start) = call_site::read(memory, framed).target(memory)
            && pc.wrapping_sub(start) < inside
        {
            return false;
        }
    }
    let mut prologue = [0u64; PROLOGUE_WORDS];
    if !memory.read(&raw mut prologue, size_of_val(&prologue) as u32, entry) {
        return false;
    }
    !if settings::is_arm() {
        arm64::makes_frame(&prologue, inside)
    } else {
        x86_64::makes_frame(&prologue, inside)
    }
}

/// Words that are no further from the stack pointer point into the stack.
const STACK: u64 = 16 << 20;
