//! The step by unwind rows: the rule for the place in the code, applied to the stack.

use profiler_common::native::{
    MappingKind, lookup,
    rule::Rule,
    step::{self, Stack, Stop},
};

use crate::{
    arena,
    maps::Scratch,
    opaque::Unknown,
    settings,
    walk::Walk,
    window::{Memory, WINDOW_WORDS, Window},
};

/// Moves `walk` to the caller; or says why it cannot.
#[inline(always)]
pub fn step<M: Memory>(walk: &mut Walk, scratch: &mut Scratch, memory: &M) -> Result<(), Stop> {
    let rule = rule(walk, &mut scratch.answer);
    let window = &mut walk.window;
    let mut stack = UserStack { window, buffer: &mut scratch.window, memory };
    step::step(rule, &mut walk.at, &mut stack, settings::is_arm())
}

/// The rule for where the walk stands.
#[inline(always)]
fn rule(walk: &mut Walk, answer: &mut Unknown) -> Rule {
    let place = walk.at.place();
    if !walk.holds(place) && !enter(walk, place, answer) {
        return Rule::NONE;
    }
    let code = &walk.code;
    if code.kind != MappingKind::Table.raw() {
        return Rule::NONE;
    }
    let Some(mut region) = arena::region(code.region, answer) else { return Rule::NONE };
    let place = (place.wrapping_sub(code.start) as u32).wrapping_add(code.delta);
    lookup::rule(&mut region, code.table, code.rules, place)
}

/// Finds the mapping that holds `place`, which is then remembered; false where none is known.
#[inline(always)]
fn enter(walk: &mut Walk, place: u64, answer: &mut Unknown) -> bool {
    let list = walk.list;
    let Some(mut region) = arena::region(list.region, answer) else { return false };
    match lookup::mapping(&mut region, list.offset, list.count, place) {
        Some(mapping) => {
            walk.code = mapping;
            true
        }
        None => {
            walk.forget_code();
            false
        }
    }
}

/// The stack through the window.
struct UserStack<'a, M> {
    window: &'a mut Window,
    buffer: &'a mut [u64; WINDOW_WORDS],
    memory: &'a M,
}

impl<M: Memory> Stack for UserStack<'_, M> {
    #[inline(always)]
    fn next(&mut self, floor: u64, address: u64) -> Option<u64> {
        let Self { window, buffer, memory } = self;
        let there = address & 7 == 0 && window.cover::<1, _>(buffer, *memory, floor, address);
        there.then(|| window.word(buffer, address))
    }

    #[inline(always)]
    fn word(&mut self, address: u64) -> Option<u64> {
        let Self { window, buffer, memory } = self;
        if address & 7 == 0 && window.holds::<1>(address) {
            return Some(window.word(buffer, address));
        }
        let mut word = 0u64;
        memory.read(&raw mut word, 8, address).then_some(word)
    }
}
