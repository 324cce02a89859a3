//! One step of a walk: by unwind rows, and by frame pointer where there are none.

use super::frame::{self, MAX_FRAME};
use super::lookup::{self, Region};
use super::rule::{Cfa, FramePointer, ReturnAddress, Rule};
use super::step::{self, Registers, Stack, Stop};
use super::{Mapping, MappingKind, MappingList};
use crate::walk::WalkEnd;

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
    /// Looks for the region with the table of code that the walk comes to; false where there is none.
    fn enter(&mut self, number: u32) -> bool {
        self.region(number).is_some()
    }
    /// The region that was entered last: of this number.
    fn entered(&mut self, number: u32) -> Option<Self::Region<'_>> {
        self.region(number)
    }
    /// The rule for a place in the table of this [`super::known::id`], where that is remembered.
    fn recall(&mut self, _table: u32, _place: u32) -> Option<Rule> {
        None
    }
    /// Remembers it.
    fn remember(&mut self, _table: u32, _place: u32, _rule: Rule) {}
    /// Passes a value on. The kernel side makes its verifier forget what it knew of it.
    fn forget(&mut self, value: u64) -> u64 {
        value
    }
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
    /// The one before: libraries call each other by turns, and a large table has several parts.
    pub before: Mapping,
    /// How often the walk went on on another stack.
    pub stacks: u32,
    /// 1 when the frame was found by a frame pointer.
    pub guessed: u32,
}

impl Position {
    /// At the innermost frame.
    #[inline(always)]
    pub const fn new(at: Registers, list: MappingList) -> Self {
        Self { at, list, code: NO_CODE, before: NO_CODE, stacks: 0, guessed: 0 }
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
        let code = Mapping { kind: MappingKind::NoRows.short(), ..everywhere };
        Self { code, ..Self::new(at, NO_LIST) }
    }

    /// Whether the rows for this place may still come.
    #[inline(always)]
    const fn is_pending(&self) -> bool {
        self.code.kind == MappingKind::Pending.short()
    }
}

/// No mapping that is known.
const NO_CODE: Mapping = Mapping {
    start: 0,
    len: 0,
    delta: 0,
    table: 0,
    rules: 0,
    id: 0,
    region: 0,
    kind: MappingKind::Pending.short(),
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
    let rule = rule(position, arena);
    if rule.cfa() == Cfa::Signal.raw() {
        position.guessed = stack.forget(0) as u32;
        return step::interrupted(rule, &mut position.at, stack, is_arm);
    }
    let (rule, cfa, how) = match frame::find(rule, &mut position.at, stack, is_arm) {
        Ok(cfa) => (rule, cfa, BY_ROWS),
        Err(Stop::End(end)) => return Err(end),
        Err(Stop::NoRule) if position.is_pending() => return Err(WalkEnd::NotReady),
        Err(Stop::NoRule) => {
            let (cfa, how) = by_frame_pointer(position, stack)?;
            (BY_FRAME_POINTER, cfa, how)
        }
    };
    // Many ways lead here, and the verifier is to follow one of them.
    let (rule, cfa) = (Rule(stack.forget(rule.0)), stack.forget(cfa));
    let how = stack.forget_slowly(how);
    let ended = step::caller(rule, cfa, &mut position.at, stack, is_arm);
    position.guessed = (how & GUESSED) as u32;
    if how == BY_ROWS {
        return ended;
    }
    match ended {
        Err(WalkEnd::BadRow) => Err(WalkEnd::NoRows),
        Err(WalkEnd::Unreadable) if how == GUESSED | ELSEWHERE => Err(WalkEnd::NoRows),
        Err(end) => Err(end),
        // The register could hold anything: the return address must follow a call.
        Ok(()) if stack.follows_call(position.at.pc).unwrap_or(how == GUESSED) => Ok(()),
        Ok(()) => Err(WalkEnd::NoRows),
    }
}

/// The frame was found by its rows.
const BY_ROWS: u64 = 0;
/// It was found by the frame pointer.
const GUESSED: u64 = 1;
/// And it is on another stack.
const ELSEWHERE: u64 = 2;

/// The rule for the place.
#[inline(always)]
fn rule<A: Arena>(position: &mut Position, arena: &mut A) -> Rule {
    let place = position.at.place();
    if place.wrapping_sub(position.code.start) >= position.code.len.into() {
        enter(position, arena, place);
    }
    let code = &position.code;
    if code.kind != MappingKind::Table.short() {
        return Rule::NONE;
    }
    let place = (place.wrapping_sub(code.start) as u32).wrapping_add(code.delta);
    if let Some(rule) = arena.recall(code.id, place) {
        return rule;
    }
    let region = arena.entered(code.region.into());
    let found = region.map(|mut region| lookup::rule(&mut region, code.table, code.rules, place));
    let Some(rule) = found else { return Rule::NONE };
    arena.remember(code.id, place, rule);
    rule
}

/// Finds the mapping that holds `place`, which is then remembered.
#[inline(always)]
fn enter<A: Arena>(position: &mut Position, arena: &mut A, place: u64) {
    let before = position.before;
    let code = if place.wrapping_sub(before.start) < before.len.into() {
        before
    } else {
        let list = position.list;
        let found = match arena.region(list.region) {
            Some(mut region) => lookup::mapping(&mut region, list.offset, list.count, place),
            None => None,
        };
        found.unwrap_or(NO_CODE)
    };
    let kind = if arena.enter(code.region.into()) { code.kind } else { NO_CODE.kind };
    position.before = passed(position.code, arena);
    position.code = passed(Mapping { kind, ..code }, arena);
}

/// A copy, of which the verifier knows nothing.
#[inline(always)]
fn passed<A: Arena>(mapping: Mapping, arena: &mut A) -> Mapping {
    Mapping {
        start: arena.forget(mapping.start),
        len: arena.forget(mapping.len.into()) as u32,
        delta: arena.forget(mapping.delta.into()) as u32,
        table: arena.forget(mapping.table.into()) as u32,
        rules: arena.forget(mapping.rules.into()) as u32,
        id: arena.forget(mapping.id.into()) as u32,
        region: arena.forget(mapping.region.into()) as u16,
        kind: arena.forget(mapping.kind.into()) as u16,
    }
}

/// Where there are no rows: the word at the frame pointer is the caller's, the next word the return
/// address. The same on x86-64 (`push rbp; mov rbp, rsp`) and arm64 (`stp x29, x30`).
const BY_FRAME_POINTER: Rule = Rule::new(Cfa::Fp, 2)
    .with_frame_pointer(FramePointer::Saved, -2)
    .with_return_address(ReturnAddress::AtCfa, -1)
    .with_rbx(Rule::RBX_LOST);

/// The frame by [`BY_FRAME_POINTER`], and how it was found. On another stack, nothing below it is read.
#[inline(always)]
fn by_frame_pointer<S: Stack>(
    position: &mut Position,
    stack: &mut S,
) -> Result<(u64, u64), WalkEnd> {
    let fp = stack.forget(position.at.fp);
    if fp == 0 {
        return Err(WalkEnd::Complete);
    }
    let elsewhere = fp.wrapping_sub(position.at.sp) >= MAX_FRAME;
    if fp & 7 != 0 || (elsewhere && position.stacks >= MAX_STACKS) {
        return Err(WalkEnd::NoRows);
    }
    let mut how = GUESSED;
    if elsewhere {
        how |= ELSEWHERE;
        position.at.sp = stack.forget(fp);
        position.stacks = stack.forget((position.stacks + 1).into()) as u32;
    }
    Ok((fp.wrapping_add(16), how))
}
