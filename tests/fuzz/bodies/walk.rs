//! The walk, as the kernel side does it, over tables and a stack that anyone may have written: it ends,
//! and every frame that it finds could be one.
//!
//! The input: which machine, registers, the list, the length of the stack, the stack, and the rest is
//! the arena's first region.

use profiler_common::native::MappingList;
use profiler_common::native::known::{ENTRIES, Entry, Key};
use profiler_common::native::lookup::Bytes;
use profiler_common::native::rule::Rule;
use profiler_common::native::step::{Registers, Stack, may_be_code};
use profiler_common::native::walk::{Arena, Position, caller};
use profiler_common::walk::{FRAME_ADDRESS, USER_FRAMES_DEEP};

pub fn run(input: &[u8]) {
    let _ = walk(input);
}

fn walk(mut input: &[u8]) -> Option<()> {
    let input = &mut input;
    let [kind, at_offset, count, stack_bytes] = words(input, 2)?;
    let [pc, sp, fp, lr] = words(input, 8)?;
    let kept = match kind >> 1 & 3 {
        3 => fp | 1, // a signal's context, anywhere
        who => who,
    };
    let at = Registers { pc, sp, fp, lr, kept };
    let (stack, region) = input.split_at(input.len().min(stack_bytes as usize));
    let list =
        MappingList { offset: at_offset as u32, count: count as u32, ..MappingList::default() };

    let mut stack = Memory { start: sp & !7, bytes: stack };
    let mut arena = OneRegion { bytes: region, known: vec![NOTHING; ENTRIES] };
    // The second time by rules that are remembered: here a list may give two tables the same number.
    for _ in 0..2 {
        frames(Position::new(at, list), &mut arena, &mut stack, kind & 1 != 0);
    }
    Some(())
}

fn frames(mut position: Position, arena: &mut OneRegion<'_>, stack: &mut Memory<'_>, is_arm: bool) {
    for _ in 0..USER_FRAMES_DEEP {
        if caller(&mut position, arena, stack, is_arm).is_err() {
            break;
        }
        let address = position.word() & FRAME_ADDRESS;
        assert!(may_be_code(address) && address == position.at.pc, "{position:x?}");
    }
}

/// Takes four numbers of so many bytes.
fn words(input: &mut &[u8], size: usize) -> Option<[u64; 4]> {
    let mut found = [0; 4];
    for word in &mut found {
        let (bytes, rest) = input.split_at_checked(size)?;
        *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        *input = rest;
    }
    Some(found)
}

const NOTHING: Entry = Entry { both: 0, rule: 0 };

struct OneRegion<'i> {
    bytes: &'i [u8],
    known: Vec<Entry>,
}

impl Arena for OneRegion<'_> {
    type Region<'a>
        = Bytes<'a>
    where
        Self: 'a;

    fn region(&mut self, number: u32) -> Option<Bytes<'_>> {
        (number == 0).then_some(Bytes(self.bytes))
    }

    fn recall(&mut self, table: u32, place: u32) -> Option<Rule> {
        let key = Key::new(table, place);
        key.rule(self.known[key.index() as usize])
    }

    fn remember(&mut self, table: u32, place: u32, rule: Rule) {
        let key = Key::new(table, place);
        self.known[key.index() as usize] = key.entry(rule);
    }
}

struct Memory<'i> {
    start: u64,
    bytes: &'i [u8],
}

impl Stack for Memory<'_> {
    fn next(&mut self, floor: u64, address: u64) -> Option<u64> {
        // The kernel side reads a window from there on.
        if address < floor & !7 { None } else { self.word(address) }
    }

    fn word(&mut self, address: u64) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(self.start)?).ok()?;
        Some(u64::from_le_bytes(*self.bytes.get(at..)?.first_chunk()?))
    }

    fn follows_call(&mut self, return_address: u64) -> Option<bool> {
        // Each answer for some.
        [Some(true), Some(false), None].get(return_address as usize % 3).copied().flatten()
    }

    fn register(&mut self, offset: u64) -> Option<u64> {
        self.word(self.start.wrapping_add(offset))
    }
}
