//! A row of unwind information as a rule: the shapes that compilers, libraries and assembly use.

use gimli::{
    CfaRule, EndianSlice, LittleEndian, Register, RegisterRule, UnwindExpression, UnwindSection,
    UnwindTableRow, X86_64,
};
use profiler_common::native::rule::{Cfa, FramePointer, ReturnAddress, Rule};

use super::expression::{self, Shape};
use super::machine::Machine;
use super::table::Cause;

type Slice<'a> = EndianSlice<'a, LittleEndian>;
type SavedBy = RegisterRule<usize>;

/// Where the kernel's signal frame holds the interrupted stack pointer, from the beginning of its
/// `struct ucontext` (arch/x86/include/uapi/asm/sigcontext.h).
const X86_CONTEXT_SP: i64 = 160;
/// Bytes from the stack pointer in arm64's signal frame to its `struct ucontext`, behind the
/// `siginfo`.
const ARM_CONTEXT: i16 = 128;

/// How the descriptions of one section are to be understood.
pub(super) struct Shapes<'s, S> {
    pub section: &'s S,
    pub machine: Machine,
}

/// A rule, and whether it loses the frame pointer for an unknown shape.
pub(super) struct Shaped {
    pub rule: Rule,
    pub loses_frame_pointer: bool,
}

impl<'s, 'i, S: UnwindSection<Slice<'i>>> Shapes<'s, S> {
    /// The rule of a row, in whose function the return address has the column `ra`.
    pub fn rule(&self, row: &UnwindTableRow<usize>, ra: Register) -> Result<Shaped, Cause> {
        let return_address = row.register(ra);
        if return_address == Some(RegisterRule::Undefined) {
            // Nothing returns from here.
            return Ok(Shaped::whole(Rule::END));
        }
        let saved = row.register(self.machine.fp());
        let (how, words) = self.frame_pointer(saved.as_ref());
        let rule = self.cfa(row.cfa())?.with_frame_pointer(how, words);
        let rule = self.with_rbx(rule, row.register(X86_64::RBX));
        let rule = self.with_return_address(rule, return_address, ra)?;
        let is_unknown = how == FramePointer::Unknown && saved != Some(RegisterRule::Undefined);
        Ok(Shaped { rule, loses_frame_pointer: is_unknown })
    }

    /// The rule of a row in a function that returns from a signal handler.
    pub fn signal(&self, row: &UnwindTableRow<usize>) -> Result<Shaped, Cause> {
        let words = match (self.machine, row.cfa()) {
            (Machine::Arm64, _) => return Ok(Shaped::whole(signal_return(self.machine))),
            (Machine::X86_64, CfaRule::Expression(expression)) => {
                match self.recognise(expression) {
                    Some(Shape::Load(register, offset, 0)) if register == self.machine.sp() => {
                        words(offset - X86_CONTEXT_SP).ok_or(Cause::Signal)?
                    }
                    _ => return Err(Cause::Signal),
                }
            }
            (Machine::X86_64, CfaRule::RegisterAndOffset { .. }) => return Err(Cause::Signal),
        };
        Ok(Shaped::whole(Rule::new(Cfa::Signal, words)))
    }

    fn cfa(&self, cfa: &CfaRule<usize>) -> Result<Rule, Cause> {
        match cfa {
            CfaRule::RegisterAndOffset { register, offset } => self.by_register(*register, *offset),
            CfaRule::Expression(expression) => {
                self.by_expression(expression).ok_or(Cause::CfaExpression)
            }
        }
    }

    fn by_register(&self, register: Register, offset: i64) -> Result<Rule, Cause> {
        let near = words(offset);
        if register == self.machine.sp() {
            let far = || u32::try_from(offset).ok().filter(|bytes| *bytes < 1 << 24);
            return near
                .map(|words| Rule::new(Cfa::Sp, words))
                .or_else(|| far().map(Rule::sp_bytes))
                .ok_or(Cause::CfaOffset);
        }
        let words = near.ok_or(Cause::CfaOffset)?;
        if register == self.machine.fp() {
            return Ok(Rule::new(Cfa::Fp, words));
        }
        let number = self.machine.number(register).ok_or(Cause::CfaOffset)?;
        Ok(Rule::new(Cfa::Register, words).with_extra(number))
    }

    fn by_expression(&self, expression: &UnwindExpression<usize>) -> Option<Rule> {
        match self.recognise(expression)? {
            Shape::Load(register, offset, addend) => {
                let cfa = match register {
                    sp if sp == self.machine.sp() => Cfa::SpLoad,
                    fp if fp == self.machine.fp() => Cfa::FpLoad,
                    _ => return None,
                };
                let addend = (addend % 8 == 0).then_some(addend / 8)?;
                Some(Rule::new(cfa, words(offset)?).with_extra(u8::try_from(addend).ok()?))
            }
            Shape::IndexedLoad(sp, offset, index, addend) if sp == self.machine.sp() => {
                let number = self.machine.number(index).filter(|_| index != sp)?;
                let words_added = (addend % 8 == 0 && addend < 64).then_some((addend / 8) as u8)?;
                let rule = Rule::new(Cfa::SpIndexLoad, words(offset)?);
                Some(rule.with_index(number, words_added))
            }
            Shape::IndexedLoad(..) => None,
            Shape::Plt(offset, byte) => {
                let byte = u8::try_from(byte).ok()?;
                Some(Rule::new(Cfa::Plt, words(offset)?).with_extra(byte))
            }
            Shape::Register(register, offset) => self.by_register(register, offset).ok(),
        }
    }

