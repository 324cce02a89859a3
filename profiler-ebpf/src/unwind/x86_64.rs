//! What the code of x86-64 from a program counter on does to the stack, up to its `ret`: so it is known
//! where the return address is, whether there is a frame yet, still, or never.
//!
//! The code is followed past conditional jumps and calls. That is sound for what compilers make: every
//! way from one place to a `ret` takes the same words off the stack.

use super::{
    code::{CODE_BYTES, CodeBytes, PROLOGUE_WORDS, Prologue, bytes},
    x86_64_lengths::{self as lengths, ENDBR64},
};
use crate::opaque::Unknown;

/// Instructions that are followed.
const MAX_INSTRUCTIONS: u32 = 10;

/// How far the code was followed. Kept in the scratch, so that all instructions look alike to the
/// verifier.
#[derive(Default)]
#[repr(C)]
pub struct WayOut {
    /// Where in the code bytes the next instruction is.
    at: Unknown,
    /// Length of the instruction there.
    len: Unknown,
    /// Bytes that were taken off the stack.
    taken: Unknown,
    /// 1 + how many bytes above the stack pointer the caller's frame pointer lies; 0 while it is in
    /// its register.
    fp: Unknown,
    /// How it ended.
    end: Unknown,
    /// Not 0 when a call was passed: it may be one that never returns, with another function behind it.
    called: Unknown,
}

/// Where a function that has no frame has what its caller needs, in bytes above the stack pointer.
#[derive(Clone, Copy)]
pub struct Saved {
    /// The return address.
    pub return_address: u64,
    /// 1 + place of the caller's frame pointer; 0 where it is in its register.
    pub fp: u64,
    /// The code makes, or gives back, a frame: so its callers have one.
    pub keeps_frames: bool,
}

/// What one instruction means.
enum Effect {
    /// Nothing that ends the way.
    Next,
    /// The way ends: [`UNKNOWN`], [`TOP`], [`BEFORE`] or [`PUSHED`].
    Ends(u64),
}

/// There is a frame, or there is no telling.
const UNKNOWN: u64 = 0;
/// The return address is on top of the stack.
const TOP: u64 = 1;
/// Likewise, and a frame is to be made.
const BEFORE: u64 = 2;
/// The caller's frame pointer is on top of the stack, the return address above it.
const PUSHED: u64 = 3;

/// Follows the code from byte `at` on; `None` where the frame pointer is to be believed.
#[inline(always)]
pub fn follow(code: &CodeBytes, at: u64, way: &mut WayOut) -> Option<Saved> {
    way.at.set(at);
    way.taken.set(0);
    way.fp.set(0);
    way.called.set(0);
    way.end.set(if leaves_by_jump(code, way.at.get()) { BEFORE } else { UNKNOWN });
    let mut count = 0;
    while count < MAX_INSTRUCTIONS && way.end.get() == UNKNOWN {
        match instruction(code, way) {
            Effect::Next => {}
            Effect::Ends(UNKNOWN) => break,
            Effect::Ends(end) => way.end.set(end),
        }
        count += 1;
    }
    // From memory: all ends look alike from here on.
    let (end, taken, fp) = (way.end.get(), way.taken.get(), way.fp.get());
    match end {
        TOP => Some(Saved { return_address: taken, fp, keeps_frames: false }),
        BEFORE => Some(Saved { return_address: taken, fp, keeps_frames: true }),
        PUSHED => Some(Saved { return_address: taken + 8, fp: taken + 1, keeps_frames: true }),
        _ => None,
    }
}

/// A call in tail position: the frame was given back right before the jump.
#[inline(always)]
fn leaves_by_jump(code: &CodeBytes, at: u64) -> bool {
    if at == 0 {
        return false;
    }
    let before = bytes(code, at - 1);
    let (last, next) = (before & 0xff, before >> 8);
    // A REX prefix before FF does not matter here.
    let indirect = if next & 0xf0 == 0x40 { next >> 8 } else { next };
    let jumps = matches!(next & 0xff, 0xe9 | 0xeb) || indirect & 0x38ff == 0x20ff;
    matches!(last, POP_RBP | LEAVE) && jumps
}

const PUSH_RBP: u64 = 0x55;
const POP_RBP: u64 = 0x5d;
const POP_RSP: u64 = 0x5c;
const LEAVE: u64 = 0xc9;
/// REX.B: the register is one of r8 to r15.
const REX_B: u64 = 1;
/// REX.R: likewise, of the middle three bits of ModRM.
const REX_R: u64 = 4;
/// REX.W: 64 bits.
const REX_W: u64 = 8;

