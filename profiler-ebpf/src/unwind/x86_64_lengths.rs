//! How long an instruction of x86-64 is: enough of the opcode map for the code that stands around
//! calls and returns. What is not in it has no length, and ends the following of code.
//!
//! By tables and arithmetic where other decoders have branches: the verifier goes through every
//! combination of those.

use crate::opaque::{is_zero, mask};

/// `endbr64`, where functions begin that may be called indirectly.
pub const ENDBR64: u32 = 0xfa1e_0ff3;

/// The opcode is known: else the byte is a prefix, or ends the following.
const KNOWN: u8 = 0x80;
/// Of a known opcode: how many bytes of constant follow.
const CONSTANT: u8 = 0x07;
/// Of a known opcode: it has a ModRM byte, perhaps with more behind it.
const MODRM: u8 = 0x10;
/// Of a known opcode: the constant has 4 bytes more behind REX.W.
const WIDE: u8 = 0x20;
/// Of a known opcode: only `test`, the first of the group, has a constant, of 1 or 4 bytes.
const TEST: u8 = 0x40;
/// Of a known opcode: it may do something to the stack.
const STACK: u8 = 0x08;
/// Of a byte that is no known opcode: a second opcode follows.
const ESCAPE: u8 = 0x08;
/// Likewise: a REX prefix.
const REX: u8 = 0x20;
/// Likewise: another prefix.
const PREFIX: u8 = 0x40;
/// Of such a prefix: it makes constants of 4 bytes 2 bytes long.
const SHORT: u8 = 0x01;

// Not mangled: the names stand in the object's BTF, and a mangled one holds a hash of the crate's path.

/// By opcode, then by second opcode behind 0F.
#[unsafe(no_mangle)]
static OPCODES: [u8; 512] = opcodes();

/// By ModRM byte: its length with what belongs to it.
#[unsafe(no_mangle)]
static MODRM_LENGTHS: [u8; 256] = modrm_lengths();

const fn opcodes() -> [u8; 512] {
    let mut map = [0; 512];
    map[0x0f] = ESCAPE;
    map[0x66] = PREFIX | SHORT;
    map[0x64] = PREFIX; // thread-local storage
    map[0xf2] = PREFIX; // repetitions
    map[0xf3] = PREFIX;
    let mut rex = 0x40;
    while rex < 0x50 {
        map[rex] = REX;
        rex += 1;
    }
    let mut block = 0;
    while block < 0x40 {
        // add, or, adc, sbb, and, sub, xor, cmp
        set(&mut map, block, block + 3, MODRM);
        set(&mut map, block + 4, block + 4, 1);
        set(&mut map, block + 5, block + 5, 4);
        block += 8;
    }
    set(&mut map, 0x58, 0x5f, STACK); // pop
    set(&mut map, 0x63, 0x63, MODRM); // movsxd
    set(&mut map, 0x69, 0x69, MODRM | 4); // imul
    set(&mut map, 0x6b, 0x6b, MODRM | 1);
    set(&mut map, 0x70, 0x7f, 1); // conditional jumps
    set(&mut map, 0x80, 0x80, MODRM | 1);
    set(&mut map, 0x81, 0x81, STACK | MODRM | 4);
    set(&mut map, 0x83, 0x83, STACK | MODRM | 1);
    set(&mut map, 0x84, 0x88, MODRM); // test, xchg, mov
    set(&mut map, 0x89, 0x89, STACK | MODRM);
    set(&mut map, 0x8a, 0x8a, MODRM);
    set(&mut map, 0x8b, 0x8b, STACK | MODRM);
    set(&mut map, 0x8d, 0x8d, STACK | MODRM); // lea
    set(&mut map, 0x90, 0x99, 0); // nop, xchg, sign extensions
    set(&mut map, 0xa8, 0xa8, 1); // test
    set(&mut map, 0xa9, 0xa9, 4);
    set(&mut map, 0xb0, 0xb7, 1); // mov
    set(&mut map, 0xb8, 0xbf, WIDE | 4);
    set(&mut map, 0xc0, 0xc1, MODRM | 1); // shifts
    set(&mut map, 0xc6, 0xc6, MODRM | 1); // mov
    set(&mut map, 0xc7, 0xc7, MODRM | 4);
    set(&mut map, 0xd0, 0xd3, MODRM); // shifts
    set(&mut map, 0xd8, 0xdf, MODRM); // x87
    set(&mut map, 0xe8, 0xe8, STACK | 4); // call
    set(&mut map, 0xf6, 0xf7, MODRM | TEST); // test, not, neg, mul, div
    set(&mut map, 0xfe, 0xfe, MODRM); // inc, dec
    set(&mut map, 0xff, 0xff, STACK | MODRM); // inc, dec, call
    let two = 0x100; // behind 0F
    set(&mut map, two + 0x05, two + 0x05, 0); // syscall
    set(&mut map, two + 0x10, two + 0x1f, MODRM); // vector moves, prefetch, nop
    set(&mut map, two + 0x28, two + 0x2f, MODRM);
    set(&mut map, two + 0x40, two + 0x6f, MODRM); // conditional and vector moves
    set(&mut map, two + 0x70, two + 0x73, MODRM | 1);
    set(&mut map, two + 0x74, two + 0x76, MODRM);
    set(&mut map, two + 0x7e, two + 0x7f, MODRM);
    set(&mut map, two + 0x80, two + 0x8f, 4); // conditional jumps
    set(&mut map, two + 0x90, two + 0x9f, MODRM); // set
    set(&mut map, two + 0xa3, two + 0xa3, MODRM); // bt
    set(&mut map, two + 0xa4, two + 0xa4, MODRM | 1); // shld
    set(&mut map, two + 0xab, two + 0xab, MODRM);
    set(&mut map, two + 0xac, two + 0xac, MODRM | 1); // shrd
    set(&mut map, two + 0xae, two + 0xb9, MODRM); // fences, imul, cmpxchg, movzx, popcnt
    set(&mut map, two + 0xba, two + 0xba, MODRM | 1);
    set(&mut map, two + 0xbb, two + 0xc1, MODRM); // bsf, bsr, movsx, xadd
    set(&mut map, two + 0xc2, two + 0xc6, MODRM | 1);
    set(&mut map, two + 0xc3, two + 0xc3, MODRM);
    set(&mut map, two + 0xc8, two + 0xcf, 0); // bswap
    set(&mut map, two + 0xd0, two + 0xfe, MODRM); // vectors
    map
}

