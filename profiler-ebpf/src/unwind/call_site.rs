//! Whether a word could be a return address: whether a call stands before the place that it leads to.

use crate::{settings, window::Memory};

const PAGE: u64 = 4096;

/// Whether the instruction before `return_address` is a call.
#[inline(always)]
pub fn follows_call<M: Memory>(memory: &M, return_address: u64) -> bool {
    // No further back than the page of the call's last byte: the page before may be absent.
    let in_page = (return_address.wrapping_sub(1) & (PAGE - 1)) + 1;
    let back = if in_page < 8 { in_page } else { 8 };
    let mut bytes = 0u64;
    if !memory.read(&raw mut bytes, 8, return_address.wrapping_sub(back)) {
        return false;
    }
    let before = bytes << ((8 - back) * 8);
    if settings::is_arm() { is_arm64_call(before) } else { is_x86_64_call(before) }
}

/// `bl`; `blr`, `blraa`, `blrab` and their kin. The last 4 of 8 bytes are the instruction.
#[inline(always)]
fn is_arm64_call(bytes: u64) -> bool {
    let instruction = bytes >> 32;
    instruction >> 26 == 0b100101 || instruction & 0xfeff_f000 == 0xd63f_0000
}

/// `call rel32`; `call r/m64`, opcode FF, whose second byte has 2 in its middle three bits, in each
/// length. The instruction ends with the last of 8 bytes.
#[inline(always)]
fn is_x86_64_call(bytes: u64) -> bool {
    const CALL: u64 = 0x10ff;
    const FIELD: u64 = 0x38ff;
    // Each is 0 where it is a call; a product, of 42 and 36 bits, has no branch for the verifier to follow.
    let is_not = |shift: u64| ((bytes >> shift) & FIELD) ^ CALL;
    let near = ((bytes >> 24) & 0xff) ^ 0xe8;
    let short = is_not(48) * is_not(40) * is_not(32);
    let long = is_not(16) * is_not(8) * near;
    short == 0 || long == 0
}
