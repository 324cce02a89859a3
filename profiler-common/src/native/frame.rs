//! Where a frame lies: its canonical frame address, by a rule.
//!
//! Nearly all code has it a number of words from its stack or frame pointer. The rest is kept together, so
//! that the verifier meets each kind of access once.

use super::rule::{Cfa, Rule};
use super::step::{CALLER, CALLING, RUNNING, Registers, Stack, Stop};
use crate::walk::WalkEnd;

/// A frame is no larger, in bytes: what lies further away is another stack, or no frame.
pub const MAX_FRAME: u64 = 64 << 20;

/// Finds the canonical address of the frame of a function that runs, or called another, by the rule for its
/// place. Where the return address is in a register of its own, it is put in the place of the link register.
#[inline(always)]
pub fn find<S: Stack>(
    rule: Rule,
    at: &mut Registers,
    stack: &mut S,
    is_arm: bool,
) -> Result<u64, Stop> {
    let by_fp = rule.cfa() == Cfa::Fp.raw();
    let cfa = if rule.cfa() == Cfa::Sp.raw() {
        at.sp.wrapping_add(rule.offset())
    } else if by_fp {
        at.fp.wrapping_add(rule.offset())
    } else {
        rare(rule, at, stack, is_arm)?
    };
    if cfa.wrapping_sub(at.sp) >= MAX_FRAME || cfa & 7 != 0 {
        // A frame pointer may lead to another stack: Go's, from the one that C runs on.
        return Err(if by_fp { Stop::NoRule } else { Stop::End(WalkEnd::BadRow) });
    }
    Ok(cfa)
}

/// The frame of code that has it neither by its stack pointer nor by its frame pointer.
#[inline(always)]
fn rare<S: Stack>(
    rule: Rule,
    at: &mut Registers,
    stack: &mut S,
    is_arm: bool,
) -> Result<u64, Stop> {
    let kind = rule.cfa();
    let near = at.sp.wrapping_add(rule.offset());
    if kind == Cfa::End.raw() {
        return Err(Stop::End(WalkEnd::Complete));
    }
    if kind == Cfa::Plt.raw() {
        let pushed = if at.pc & 15 >= rule.extra() { 8 } else { 0 };
        return Ok(near.wrapping_add(pushed));
    }
    if kind == Cfa::SpBytes.raw() {
        return Ok(at.sp.wrapping_add(rule.bytes()));
    }
    let mut value = 0;
    if kind == Cfa::Register.raw()
        || kind == Cfa::Clone.raw()
        || kind == Cfa::SpReturnRegister.raw()
        || kind == Cfa::SpIndexLoad.raw()
    {
        value = match register(rule.register(), at, stack, is_arm) {
            Ok(value) => value,
            // A thread that begins is the innermost frame, whose registers are known.
            Err(Stop::NoRule) if kind == Cfa::Clone.raw() => 1,
            Err(stop) => return Err(stop),
        };
        if kind == Cfa::Register.raw() {
            return Ok(value.wrapping_add(rule.offset()));
        }
        if kind != Cfa::SpIndexLoad.raw() {
            // A new thread begins where the system call returned 0; and code is not at 0.
            if value == 0 {
                return Err(Stop::End(WalkEnd::Complete));
            }
            if kind == Cfa::SpReturnRegister.raw() {
                at.lr = value;
            }
            return Ok(near);
        }
    }
    let (place, addend) = if kind == Cfa::SpIndexLoad.raw() {
        (near.wrapping_add(value << 3), rule.index_addend())
    } else if kind == Cfa::SpLoad.raw() {
        (near, rule.extra() * 8)
    } else if kind == Cfa::FpLoad.raw() {
        (at.fp.wrapping_add(rule.offset()), rule.extra() * 8)
    } else {
        return Err(Stop::NoRule);
    };
    let word = stack.word(place).ok_or(Stop::End(WalkEnd::Unreadable))?;
    Ok(word.wrapping_add(addend))
}

/// DWARF number of rbx.
const RBX: u64 = 3;

/// A register of the frame, by its DWARF number; not the stack pointer.
#[inline(always)]
fn register<S: Stack>(
    number: u64,
    at: &Registers,
    stack: &mut S,
    is_arm: bool,
) -> Result<u64, Stop> {
    let (in_kernel, in_context) = places(number, is_arm);
    let kept = stack.forget(at.kept);
    let place = if number == RBX && !is_arm {
        if at.lr & 1 == 0 {
            return if at.lr == 0 { Err(Stop::NoRule) } else { Ok(at.lr) };
        }
        at.lr - 1
    } else if kept == CALLER {
        return Err(Stop::NoRule);
    } else if kept == RUNNING || kept == CALLING {
        return stack.register(in_kernel).ok_or(Stop::NoRule);
    } else {
        (kept & !1).wrapping_add(in_context)
    };
    stack.word(place).ok_or(Stop::End(WalkEnd::Unreadable))
}

/// Where a register is in what the kernel keeps, and where in a signal's `struct ucontext`; in bytes.
#[inline(always)]
pub const fn places(number: u64, is_arm: bool) -> (u64, u64) {
    if is_arm {
        let place = (number & 31) * 8;
        return (place, ARM_REGISTERS + place);
    }
    let digit = (number & 15) * 4;
    ((X86_KERNEL >> digit & 15) * 8, X86_REGISTERS + (X86_CONTEXT >> digit & 15) * 8)
}

/// For each register of x86-64, from number 0 in the lowest digit on, which word of `struct pt_regs` it is;
/// not of rsp, 7. rax, rdx, rcx, rbx, rsi, rdi, rbp, rsp, r8 to r15.
const X86_KERNEL: u64 = 0x0123_6789_04ed_5bca;
/// The same for `struct sigcontext`.
const X86_CONTEXT: u64 = 0x7654_3210_fa89_becd;
/// Where `struct sigcontext` is in x86-64's `struct ucontext`.
const X86_REGISTERS: u64 = 40;
/// Where the registers are in arm64's.
const ARM_REGISTERS: u64 = 184;
