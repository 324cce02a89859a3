//! One step from a frame to its caller, by a rule.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::rule::{Cfa, FramePointer, ReturnAddress, Rule};
use crate::walk::WalkEnd;

/// A frame is no larger, in bytes.
const MAX_FRAME: u64 = 64 << 20;

/// A frame pointer that is not known: no frame lies at an odd address.
pub const UNKNOWN: u64 = 1;

/// Where a walk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Registers {
    /// Program counter: where the thread is, or will return to.
    pub pc: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer: rbp, x29. [`UNKNOWN`] where it is lost.
    pub fp: u64,
    /// On arm64 the link register, x30; on x86-64 rbx, or with its lowest bit set the address that holds
    /// it. 0 where it is not known.
    pub lr: u64,
    /// Who keeps all registers of the frame: [`CALLER`], [`RUNNING`], [`CALLING`], or else the address of the
    /// context that a signal left on the stack, plus 1. The lowest bit is 1 where `pc` is the place itself, 0
    /// where it is behind a call.
    pub kept: u64,
}

/// Of a frame that called another: nobody keeps its registers.
pub const CALLER: u64 = 0;
/// Of the innermost frame: the kernel does.
pub const RUNNING: u64 = 1;
/// The same of one that made a system call.
pub const CALLING: u64 = 2;

impl Registers {
    /// 1 where `pc` is the place itself, 0 where it is behind a call.
    #[inline(always)]
    pub const fn exact(&self) -> u64 {
        self.kept & 1
    }

    /// The place in the code to look up: inside the call, for a return address.
    #[inline(always)]
    pub const fn place(&self) -> u64 {
        self.pc.wrapping_sub(1).wrapping_add(self.exact())
    }
}

/// The user stack.
pub trait Stack {
    /// The word at `address`, a multiple of 8, and what is likely to be read next. Nothing below `floor`
    /// is read.
    fn next(&mut self, floor: u64, address: u64) -> Option<u64>;
    /// Any word.
    fn word(&mut self, address: u64) -> Option<u64>;
    /// Whether a call stands before this place in the code; `None` where the code is not at hand.
    fn follows_call(&mut self, return_address: u64) -> Option<bool>;
    /// A register that the kernel keeps of the thread, by its byte offset in `struct pt_regs` or, on arm64,
    /// `struct user_pt_regs`; `None` where the kernel is not at hand.
    fn register(&mut self, _offset: u64) -> Option<u64> {
        None
    }
}

/// Why there is no caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// There is no rule: a frame pointer may help.
    NoRule,
    /// The walk is over.
    End(WalkEnd),
}

/// Moves `at` to the caller.
#[inline(always)]
pub fn step<S: Stack>(
    rule: Rule,
    at: &mut Registers,
    stack: &mut S,
    is_arm: bool,
) -> Result<(), Stop> {
    let cfa = rule.cfa();
    if cfa == Cfa::Signal.raw() {
        return interrupted(rule, at, stack, is_arm);
    }
    let cfa = frame_address(rule, at, stack, is_arm)?;
    if cfa.wrapping_sub(at.sp) >= MAX_FRAME || cfa & 7 != 0 {
        // A frame pointer may lead to another stack: Go's, from the one that C runs on.
        let by_fp = rule.cfa() == Cfa::Fp.raw();
        return Err(if by_fp { Stop::NoRule } else { Stop::End(WalkEnd::BadRow) });
    }
    let pc = return_address(rule, at, stack, cfa, is_arm)?;
    let pc = if is_arm { without_signature(pc) } else { pc };
    if pc == 0 {
        return Err(Stop::End(WalkEnd::Complete));
    }
    if !may_be_code(pc) {
        return Err(Stop::End(WalkEnd::BadRow));
    }
    let base = if rule.frame_pointer() == FramePointer::SavedAtFp.raw() { at.fp } else { cfa };
    if rule.frame_pointer() & 1 != 0 {
        let saved = base.wrapping_add(rule.frame_pointer_offset());
        at.fp = stack.word(saved).ok_or(UNREADABLE)?;
    } else if rule.frame_pointer() != FramePointer::Same.raw() {
        at.fp = UNKNOWN;
    }
    at.lr = if is_arm { 0 } else { rbx_of_caller(rule, at.lr, cfa) };
    (at.pc, at.sp, at.kept) = (pc, cfa, CALLER);
    Ok(())
}

/// DWARF number of rbx.
const RBX: u64 = 3;

/// Where the caller's rbx is. It is not read: few frames need it.
#[inline(always)]
fn rbx_of_caller(rule: Rule, before: u64, cfa: u64) -> u64 {
    let words = rule.extra();
    let tells = rule.cfa() == Cfa::Sp.raw() || rule.cfa() == Cfa::Fp.raw();
    if !tells || words == Rule::RBX_LOST as u64 {
        0
    } else if words == 0 {
        before
    } else {
        cfa.wrapping_sub(words * 8) | 1
    }
}

/// The value of rbx.
#[inline(always)]
fn rbx<S: Stack>(at: &Registers, stack: &mut S) -> Result<u64, Stop> {
    match at.lr {
        0 => Err(Stop::NoRule),
        place if place & 1 == 1 => stack.word(place - 1).ok_or(UNREADABLE),
        rbx => Ok(rbx),
    }
}

