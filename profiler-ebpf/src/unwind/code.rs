//! The local copy of the code around a program counter, and of the beginning of a function.

use crate::opaque::mask;

/// The code around a program counter: [`CODE_BYTES`], and zeros.
pub type CodeBytes = [u64; 17];
/// Bytes of code that are copied.
pub const CODE_BYTES: u64 = 72;
/// How many of them lie before the program counter, if they are in its page.
pub const BEFORE: u64 = 8;

/// Words at the beginning of a function in which its frame is made.
pub const PROLOGUE_WORDS: usize = 8;
/// The beginning of a function, up to a place in it; behind that, zeros.
pub type Prologue = [u64; PROLOGUE_WORDS + 1];

/// The 8 bytes at a byte's position; beyond the end, zeros.
#[inline(always)]
pub fn bytes(code: &CodeBytes, at: u64) -> u64 {
    const LAST: u64 = 15;
    const { assert!(size_of::<CodeBytes>() / 8 > LAST as usize + 1) };
    let index = mask::<LAST>(at >> 3) as usize;
    // SAFETY: the masked index and the next are less than the length, as asserted.
    let (low, high) = unsafe { (*code.get_unchecked(index), *code.get_unchecked(index + 1)) };
    let shift = (at & 7) * 8;
    (low >> shift) | ((high << 1) << (63 - shift))
}