const fn set(map: &mut [u8; 512], first: usize, last: usize, shape: u8) {
    let mut opcode = first;
    while opcode <= last {
        map[opcode] = KNOWN | shape;
        opcode += 1;
    }
}

const fn modrm_lengths() -> [u8; 256] {
    let mut lengths = [0; 256];
    let mut modrm = 0;
    while modrm < 256 {
        let (mode, last) = (modrm >> 6, modrm & 7);
        let sib = (mode != 3 && last == 4) as u8;
        let displacement = match mode {
            1 => 1,
            2 => 4,
            0 if last == 5 => 4,
            _ => 0,
        };
        lengths[modrm] = 1 + sib + displacement;
        modrm += 1;
    }
    lengths
}

/// An instruction, taken apart.
pub struct Instruction {
    /// The prefix REX, its lower four bits; 0 without one.
    pub rex: u64,
    /// The bytes from the opcode on.
    pub rest: u64,
    /// Length of all of it, 0 where that is not known.
    pub len: u64,
    /// Not 0 where it may do something to the stack.
    pub stack: u64,
}

/// Takes apart the instruction that `bytes` begin with.
#[inline(always)]
pub fn decode(bytes: u64) -> Instruction {
    let first = class(bytes & 0xff);
    let prefix = has(first, PREFIX) & !has(first, KNOWN);
    let short = prefix & first & u64::from(SHORT);
    let rest = bytes >> (prefix * 8);
    let second = class(rest & 0xff);
    let has_rex = has(second, REX) & !has(second, KNOWN);
    let rex = (rest & 0xf) * has_rex;
    let rest = rest >> (has_rex * 8);
    let third = class(rest & 0xff);
    let escape = has(third, ESCAPE) & !has(third, KNOWN);
    let shape = class((escape << 8) | ((rest >> (escape * 8)) & 0xff));
    let operands = rest >> (8 + escape * 8);
    let opcode = prefix + has_rex + 1 + escape;
    let memory = (entry(&MODRM_LENGTHS, operands) + 4 * lacks_base(operands)) * has(shape, MODRM);
    let len = opcode + memory + constant(shape, rest, rex, short);
    let known = has(shape, KNOWN);
    Instruction { rex, rest, len: len * known, stack: (known ^ 1) | has(shape, STACK) }
}

/// How many bytes of constant an instruction has.
#[inline(always)]
fn constant(shape: u64, rest: u64, rex: u64, short: u64) -> u64 {
    let plain = shape & u64::from(CONSTANT);
    let wide = 4 * has(shape, WIDE) * (rex >> 3);
    let test = (1 + 3 * (rest & 1)) * has(shape, TEST) * is_zero(rest & 0x3000);
    plain + wide + test - 2 * short * (plain >> 2)
}

/// 1 for an address of which the SIB byte names no base register: 4 more bytes.
#[inline(always)]
fn lacks_base(operands: u64) -> u64 {
    is_zero((operands & 0x07c7) ^ 0x0504)
}

/// 1 where a class has a bit, else 0.
#[inline(always)]
fn has(class: u64, bit: u8) -> u64 {
    (class >> bit.trailing_zeros()) & 1
}

#[inline(always)]
fn class(index: u64) -> u64 {
    const { assert!(OPCODES.len() == 512) };
    // SAFETY: the masked index is less than the length, as asserted.
    unsafe { *OPCODES.as_ptr().add(mask::<0x1ff>(index) as usize) }.into()
}

#[inline(always)]
fn entry(table: &'static [u8; 256], index: u64) -> u64 {
    // SAFETY: the masked index is less than the length.
    unsafe { *table.as_ptr().add(mask::<0xff>(index) as usize) }.into()
}
