//! DWARF expressions that occur in unwind information, recognised by their operations.

use gimli::{Encoding, EndianSlice, Expression, Format, LittleEndian, Operation};

use super::machine::Machine;

/// Operations of the longest shape.
const MAX_OPERATIONS: usize = 9;
/// Bytes of the longest shape. One expression may stand in any number of rows.
const MAX_BYTES: usize = 32;

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// An expression of a known shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A register plus an offset.
    Register(gimli::Register, i64),
    /// The word at a register plus an offset, plus an addend.
    Load(gimli::Register, i64, u64),
    /// The word at a register plus an offset plus 8 times another register, plus an addend.
    IndexedLoad(gimli::Register, i64, gimli::Register, u64),
    /// The stack pointer plus an offset, and 8 more from this byte of 16 on.
    Plt(i64, u64),
}

/// Recognises an expression.
pub(super) fn recognise(expression: Expression<Slice<'_>>, machine: Machine) -> Option<Shape> {
    use Operation::{
        And, Deref, Ge, Mul, Plus, PlusConstant, RegisterOffset, Shl, UnsignedConstant,
    };

    if expression.0.len() > MAX_BYTES {
        return None;
    }
    // The version tells how large an address of a unit is; unwind information refers to none.
    let encoding = Encoding { address_size: 8, format: Format::Dwarf32, version: 4 };
    let mut found = [Operation::Nop; MAX_OPERATIONS];
    let mut operations = expression.operations(encoding);
    let mut count = 0;
    while let Some(operation) = operations.next().ok()? {
        *found.get_mut(count)? = operation;
        count += 1;
    }
    match *found.get(..count)? {
        [RegisterOffset { register, offset, .. }] => Some(Shape::Register(register, offset)),
        [RegisterOffset { register, offset, .. }, Deref { size: 8, space: false, .. }] => {
            Some(Shape::Load(register, offset, 0))
        }
        [
            RegisterOffset { register, offset, .. },
            Deref { size: 8, space: false, .. },
            PlusConstant { value },
        ] => Some(Shape::Load(register, offset, value)),
        [
            RegisterOffset { register, offset, .. },
            RegisterOffset { register: index, offset: 0, .. },
            UnsignedConstant { value: 8 },
            Mul,
            Plus,
            Deref { size: 8, space: false, .. },
            PlusConstant { value },
        ] => Some(Shape::IndexedLoad(register, offset, index, value)),
        [
            RegisterOffset { register, offset, .. },
            RegisterOffset { register: gimli::X86_64::RA, offset: 0, .. },
            UnsignedConstant { value: 15 },
            And,
            UnsignedConstant { value: byte },
            Ge,
            UnsignedConstant { value: 3 },
            Shl,
            Plus,
        ] if machine == Machine::X86_64 && register == machine.sp() => {
            Some(Shape::Plt(offset, byte))
        }
        _ => None,
    }
}
