//! One step from a frame to its caller, by a rule.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::frame;
use super::rule::{Cfa, FramePointer, ReturnAddress, Rule};
use crate::walk::WalkEnd;

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
    /// Words that follow each other, of which nothing else is likely to be needed; false where any of them
    /// cannot be read.
    fn words<const N: usize>(&mut self, address: u64, into: &mut [u64; N]) -> bool {
        into.iter_mut().zip(0u64..).all(|(to, index)| {
            self.word(address.wrapping_add(index * 8)).map(|word| *to = word).is_some()
        })
    }
    /// Passes a value on. The kernel side makes its verifier forget what it knew of it.
    fn forget(&mut self, value: u64) -> u64 {
        value
    }
    /// The same of a value that nothing waits for.
    fn forget_slowly(&mut self, value: u64) -> u64 {
        value
    }
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
    if rule.cfa() == Cfa::Signal.raw() {
        return interrupted(rule, at, stack, is_arm).map_err(Stop::End);
    }
    let cfa = frame::find(rule, at, stack, is_arm)?;
    caller(rule, cfa, at, stack, is_arm).map_err(Stop::End)
}

/// Moves `at` from the function whose frame was found, at `cfa`, to the one that called it. Nothing below its
/// stack pointer is read.
#[inline(always)]
pub fn caller<S: Stack>(
    rule: Rule,
    cfa: u64,
    at: &mut Registers,
    stack: &mut S,
    is_arm: bool,
) -> Result<(), WalkEnd> {
    let in_register = rule.return_address() == ReturnAddress::LinkRegister.raw() && is_arm;
    let pc = if in_register || rule.cfa() == Cfa::SpReturnRegister.raw() {
        if at.lr == 0 {
            return Err(WalkEnd::BadRow);
        }
        at.lr
    } else {
        let by_fp = rule.return_address() == ReturnAddress::AtFramePointer.raw();
        let from = if by_fp { cfa.wrapping_add(rule.frame_pointer_offset()) } else { cfa };
        let place = from.wrapping_add(rule.return_address_offset());
        stack.next(at.sp, place).ok_or(WalkEnd::Unreadable)?
    };
    let pc = if is_arm { without_signature(pc) } else { pc };
    if pc == 0 {
        return Err(WalkEnd::Complete);
    }
    if !may_be_code(pc) {
        return Err(WalkEnd::BadRow);
    }
    let mut fp = at.fp;
    if rule.frame_pointer() & 1 != 0 {
        let at_fp = rule.frame_pointer() == FramePointer::SavedAtFp.raw();
        let from = if at_fp { fp } else { cfa };
        let saved = from.wrapping_add(rule.frame_pointer_offset());
        fp = stack.word(saved).ok_or(WalkEnd::Unreadable)?;
    } else if rule.frame_pointer() != FramePointer::Same.raw() {
        fp = stack.forget(UNKNOWN);
    }
    let lr = if is_arm { 0 } else { rbx_of_caller(rule, at.lr, cfa) };
    *at = Registers { pc, sp: cfa, fp, lr, kept: CALLER };
    Ok(())
}

/// Both ways to save a frame pointer are odd numbers.
const _: () = assert!(FramePointer::Saved.raw() & FramePointer::SavedAtFp.raw() & 1 == 1);
const _: () = assert!((FramePointer::Same.raw() | FramePointer::Unknown.raw()) & 1 == 0);

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

/// To what a signal interrupted: the kernel left its registers on the stack, in a `struct sigcontext`
/// (arch/{x86,arm64}/include/uapi/asm/sigcontext.h) within a `struct ucontext`, which is where the
/// rule's offset leads.
#[inline(always)]
pub fn interrupted<S: Stack>(
    rule: Rule,
    at: &mut Registers,
    stack: &mut S,
    is_arm: bool,
) -> Result<(), WalkEnd> {
    let context = at.sp.wrapping_add(rule.offset());
    // rbp, rbx, rdx, rax, rcx, rsp, rip; x29, x30, sp, pc.
    // Not zeros: LLVM would call a `memset`, and a program that calls functions may not make tail calls on
    // arm64 kernels before 6.0.
    let mut saved = [context | 1; 7];
    let first = if is_arm { 416 } else { 120 };
    if !stack.words(context.wrapping_add(first), &mut saved) {
        return Err(WalkEnd::Unreadable);
    }
    let [fp, lr, a, b, _, c, d] = saved;
    let (sp, pc) = if is_arm { (a, b) } else { (c, d) };
    if !may_be_code(pc) {
        return Err(WalkEnd::BadRow);
    }
    *at = Registers { pc, sp, fp, lr, kept: context | 1 };
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
