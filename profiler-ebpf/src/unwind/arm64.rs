//! What the code of arm64 from a program counter on does to the link register, up to its `ret`: so it
//! is known whether that still, or again, holds the return address.

use super::code::{CODE_BYTES, CodeBytes, PROLOGUE_WORDS, Prologue, bytes};
use crate::opaque::hidden;

/// Instructions that are followed.
const MAX_INSTRUCTIONS: u32 = 16;

/// What the code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The link register holds the return address.
    Returns,
    /// It is loaded from the stack before the return, or overwritten by a call: there is a frame.
    Framed,
    /// The end was not reached.
    Unknown,
}

/// Follows the code from byte `at` on, past conditional branches.
#[inline(always)]
pub fn follow(code: &CodeBytes, at: u64) -> Way {
    let mut count = 0;
    let mut at = hidden(at);
    while count < MAX_INSTRUCTIONS {
        if at > CODE_BYTES - 4 {
            return Way::Unknown;
        }
        let instruction = instruction(code, at);
        if returns(instruction) || saves(instruction) || makes(instruction) {
            return Way::Returns;
        }
        if restores(instruction) || calls(instruction) {
            return Way::Framed;
        }
        if branches(instruction) {
            return Way::Unknown;
        }
        at = hidden(at + 4);
        count += 1;
    }
    Way::Unknown
}

/// `ret`, `retaa`, `retab`
#[inline(always)]
fn returns(instruction: u64) -> bool {
    matches!(instruction, 0xd65f_03c0 | 0xd65f_0bff | 0xd65f_0fff)
}

/// The beginning of a function that makes a frame: `paciasp`, `pacibsp`, or `stp x29, x30, [sp, …]`
/// with or without `!`.
#[inline(always)]
fn saves(instruction: u64) -> bool {
    matches!(instruction, 0xd503_233f | 0xd503_237f)
        || instruction & 0xffc0_7fff == 0xa980_7bfd
        || instruction & 0xffc0_7fff == 0xa900_7bfd
}

/// `mov x29, sp`, or `add x29, sp, #n`: from here on there is a frame.
#[inline(always)]
fn makes(instruction: u64) -> bool {
    instruction & 0xffc0_03ff == 0x9100_03fd
}

/// `ldp x29, x30, [sp, …]` in its forms, and `ldr x30, [sp], #n`.
#[inline(always)]
fn restores(instruction: u64) -> bool {
    instruction & 0xfe40_7fff == 0xa840_7bfd || instruction & 0xffe0_0fff == 0xf840_07fe
}

/// `bl`, `blr` and its kin.
#[inline(always)]
fn calls(instruction: u64) -> bool {
    instruction >> 26 == 0b10_0101 || instruction & 0xfeff_f000 == 0xd63f_0000
}

/// `b`, `br` and its kin, `udf`, `brk`.
#[inline(always)]
fn branches(instruction: u64) -> bool {
    instruction >> 26 == 0b00_0101
        || instruction & 0xfeff_f000 == 0xd61f_0000
        || instruction >> 16 == 0
        || instruction & 0xffe0_001f == 0xd420_0000
}

/// Whether the beginning of a function, up to where it is, makes a frame.
#[inline(always)]
pub fn makes_frame(prologue: &Prologue) -> bool {
    let mut index = 0;
    while index < PROLOGUE_WORDS {
        let word = prologue[index];
        if makes(word & 0xffff_ffff) || makes(word >> 32) {
            return true;
        }
        index += 1;
    }
    false
}

/// The instruction at a byte's position.
#[inline(always)]
fn instruction(code: &CodeBytes, at: u64) -> u64 {
    bytes(code, at) & 0xffff_ffff
}
