//! A frame's caller, as gimli evaluates a row, over registers and a stack that are made up.

use gimli::{
    CfaRule, Encoding, EndianSlice, EvaluationResult, Expression, Format, LittleEndian, Location,
    Piece, Register, RegisterRule, UnwindExpression, UnwindSection, UnwindTableRow, Value, X86_64,
};
use profiler_common::native::frame::places;
use profiler_common::native::step::Stack;

pub type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// The stack pointer of the frame.
pub const SP: u64 = 0x7000_0000_0000;

/// DWARF numbers of a machine's registers.
#[derive(Clone, Copy)]
pub struct Numbers {
    pub sp: Register,
    pub fp: Register,
    /// Of the link register, where there is one.
    pub lr: Option<Register>,
    /// Of the program counter, for expressions.
    pub pc: Register,
}

/// A frame with made-up contents: each register and each word of memory has a value of its own, that
/// could be an address of the stack or of code.
#[derive(Clone, Copy)]
pub struct Frame {
    pub numbers: Numbers,
    pub pc: u64,
    pub sp: u64,
}

/// What a step leads to. `None` in a field is a value that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// There is none.
    End,
    At {
        pc: u64,
        sp: u64,
        fp: Option<u64>,
        /// Of x86-64.
        rbx: Option<u64>,
    },
}

impl Frame {
    pub fn register(&self, register: Register) -> u64 {
        match register {
            register if register == self.numbers.sp => self.sp,
            register if register == self.numbers.pc => self.pc,
            register => SP + 0x800 + u64::from(register.0) * 64,
        }
    }

    /// The word at an address.
    pub fn memory(address: u64) -> u64 {
        SP + 4096 + (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) * 8
    }

    /// The caller by a row, whose return address has the column `ra`. `Err` says what gimli cannot
    /// evaluate.
    pub fn caller<'i, S: UnwindSection<Slice<'i>>>(
        &self,
        section: &S,
        row: &UnwindTableRow<usize>,
        ra: Register,
    ) -> gimli::Result<Caller> {
        let cfa = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => {
                self.register(*register).wrapping_add_signed(*offset)
            }
            CfaRule::Expression(expression) => self.evaluate(section, expression, None)?,
        };
        let pc = match row.register(ra) {
            Some(RegisterRule::Undefined) => return Ok(Caller::End),
            rule => self.recovered(section, rule, ra, cfa)?,
        };
        let fp = match row.register(self.numbers.fp) {
            Some(RegisterRule::Undefined) => None,
            rule => Some(self.recovered(section, rule, self.numbers.fp, cfa)?),
        };
        let rbx = match row.register(X86_64::RBX) {
            _ if self.numbers.lr.is_some() => None,
            Some(RegisterRule::Undefined) => None,
            rule => Some(self.recovered(section, rule, X86_64::RBX, cfa)?),
        };
        Ok(Caller::At { pc, sp: cfa, fp, rbx })
    }

    fn recovered<'i, S: UnwindSection<Slice<'i>>>(
        &self,
        section: &S,
        rule: Option<RegisterRule<usize>>,
        register: Register,
        cfa: u64,
    ) -> gimli::Result<u64> {
        Ok(match rule {
            None | Some(RegisterRule::SameValue) => self.register(register),
            Some(RegisterRule::Offset(offset)) => Self::memory(cfa.wrapping_add_signed(offset)),
            Some(RegisterRule::ValOffset(offset)) => cfa.wrapping_add_signed(offset),
            Some(RegisterRule::Register(other)) => self.register(other),
            Some(RegisterRule::Expression(expression)) => {
                Self::memory(self.evaluate(section, &expression, Some(cfa))?)
            }
            Some(RegisterRule::ValExpression(expression)) => {
                self.evaluate(section, &expression, Some(cfa))?
            }
            _ => return Err(gimli::Error::UnsupportedOffset),
        })
    }

    fn evaluate<'i, S: UnwindSection<Slice<'i>>>(
        &self,
        section: &S,
        expression: &UnwindExpression<usize>,
        initial: Option<u64>,
    ) -> gimli::Result<u64> {
        let encoding = Encoding { address_size: 8, format: Format::Dwarf32, version: 4 };
        let expression: Expression<Slice<'i>> = expression.get(section)?;
        let mut evaluation = expression.evaluation(encoding);
        if let Some(initial) = initial {
            evaluation.set_initial_value(initial);
        }
        let mut result = evaluation.evaluate()?;
        loop {
            result = match result {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresMemory { address, .. } => {
                    evaluation.resume_with_memory(Value::Generic(Self::memory(address)))?
                }
                EvaluationResult::RequiresRegister { register, .. } => {
                    evaluation.resume_with_register(Value::Generic(self.register(register)))?
                }
                _ => return Err(gimli::Error::UnsupportedOffset),
            };
        }
        match evaluation.as_result() {
            [Piece { location: Location::Address { address }, .. }] => Ok(*address),
            _ => Err(gimli::Error::UnsupportedOffset),
        }
    }
}

impl Stack for Frame {
    fn next(&mut self, _: u64, address: u64) -> Option<u64> {
        Some(Self::memory(address))
    }

    fn word(&mut self, address: u64) -> Option<u64> {
        Some(Self::memory(address))
    }

    fn follows_call(&mut self, _: u64) -> Option<bool> {
        Some(true)
    }

    fn register(&mut self, offset: u64) -> Option<u64> {
        let is_arm = self.numbers.lr.is_some();
        let mut others = (0..31).filter(|number| *number != u64::from(self.numbers.sp.0));
        let number = others.find(|number| places(*number, is_arm).0 == offset)?;
        Some(Frame::register(self, Register(number as u16)))
    }
}
