//! What code of x86-64 says of the frame of the function that it is in.

use super::{
    call_site::ENDBR64,
    leaf::{CodeBytes, PROLOGUE_WORDS, Place},
};
use crate::opaque::{hidden, mask};

/// `push rbp`
const PUSH: u64 = 0x55;
/// `pop rbp`
const POP: u64 = 0x5d;
/// `leave`
const LEAVE: u64 = 0xc9;
/// `mov rbp, rsp`, 3 bytes
const MOVE: u64 = 0xe5_89_48;
/// `syscall`, 2 bytes
const SYSCALL: u64 = 0x05_0f;

/// Where the return address is, as far as the bytes around the program counter say; it is `at` bytes
/// into them.
#[inline(always)]
pub fn place(code: &CodeBytes, at: u64) -> Place {
    let next = bytes(code, at);
    let before = before(code, at);
    let last = before >> 56;
    if returns(next) || next as u32 == ENDBR64 {
        return Place::Top;
    }
    if next & 0xff_ffff == MOVE {
        return Place::Pushed;
    }
    // Between `push rbp` and `mov rbp, rsp` the compiler may place another instruction.
    if next & 0xff == PUSH && move_follows(next >> 8) {
        return Place::Top;
    }
    if last == PUSH && move_follows(next) {
        return Place::Pushed;
    }
    if (last == POP || last == LEAVE) && jumps(next) {
        return Place::Top;
    }
    if before >> 48 == SYSCALL && stub_returns(next, bytes(code, at + 8)) {
        return Place::Top;
    }
    if returns_after_one(next) {
        return Place::Top;
    }
    Place::Unsure
}

/// `ret`, `ret imm16`, also behind a prefix `bnd` or `rep`.
#[inline(always)]
fn returns(code: u64) -> bool {
    code & 0xfe == 0xc2 || code & 0xfefe == 0xc2f2
}

/// `mov rbp, rsp` within the next bytes.
#[inline(always)]
fn move_follows(code: u64) -> bool {
    let code = hidden(code);
    code & 0xff_ffff == MOVE
        || (code >> 16) & 0xff_ffff == MOVE
        || (code >> 24) & 0xff_ffff == MOVE
        || (code >> 32) & 0xff_ffff == MOVE
        || (code >> 40) & 0xff_ffff == MOVE
}

/// A jump out of a function: `jmp rel`, `jmp r/m64`.
#[inline(always)]
fn jumps(code: u64) -> bool {
    // A REX prefix before FF does not matter here.
    let indirect = if code & 0xf0 == 0x40 { code >> 8 } else { code };
    code & 0xff == 0xe9 || code & 0xff == 0xeb || indirect & 0x38ff == 0x20ff
}

/// glibc's end of a system call: `cmp rax, -4096; ja error; ret`.
#[inline(always)]
fn stub_returns(next: u64, further: u64) -> bool {
    next & 0xffff == 0x3d48
        && (next >> 24) & 0xff_ffff == 0xff_fff0
        && (((next >> 48) & 0xff == 0x77 && further & 0xff == 0xc3)
            || (next >> 48 == 0x870f && (further >> 32) & 0xff == 0xc3))
}

/// One instruction between registers, or a constant into one, and `ret`: nothing is given back in
/// between, so there is no frame.
#[inline(always)]
fn returns_after_one(code: u64) -> bool {
    let code = if code & 0xf0 == 0x40 { code >> 8 } else { code };
    let (opcode, registers, third) = (code & 0xff, code & 0xc000 == 0xc000, (code >> 16) & 0xff);
    // add, or, and, sub, xor, cmp, test, mov, each of 32 or 64 bits
    let plain = opcode & 0xc5 == 0x01 || opcode == 0x85 || opcode & 0xfd == 0x89;
    (plain && registers && third == 0xc3) || (opcode & 0xf8 == 0xb8 && (code >> 40) & 0xff == 0xc3)
}

/// Whether a function, `inside` bytes after its beginning, has come past `mov rbp, rsp`.
#[inline(always)]
pub fn makes_frame(prologue: &[u64; PROLOGUE_WORDS], inside: u64) -> bool {
    let mut found = 0;
    let mut index = 0;
    while index < PROLOGUE_WORDS {
        let word = prologue[index];
        let next = if index + 1 < PROLOGUE_WORDS { prologue[index + 1] } else { 0 };
        let mut begins = moves(word);
        // Those that begin in the last two bytes of this word and end in the next.
        begins |= moves((word >> 32) | (next << 32)) << 32;
        let left = inside.wrapping_sub(8 * index as u64);
        if left < 8 {
            begins &= (1u64 << (left * 8)) - 1;
        }
        found |= begins;
        if left <= 8 {
            break;
        }
        index += 1;
    }
    found != 0
}

/// The top bit of each byte at which a `mov rbp, rsp` begins that ends in the same word.
#[inline(always)]
fn moves(word: u64) -> u64 {
    equal_bytes(word, 0x48) & (equal_bytes(word, 0x89) >> 8) & (equal_bytes(word, 0xe5) >> 16)
}

/// The top bit of each byte that equals `byte`.
#[inline(always)]
fn equal_bytes(word: u64, byte: u64) -> u64 {
    const LOW: u64 = 0x0101_0101_0101_0101;
    let differs = word ^ (byte * LOW);
    !(((differs & (0x7f * LOW)) + 0x7f * LOW) | differs | 0x7f * LOW)
}

/// The 8 bytes at a byte's position; beyond the end, zeros.
#[inline(always)]
fn bytes(code: &CodeBytes, at: u64) -> u64 {
    const LAST: u64 = 7;
    const { assert!(size_of::<CodeBytes>() / 8 > LAST as usize + 1) };
    let index = mask::<LAST>(at >> 3) as usize;
    // SAFETY: the masked index and the next are less than the length, as asserted.
    let (low, high) = unsafe { (*code.get_unchecked(index), *code.get_unchecked(index + 1)) };
    let shift = (at & 7) * 8;
    (low >> shift) | ((high << 1) << (63 - shift))
}

/// The 8 bytes before a byte's position, the last one on top; before the beginning, zeros.
#[inline(always)]
fn before(code: &CodeBytes, at: u64) -> u64 {
    if at >= 8 {
        bytes(code, at - 8)
    } else if at > 0 {
        bytes(code, 0) << ((8 - at) * 8)
    } else {
        0
    }
}