    fn frame_pointer(&self, saved: Option<&SavedBy>) -> (FramePointer, i16) {
        const UNKNOWN: (FramePointer, i16) = (FramePointer::Unknown, 0);
        match saved {
            None | Some(RegisterRule::SameValue) => (FramePointer::Same, 0),
            Some(RegisterRule::Offset(offset)) => {
                words(*offset).map_or(UNKNOWN, |words| (FramePointer::Saved, words))
            }
            Some(RegisterRule::Expression(expression)) => match self.recognise(expression) {
                Some(Shape::Register(register, offset)) if register == self.machine.fp() => {
                    words(offset).map_or(UNKNOWN, |words| (FramePointer::SavedAtFp, words))
                }
                _ => UNKNOWN,
            },
            _ => UNKNOWN,
        }
    }

    /// The rule with the place of a saved rbx, if it is one that tells it.
    fn with_rbx(&self, rule: Rule, saved: Option<SavedBy>) -> Rule {
        let tells = rule.cfa() == Cfa::Sp.raw() || rule.cfa() == Cfa::Fp.raw();
        if self.machine != Machine::X86_64 || !tells {
            return rule;
        }
        match saved {
            None | Some(RegisterRule::SameValue) => rule,
            Some(RegisterRule::Offset(offset)) => {
                let below = words(offset).and_then(|words| u8::try_from(words.checked_neg()?).ok());
                rule.with_rbx(below.filter(|words| *words > 0).unwrap_or(Rule::RBX_LOST))
            }
            Some(_) => rule.with_rbx(Rule::RBX_LOST),
        }
    }

    fn with_return_address(
        &self,
        rule: Rule,
        saved: Option<SavedBy>,
        column: Register,
    ) -> Result<Rule, Cause> {
        let in_register = |register: Register| {
            if self.machine == Machine::Arm64 && register == gimli::AArch64::X30 {
                return Ok(rule.with_return_address(ReturnAddress::LinkRegister, 0));
            }
            // The stack pointer is no place of a return address.
            let fits = rule.cfa() == Cfa::Sp.raw() && register != self.machine.sp();
            let number = self.machine.number(register).filter(|_| fits);
            let words = (rule.offset() as i64 / 8) as i16;
            let near = Rule::new(Cfa::SpReturnRegister, words).with_frame_pointer_of(rule);
            number.map(|number| near.with_extra(number)).ok_or(Cause::ReturnAddress)
        };
        match saved {
            Some(RegisterRule::Offset(offset)) => {
                at_offset(rule, offset).ok_or(Cause::ReturnAddress)
            }
            Some(RegisterRule::Register(register)) => in_register(register),
            None | Some(RegisterRule::SameValue) if self.machine == Machine::Arm64 => {
                in_register(column)
            }
            _ => Err(Cause::ReturnAddress),
        }
    }

    fn recognise(&self, expression: &UnwindExpression<usize>) -> Option<Shape> {
        expression::recognise(expression.get(self.section).ok()?, self.machine)
    }
}

impl Shaped {
    const fn whole(rule: Rule) -> Self {
        Self { rule, loses_frame_pointer: false }
    }
}

/// The rule where a signal handler has just returned to, so that the kernel's frame is at the top of the
/// stack.
pub(super) fn signal_return(machine: Machine) -> Rule {
    let words = match machine {
        Machine::X86_64 => 0,
        Machine::Arm64 => ARM_CONTEXT / 8,
    };
    Rule::new(Cfa::Signal, words)
}

/// The rule with the return address at an offset from the CFA: by itself while it is near, else from where
/// the frame pointer is saved, or would be.
fn at_offset(rule: Rule, offset: i64) -> Option<Rule> {
    let near = words(offset)?;
    if let Ok(near) = i8::try_from(near) {
        return Some(rule.with_return_address(ReturnAddress::AtCfa, near));
    }
    let how = FramePointer::from_raw(rule.frame_pointer())?;
    match how {
        FramePointer::Saved => {
            let between = offset.checked_sub(rule.frame_pointer_offset() as i64)?;
            let between = i8::try_from(words(between)?).ok()?;
            Some(rule.with_return_address(ReturnAddress::AtFramePointer, between))
        }
        FramePointer::Same | FramePointer::Unknown => {
            let rule = rule.with_frame_pointer(how, near);
            Some(rule.with_return_address(ReturnAddress::AtFramePointer, 0))
        }
        FramePointer::SavedAtFp => None,
    }
}

/// Bytes as words of a rule, if they are some.
fn words(bytes: i64) -> Option<i16> {
    if bytes % 8 == 0 { i16::try_from(bytes / 8).ok() } else { None }
}