/// The meaning of the instruction that comes next.
#[inline(always)]
fn instruction(code: &CodeBytes, way: &mut WayOut) -> Effect {
    let at = way.at.get();
    if at > CODE_BYTES - 8 {
        return Effect::Ends(UNKNOWN);
    }
    let bytes = bytes(code, at);
    if bytes as u32 == ENDBR64 && way.called.get() != 0 {
        return Effect::Ends(UNKNOWN);
    }
    let decoded = lengths::decode(bytes);
    way.len.set(decoded.len);
    let effect = match decoded.stack {
        0 => Effect::Next,
        _ => on_stack(decoded.rest, decoded.rex, way),
    };
    let len = way.len.get();
    way.at.set(at + len);
    match effect {
        Effect::Next if len == 0 => Effect::Ends(UNKNOWN),
        effect => effect,
    }
}

/// Notes what an instruction does to the stack; says so when that is the end of the way. `bytes` begin
/// with its opcode.
#[inline(always)]
fn on_stack(bytes: u64, rex: u64, way: &mut WayOut) -> Effect {
    let (opcode, operands) = (bytes & 0xff, bytes >> 8);
    let modrm = operands & 0xff;
    // ModRM: a register in its middle three bits, a register or memory in the others.
    let (middle, last) = ((modrm >> 3) & 7, modrm & 0xc7);
    let writes_rsp_last = last == 0xc4 && rex & REX_B == 0;
    let writes_rsp_middle = middle == 4 && rex & REX_R == 0;
    match opcode {
        0xc2 | 0xc3 => Effect::Ends(TOP),
        LEAVE => Effect::Ends(UNKNOWN),
        // In code with frame pointers, it has no frame yet.
        PUSH_RBP if rex & REX_B == 0 && untouched(way) => Effect::Ends(BEFORE),
        0x50..=0x57 => Effect::Ends(UNKNOWN),
        POP_RSP if rex & REX_B == 0 => Effect::Ends(UNKNOWN),
        0x58..=0x5f => {
            if opcode == POP_RBP && rex & REX_B == 0 {
                way.fp.set(way.taken.get() + 1);
            }
            take(way, 8)
        }
        // mov rbp, rsp
        0x89 if modrm == 0xe5 && rex == REX_W && untouched(way) => Effect::Ends(PUSHED),
        0x8b if modrm == 0xec && rex == REX_W && untouched(way) => Effect::Ends(PUSHED),
        // add rsp, n
        0x83 if modrm == 0xc4 && rex == REX_W => take(way, sign_extended_8(operands >> 8)),
        0x81 if modrm == 0xc4 && rex == REX_W => take(way, sign_extended_32(operands >> 8)),
        // lea rsp, [rsp + n]
        0x8d if operands & 0xffff == 0x2464 => take(way, sign_extended_8(operands >> 16)),
        0x81 | 0x83 | 0x89 if writes_rsp_last => Effect::Ends(UNKNOWN),
        0x8b | 0x8d if writes_rsp_middle => Effect::Ends(UNKNOWN),
        0xe8 => call(way),
        0xff if middle == 2 => call(way),
        0xff if middle == 6 => Effect::Ends(UNKNOWN),
        0xe9 | 0xeb => jump(way),
        0xff if middle == 4 => jump(way),
        _ => Effect::Next,
    }
}

/// Nothing has happened on the way yet that would put this place into another function.
#[inline(always)]
fn untouched(way: &WayOut) -> bool {
    way.called.get() | way.taken.get() == 0
}

#[inline(always)]
fn take(way: &mut WayOut, bytes: u64) -> Effect {
    way.taken.set(way.taken.get().wrapping_add(bytes));
    Effect::Next
}

#[inline(always)]
fn call(way: &mut WayOut) -> Effect {
    way.called.set(1);
    Effect::Next
}

/// A call in tail position, if all has been given back; else who knows where to.
#[inline(always)]
fn jump(way: &WayOut) -> Effect {
    Effect::Ends(if way.taken.get() != 0 { TOP } else { UNKNOWN })
}

#[inline(always)]
fn sign_extended_8(bytes: u64) -> u64 {
    bytes as i8 as i64 as u64
}

#[inline(always)]
fn sign_extended_32(bytes: u64) -> u64 {
    bytes as i32 as i64 as u64
}

/// `syscall` ends right before byte `at`.
#[inline(always)]
pub fn follows_syscall(code: &CodeBytes, at: u64) -> bool {
    at >= 2 && bytes(code, at - 2) & 0xffff == 0x050f
}

/// Whether there is a `mov rbp, rsp` in the beginning of a function, up to where it is.
#[inline(always)]
pub fn makes_frame(prologue: &Prologue) -> bool {
    let mut found = 0;
    let mut index = 0;
    while index < PROLOGUE_WORDS {
        let (word, next) = (prologue[index], prologue[index + 1]);
        // And those that begin in the last two bytes of this word and end in the next.
        found |= moves(word) | moves((word >> 32) | (next << 32));
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
    const REST: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let differs = word ^ (byte * LOW);
    !(((differs & REST) + REST) | differs | REST)
}