/// Both ways to save a frame pointer are odd numbers.
const _: () = assert!(FramePointer::Saved.raw() & FramePointer::SavedAtFp.raw() & 1 == 1);
const _: () = assert!((FramePointer::Same.raw() | FramePointer::Unknown.raw()) & 1 == 0);

const UNREADABLE: Stop = Stop::End(WalkEnd::Unreadable);

/// The canonical frame address.
#[inline(always)]
fn frame_address<S: Stack>(
    rule: Rule,
    at: &Registers,
    stack: &mut S,
    is_arm: bool,
) -> Result<u64, Stop> {
    let cfa = rule.cfa();
    if cfa == Cfa::Sp.raw() {
        return Ok(at.sp.wrapping_add(rule.offset()));
    }
    if cfa == Cfa::Fp.raw() {
        return Ok(at.fp.wrapping_add(rule.offset()));
    }
    if cfa == Cfa::SpBytes.raw() {
        return Ok(at.sp.wrapping_add(rule.bytes()));
    }
    if cfa == Cfa::End.raw() {
        return Err(Stop::End(WalkEnd::Complete));
    }
    if cfa == Cfa::Plt.raw() {
        let pushed = if at.pc & 15 >= rule.extra() { 8 } else { 0 };
        return Ok(at.sp.wrapping_add(rule.offset()).wrapping_add(pushed));
    }
    if cfa == Cfa::Register.raw() {
        let base = if rule.extra() == RBX && !is_arm {
            rbx(at, stack)?
        } else {
            register(rule.extra(), at, stack, is_arm).ok_or(Stop::NoRule)?
        };
        return Ok(base.wrapping_add(rule.offset()));
    }
    if cfa == Cfa::Clone.raw() {
        if register(RESULT, at, stack, is_arm) == Some(0) {
            return Err(Stop::End(WalkEnd::Complete));
        }
        return Ok(at.sp.wrapping_add(rule.offset()));
    }
    let base = if cfa == Cfa::SpLoad.raw() {
        at.sp
    } else if cfa == Cfa::FpLoad.raw() {
        at.fp
    } else {
        return Err(Stop::NoRule);
    };
    let word = stack.word(base.wrapping_add(rule.offset())).ok_or(UNREADABLE)?;
    Ok(word.wrapping_add(rule.extra() * 8))
}

#[inline(always)]
fn return_address<S: Stack>(
    rule: Rule,
    at: &Registers,
    stack: &mut S,
    cfa: u64,
    is_arm: bool,
) -> Result<u64, Stop> {
    let how = rule.return_address();
    if how == ReturnAddress::LinkRegister.raw() {
        return if at.lr == 0 { Err(Stop::End(WalkEnd::BadRow)) } else { Ok(at.lr) };
    }
    if how == ReturnAddress::Register.raw() {
        let number = rule.return_address_offset() / 8;
        return register(number, at, stack, is_arm).ok_or(Stop::NoRule);
    }
    let from = if how == ReturnAddress::AtFramePointer.raw() {
        cfa.wrapping_add(rule.frame_pointer_offset())
    } else {
        cfa
    };
    stack.next(at.sp, from.wrapping_add(rule.return_address_offset())).ok_or(UNREADABLE)
}

/// DWARF number of the register with what a system call returned: rax, x0.
const RESULT: u64 = 0;

/// A register of a frame whose registers are kept, by its DWARF number; not the stack pointer.
#[inline(always)]
fn register<S: Stack>(number: u64, at: &Registers, stack: &mut S, is_arm: bool) -> Option<u64> {
    let (in_kernel, in_context) = places(number, is_arm);
    match at.kept {
        CALLER => None,
        RUNNING | CALLING => stack.register(in_kernel),
        context => stack.word((context & !1).wrapping_add(in_context)),
    }
}

/// Where a register is in what the kernel keeps, and where in a signal's `struct ucontext`.
#[inline(always)]
const fn places(number: u64, is_arm: bool) -> (u64, u64) {
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

/// To what a signal interrupted: the kernel left its registers on the stack, in a `struct sigcontext`
/// (arch/{x86,arm64}/include/uapi/asm/sigcontext.h) within a `struct ucontext`, which is where the
/// rule's offset leads.
#[inline(always)]
fn interrupted<S: Stack>(
    rule: Rule,
    at: &mut Registers,
    stack: &mut S,
    is_arm: bool,
) -> Result<(), Stop> {
    let context = at.sp.wrapping_add(rule.offset());
    let (fp, sp, pc) = if is_arm { (416, 432, 440) } else { (120, 160, 168) };
    let mut read = |offset: u64| stack.word(context.wrapping_add(offset)).ok_or(UNREADABLE);
    let caller = Registers {
        pc: read(pc)?,
        sp: read(sp)?,
        fp: read(fp)?,
        // Behind x29 is x30, and behind rbp is rbx.
        lr: read(fp + 8)?,
        kept: context | 1,
    };
    if !may_be_code(caller.pc) {
        return Err(Stop::End(WalkEnd::BadRow));
    }
    *at = caller;
    Ok(())
}

/// A return address as the code would use it: arm64 may have signed it, in the bits above the 48 of
/// an address.
#[inline(always)]
pub const fn without_signature(address: u64) -> u64 {
    address & ((1 << 48) - 1)
}

/// Whether user code can lie at an address: not in the first page, and not where the kernel is.
#[inline(always)]
pub const fn may_be_code(address: u64) -> bool {
    address.wrapping_sub(4096) < (1 << 48) - 4096
}
