//! A rule in words, as `unwind-info` prints it.

use std::fmt;

use gimli::{AArch64, Register, X86_64};
use profiler_common::native::rule::{Cfa, FramePointer, ReturnAddress, Rule};
use serde::{Serialize, Serializer};

use super::machine::Machine;

/// A rule, with the names of its machine's registers.
///
/// `cfa` is the value of the stack pointer after the return to the caller, `ra` the return address, and
/// brackets stand for the word at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readable {
    /// The rule.
    pub rule: Rule,
    /// Whose registers it names.
    pub machine: Machine,
}

impl fmt::Display for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = self.rule;
        let (sp, fp) = (self.name(self.machine.sp()), self.name(self.machine.fp()));
        let offset = Offset(rule.offset());
        match Cfa::from_raw(rule.cfa()) {
            Some(Cfa::None) => return f.write_str("no rule"),
            Some(Cfa::End) => return f.write_str("end of the stack"),
            Some(Cfa::Signal) => return write!(f, "registers in the signal frame at {sp}{offset}"),
            Some(Cfa::Sp) => write!(f, "cfa={sp}{offset}")?,
            Some(Cfa::Fp) => write!(f, "cfa={fp}{offset}")?,
            Some(Cfa::Clone) => {
                write!(f, "end of the stack where 0 was returned, else cfa={sp}{offset}")?
            }
            Some(Cfa::SpBytes) => write!(f, "cfa={sp}{}", Offset(rule.bytes()))?,
            Some(Cfa::Register) => {
                write!(f, "cfa={}{offset}", self.name(Register(rule.register() as u16)))?;
            }
            Some(Cfa::SpReturnRegister) => {
                let ra = self.name(Register(rule.register() as u16));
                write!(f, "cfa={sp}{offset} ra={ra}")?;
            }
            Some(Cfa::SpIndexLoad) => {
                let index = self.name(Register(rule.register() as u16));
                write!(f, "cfa=[{sp}+{index}*8{offset}]{}", Offset(rule.index_addend()))?;
            }
            Some(Cfa::SpLoad) => write!(f, "cfa=[{sp}{offset}]{}", Offset(rule.extra() * 8))?,
            Some(Cfa::FpLoad) => write!(f, "cfa=[{fp}{offset}]{}", Offset(rule.extra() * 8))?,
            Some(Cfa::Plt) => {
                write!(f, "cfa={sp}{offset}, 8 more from byte {} of 16 on", rule.extra())?;
            }
            Some(Cfa::Unsupported) | None => {
                return f.write_str("of a shape that no rule can hold");
            }
        }
        self.return_address(f)?;
        let saved = Offset(rule.frame_pointer_offset());
        match FramePointer::from_raw(rule.frame_pointer()) {
            Some(FramePointer::Same) => {}
            Some(FramePointer::Saved) => write!(f, " {fp}=[cfa{saved}]")?,
            Some(FramePointer::SavedAtFp) => write!(f, " {fp}=[{fp}{saved}]")?,
            Some(FramePointer::Unknown) | None => write!(f, " {fp} lost")?,
        }
        match (Cfa::from_raw(rule.cfa()), rule.extra()) {
            (Some(Cfa::Sp | Cfa::Fp), extra) if extra == u64::from(Rule::RBX_LOST) => {
                f.write_str(" rbx lost")
            }
            (Some(Cfa::Sp | Cfa::Fp), words @ 1..) => write!(f, " rbx=[cfa-{}]", words * 8),
            _ => Ok(()),
        }
    }
}

impl Readable {
    fn return_address(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rule.cfa() == Cfa::SpReturnRegister.raw() {
            return Ok(());
        }
        let offset = self.rule.return_address_offset();
        match ReturnAddress::from_raw(self.rule.return_address()) {
            Some(ReturnAddress::AtCfa) => write!(f, " ra=[cfa{}]", Offset(offset)),
            Some(ReturnAddress::AtFramePointer) => {
                let from = self.rule.frame_pointer_offset();
                write!(f, " ra=[cfa{}]", Offset(from.wrapping_add(offset)))
            }
            Some(ReturnAddress::LinkRegister) => write!(f, " ra={}", self.name(AArch64::X30)),
            None => Ok(()),
        }
    }

    fn name(&self, register: Register) -> String {
        let name = match self.machine {
            Machine::X86_64 => X86_64::register_name(register),
            Machine::Arm64 => AArch64::register_name(register),
        };
        name.map_or_else(|| format!("r{}", register.0), str::to_ascii_lowercase)
    }
}

impl Serialize for Readable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A signed number of bytes with its sign; nothing for 0.
struct Offset(u64);

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 as i64 {
            0 => Ok(()),
            bytes => write!(f, "{bytes:+}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_read_as_people_write_them() {
        let sp = Rule::new(Cfa::Sp, 2).with_frame_pointer(FramePointer::Saved, -2);
        let drap = Rule::new(Cfa::FpLoad, -1).with_frame_pointer(FramePointer::SavedAtFp, 0);
        let stored = Rule::new(Cfa::SpLoad, 5).with_extra(1);
        let vfork = Rule::new(Cfa::SpReturnRegister, 0).with_extra(5);
        let indexed = Rule::new(Cfa::SpIndexLoad, 1).with_index(9, 1);
        let far = Rule::new(Cfa::Sp, 200)
            .with_frame_pointer(FramePointer::Saved, -200)
            .with_return_address(ReturnAddress::AtFramePointer, 1);
        let leaf = Rule::new(Cfa::Sp, 0).with_return_address(ReturnAddress::LinkRegister, 0);
        for (machine, rule, expected) in [
            (Machine::X86_64, Rule::NONE, "no rule"),
            (Machine::X86_64, Rule::END, "end of the stack"),
            (Machine::X86_64, Rule::UNSUPPORTED, "of a shape that no rule can hold"),
            (Machine::X86_64, sp, "cfa=rsp+16 ra=[cfa-8] rbp=[cfa-16]"),
            (Machine::X86_64, sp.with_rbx(3), "cfa=rsp+16 ra=[cfa-8] rbp=[cfa-16] rbx=[cfa-24]"),
            (Machine::X86_64, drap, "cfa=[rbp-8] ra=[cfa-8] rbp=[rbp]"),
            (Machine::X86_64, stored, "cfa=[rsp+40]+8 ra=[cfa-8]"),
            (Machine::X86_64, vfork, "cfa=rsp ra=rdi"),
            (Machine::X86_64, indexed, "cfa=[rsp+r9*8+8]+8 ra=[cfa-8]"),
            (Machine::X86_64, Rule::sp_bytes(300_004), "cfa=rsp+300004 ra=[cfa-8]"),
            (Machine::Arm64, far, "cfa=sp+1600 ra=[cfa-1592] x29=[cfa-1600]"),
            (Machine::Arm64, leaf, "cfa=sp ra=x30"),
            (Machine::Arm64, Rule::new(Cfa::Signal, 16), "registers in the signal frame at sp+128"),
        ] {
            assert_eq!(Readable { rule, machine }.to_string(), expected);
        }
    }
}
