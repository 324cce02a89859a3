//! One step of a walk: by unwind rows, and by frame pointer where there are none.

use super::lookup::{self, Region};
use super::rule::Rule;
use super::step::{self, Registers, Stack, Stop, may_be_code, without_signature};
use super::{Mapping, MappingKind, MappingList};
use crate::walk::WalkEnd;

/// A frame is no larger: what lies further away is another stack, or no frame.
const MAX_FRAME: u64 = 64 << 20;

/// How often a chain of frame pointers may go on on another stack: Go's `systemstack`, coroutines.
const MAX_STACKS: u32 = 4;

/// Where the tables are.
pub trait Arena {
    /// One region.
    type Region<'a>: Region
    where
        Self: 'a;
    /// The region of this number.
    fn region(&mut self, number: u32) -> Option<Self::Region<'_>>;
}

/// Where a walk stands, and what it needs to go on.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Position {
    /// The frame.
    pub at: Registers,
    /// The mappings of the process.
    pub list: MappingList,
    /// The mapping that was looked at last; of no length where none was, or none is known.
    pub code: Mapping,
    /// How often the walk went on on another stack.
    pub stacks: u32,
    /// 1 when the frame was found by a frame pointer.
    pub guessed: u32,
}

impl Position {
    /// At the innermost frame.
    #[inline(always)]
    pub const fn new(at: Registers, list: MappingList) -> Self {
        Self { at, list, code: NO_CODE, stacks: 0, guessed: 0 }
    }

    /// The word that stands for the frame in a stack.
    #[inline(always)]
    pub const fn word(&self) -> u64 {
        const EXACT_BIT: u32 = crate::walk::FRAME_EXACT.trailing_zeros();
        const GUESSED_BIT: u32 = crate::walk::FRAME_GUESSED.trailing_zeros();
        self.at.pc | self.at.exact() << EXACT_BIT | (self.guessed as u64) << GUESSED_BIT
    }

    /// In code of which nothing is known and nothing will be: a single frame.
    #[inline(always)]
    pub const fn without_rows(at: Registers) -> Self {
        let everywhere = Mapping { start: at.place(), len: 1, ..NO_CODE };
        let code = Mapping { kind: MappingKind::NoRows.raw(), ..everywhere };
        Self { code, ..Self::new(at, NO_LIST) }
    }

    /// Whether the rows for this place may still come.
    #[inline(always)]
    const fn is_pending(&self) -> bool {
        self.code.kind == MappingKind::Pending.raw()
    }
}

/// No mapping that is known.
const NO_CODE: Mapping = Mapping {
    start: 0,
    len: 0,
    delta: 0,
    region: 0,
    table: 0,
    rules: 0,
    kind: MappingKind::Pending.raw(),
};

/// A process of which no mapping is known.
pub const NO_LIST: MappingList = MappingList { region: 0, offset: 0, count: 0, _pad: 0 };

/// Moves to the caller, by the rows of the code or by its frame pointer. Where the rows may still come,
/// the walk ends as [`WalkEnd::NotReady`].
#[inline(always)]
pub fn caller<A: Arena, S: Stack>(
    position: &mut Position,
    arena: &mut A,
    stack: &mut S,
    is_arm: bool,
) -> Result<(), WalkEnd> {
    position.guessed = 0;
    let rule = rule(position, arena);
    match step::step(rule, &mut position.at, stack, is_arm) {
        Ok(()) => Ok(()),
        Err(Stop::End(end)) => Err(end),
        Err(Stop::NoRule) if position.is_pending() => Err(WalkEnd::NotReady),
        Err(Stop::NoRule) => by_frame_pointer(position, stack, is_arm),
    }
}

/// The rule for the place.
#[inline(always)]
fn rule<A: Arena>(position: &mut Position, arena: &mut A) -> Rule {
    let place = position.at.place();
    let code = &position.code;
    if place.wrapping_sub(code.start) >= code.len.into() && !enter(position, arena, place) {
        return Rule::NONE;
    }
    let code = &position.code;
    if code.kind != MappingKind::Table.raw() {
        return Rule::NONE;
    }
    let Some(mut region) = arena.region(code.region) else { return Rule::NONE };
    let place = (place.wrapping_sub(code.start) as u32).wrapping_add(code.delta);
    lookup::rule(&mut region, code.table, code.rules, place)
}

/// Finds the mapping that holds `place`, which is then remembered; false where none is known.
#[inline(always)]
fn enter<A: Arena>(position: &mut Position, arena: &mut A, place: u64) -> bool {
    let list = position.list;
    let Some(mut region) = arena.region(list.region) else { return false };
    let found = lookup::mapping(&mut region, list.offset, list.count, place);
    position.code = found.unwrap_or(NO_CODE);
    found.is_some()
}

/// Where there are no rows: the word at the frame pointer is the caller's, the next word the return
/// address. The same on x86-64 (`push rbp; mov rbp, rsp`) and arm64 (`stp x29, x30`).
#[inline(always)]
fn by_frame_pointer<S: Stack>(
    position: &mut Position,
    stack: &mut S,
    is_arm: bool,
) -> Result<(), WalkEnd> {
    let at = &mut position.at;
    let fp = at.fp;
    if fp == 0 {
        return Err(WalkEnd::Complete);
    }
    let other_stack = fp.wrapping_sub(at.sp) >= MAX_FRAME;
    if fp & 7 != 0 || (other_stack && position.stacks >= MAX_STACKS) {
        return Err(WalkEnd::NoRows);
    }
    let floor = if other_stack { fp } else { at.sp };
    let unreadable = if other_stack { WalkEnd::NoRows } else { WalkEnd::Unreadable };
    let return_address = stack.next(floor, fp.wrapping_add(8)).ok_or(unreadable)?;
    let caller_fp = stack.word(fp).ok_or(unreadable)?;
    let pc = if is_arm { without_signature(return_address) } else { return_address };
    if pc == 0 {
        return Err(WalkEnd::Complete);
    }
    if !may_be_code(pc) {
        return Err(WalkEnd::NoRows);
    }
    // The register could hold anything: the return address must follow a call.
    if !stack.follows_call(pc).unwrap_or(!other_stack) {
        return Err(WalkEnd::NoRows);
    }
    position.stacks += u32::from(other_stack);
    *at = Registers { pc, sp: fp.wrapping_add(16), fp: caller_fp, lr: 0, kept: step::CALLER };
    position.guessed = 1;
    Ok(())
}
