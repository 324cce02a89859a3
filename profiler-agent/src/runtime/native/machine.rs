//! The two processors, by their DWARF register numbers.

use gimli::{AArch64, Register, Vendor, X86_64};
use object::elf;

/// A processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// x86-64.
    X86_64,
    /// arm64.
    Arm64,
}

impl Machine {
    /// Of `e_machine`.
    pub(super) fn of(machine: elf::Machine) -> Option<Self> {
        match machine {
            elf::EM_X86_64 => Some(Self::X86_64),
            elf::EM_AARCH64 => Some(Self::Arm64),
            _ => None,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86-64",
            Self::Arm64 => "arm64",
        }
    }

    /// The stack pointer.
    pub(super) const fn sp(self) -> Register {
        match self {
            Self::X86_64 => X86_64::RSP,
            Self::Arm64 => AArch64::SP,
        }
    }

    /// The frame pointer.
    pub(super) const fn fp(self) -> Register {
        match self {
            Self::X86_64 => X86_64::RBP,
            Self::Arm64 => AArch64::X29,
        }
    }

    /// The number of a register that a rule may name: one that the kernel keeps.
    pub(super) fn number(self, register: Register) -> Option<u8> {
        let registers = match self {
            Self::X86_64 => 16,
            Self::Arm64 => 31,
        };
        u8::try_from(register.0).ok().filter(|number| *number < registers)
    }

    /// Who gave the instructions that DWARF leaves to the machine their meaning: on arm64, that the
    /// return address is signed from here on.
    pub(super) const fn vendor(self) -> Vendor {
        match self {
            Self::X86_64 => Vendor::Default,
            Self::Arm64 => Vendor::AArch64,
        }
    }
}
