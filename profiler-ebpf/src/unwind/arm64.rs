//! What code of arm64 says of the frame of the function that it is in.

use super::leaf::{CodeBytes, PROLOGUE_WORDS, Place};
use crate::opaque::mask;

/// `svc #0`
const SYSCALL: u64 = 0xd400_0001;

/// Where the return address is, as far as the bytes around the program counter say; it is `at` bytes
/// into them.
#[inline(always)]
pub fn place(code: &CodeBytes, at: u64) -> Place {
    let next = instruction(code, at);
    if returns(next) || begins(next) || makes(next) {
        return Place::Top;
    }
    if at >= 4 && instruction(code, at - 4) == SYSCALL && stub_returns(code, at) {
        return Place::Top;
    }
    Place::Unsure
}

/// `ret`, `retaa`, `retab`
#[inline(always)]
fn returns(instruction: u64) -> bool {
    matches!(instruction, 0xd65f_03c0 | 0xd65f_0bff | 0xd65f_0fff)
}

/// What stands before the frame is made: `bti`, `paciasp`, `pacibsp`, `stp x29, x30, [sp, #-n]!`.
#[inline(always)]
fn begins(instruction: u64) -> bool {
    instruction & 0xffff_ff3f == 0xd503_241f
        || matches!(instruction, 0xd503_233f | 0xd503_237f)
        || instruction & 0xffc0_7fff == 0xa980_7bfd
}

/// `mov x29, sp`, or `add x29, sp, #n`: from here on there is a frame.
#[inline(always)]
fn makes(instruction: u64) -> bool {
    instruction & 0xffc0_03ff == 0x9100_03fd
}

/// The end of a system call's wrapper: `cmn x0, #4095; b.hi error; ret`.
#[inline(always)]
fn stub_returns(code: &CodeBytes, at: u64) -> bool {
    returns(instruction(code, at))
        || returns(instruction(code, at + 4))
        || returns(instruction(code, at + 8))
}

/// Whether a function, `inside` bytes after its beginning, has come past the making of its frame.
#[inline(always)]
pub fn makes_frame(prologue: &[u64; PROLOGUE_WORDS], inside: u64) -> bool {
    let mut index = 0;
    while index < PROLOGUE_WORDS {
        let at = 8 * index as u64;
        let word = prologue[index];
        if (inside > at && makes(word & 0xffff_ffff)) || (inside > at + 4 && makes(word >> 32)) {
            return true;
        }
        index += 1;
    }
    false
}

/// The instruction at a byte's position.
#[inline(always)]
fn instruction(code: &CodeBytes, at: u64) -> u64 {
    const LAST: u64 = 7;
    const { assert!(size_of::<CodeBytes>() / 8 > LAST as usize) };
    let index = mask::<LAST>(at >> 3) as usize;
    // SAFETY: the masked index is less than the length, as asserted.
    let word = unsafe { *code.get_unchecked(index) };
    (word >> ((at & 4) * 8)) & 0xffff_ffff
}
