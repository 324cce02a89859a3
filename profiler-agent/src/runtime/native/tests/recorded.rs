//! The walk over stacks of real programs, from their unwind information to the last frame: what another
//! unwinder found in them is found.

use std::sync::Arc;

use profiler_common::native::MappingList;
use profiler_common::native::known::{self, ENTRIES, Entry, Key};
use profiler_common::native::lookup::Bytes;
use profiler_common::native::rule::Rule;
use profiler_common::native::step::{RUNNING, Registers, Stack};
use profiler_common::native::walk::{Arena, Position, caller};
use profiler_common::walk::{FRAME_ADDRESS, USER_FRAMES_DEEP, WalkEnd};
use profiler_tests::recorded::{self, Hex, MappedFile, Recorded};
use zerocopy::IntoBytes;

use super::super::cut::{Known, PlacedPart, Ranges};
use super::*;
use crate::model::frame::{Binary, BinaryKind, Segment};
use crate::model::space::{Code, Mapping};
use crate::model::tables::Place;

#[test]
fn recorded_stacks_are_walked_to_their_end() {
    let all = Recorded::all().unwrap();
    assert!(all.len() >= 30, "only {} stacks: cargo xtask record-stacks", all.len());
    let failures: Vec<String> = all
        .iter()
        .filter_map(|(name, recorded)| {
            let expected: Vec<u64> = recorded.frames.iter().map(|frame| frame.pc.0).collect();
            let mut memory = Memory::new(recorded);
            let found = walk(recorded, &mut memory);
            let whole = (expected, WalkEnd::Complete);
            if found != whole {
                return Some(format!("{name}: {found:x?} instead of {whole:x?}"));
            }
            // By rules that are remembered.
            let again = walk(recorded, &mut memory);
            let is_same = again == found && (memory.recalled > 0 || found.0.len() < 3);
            (!is_same).then(|| format!("{name}, again: {again:x?} instead of {whole:x?}"))
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The frames that the walk finds, innermost first, and why it ends.
fn walk(recorded: &Recorded, memory: &mut Memory) -> (Vec<u64>, WalkEnd) {
    let recorded::Registers { pc, sp, fp, rbx } = recorded.registers;
    let at = Registers { pc: pc.0, sp: sp.0, fp: fp.0, lr: rbx.0, kept: RUNNING };
    let mut position = Position::new(at, memory.list);
    let mut stack = Words(recorded);
    let mut frames = vec![pc.0];
    while frames.len() < USER_FRAMES_DEEP as usize {
        match caller(&mut position, memory, &mut stack, false) {
            Ok(()) => frames.push(position.word() & FRAME_ADDRESS),
            Err(end) => return (frames, end),
        }
    }
    (frames, WalkEnd::DepthLimit)
}

/// One region with the tables of all files, the list of the mappings behind them, and what is remembered of
/// earlier walks.
struct Memory {
    region: Vec<u8>,
    list: MappingList,
    known: Vec<Entry>,
    recalled: u32,
}

impl Memory {
    fn new(recorded: &Recorded) -> Self {
        let mut region = Vec::new();
        let mut mappings = Vec::new();
        for file in &recorded.files {
            let binary = binary(file);
            let elf = image(file).file();
            // The headers may say no more than the file has.
            elf.set_len(1 << 32).unwrap();
            let table = load(&elf, None, &Limits::default());
            let table = table.unwrap_or_else(|error| panic!("{}: {error}", file.path));
            let parts: Vec<PlacedPart> =
                table.parts.iter().map(|part| place(&mut region, part)).collect();
            for mapping in &file.mappings {
                let code = Code::Binary(Arc::clone(&binary));
                let (start, end) = (mapping.start.0, mapping.end.0);
                let mapping = Mapping { start, end, file_offset: mapping.offset.0, code };
                mappings.push((mapping, Arc::clone(&binary), parts.clone()));
            }
        }
        mappings.sort_by_key(|(mapping, ..)| mapping.start);
        let mut ranges = Ranges::default();
        for (mapping, binary, parts) in &mappings {
            ranges.add(mapping, Known::Parts(binary, parts));
        }
        let (offset, count) = (region.len() as u32, ranges.as_slice().len() as u32);
        region.extend(ranges.as_slice().as_bytes());
        let list = MappingList { offset, count, ..MappingList::default() };
        Self { region, list, known: vec![Entry { both: 0, rule: 0 }; ENTRIES], recalled: 0 }
    }
}

impl Arena for Memory {
    type Region<'a> = Bytes<'a>;

    fn region(&mut self, number: u32) -> Option<Bytes<'_>> {
        (number == 0).then_some(Bytes(&self.region))
    }

    fn recall(&mut self, table: u32, place: u32) -> Option<Rule> {
        let key = Key::new(table, place);
        let rule = key.rule(self.known[key.index() as usize]);
        self.recalled += u32::from(rule.is_some());
        rule
    }

    fn remember(&mut self, table: u32, place: u32, rule: Rule) {
        let key = Key::new(table, place);
        self.known[key.index() as usize] = key.entry(rule);
    }
}

fn place(region: &mut Vec<u8>, part: &Part) -> PlacedPart {
    region.resize(region.len().next_multiple_of(8), 0);
    let offset = region.len() as u32;
    region.extend(&part.bytes);
    PlacedPart {
        address: part.address,
        len: part.len,
        place: Place { region: 0, offset },
        rules: offset + part.rules,
        bytes: part.bytes.len() as u32,
        id: known::id(offset / 8),
    }
}

fn binary(file: &MappedFile) -> Arc<Binary> {
    let segments = file.segments.iter().map(|segment| Segment {
        file_offset: segment.offset.0,
        file_size: segment.size.0,
        address: segment.address.0,
    });
    Arc::new(Binary {
        id: 0,
        path: file.path.clone(),
        kind: BinaryKind::File,
        build_id: String::new(),
        file: None,
        debug: None,
        segments: segments.collect(),
        problem: None,
    })
}

/// A file with the same unwind information.
fn image(file: &MappedFile) -> Image {
    let mut frames = Frames::x86();
    for common in &file.commons {
        let augmentation = if common.is_signal { "zS" } else { "z" };
        frames.common(augmentation, 16, &recorded::from_hex(&common.program).unwrap());
        for function in &common.functions {
            let program = recorded::from_hex(&function.program).unwrap();
            frames = frames.function(function.start.0, function.len.0, &program);
        }
    }
    let mut image = Image::new(frames.bytes);
    let first = file.segments.first().unwrap();
    let end = file.segments.iter().map(|s| s.address.0 + s.size.0).max().unwrap();
    image.code = (first.address.0, end - first.address.0);
    image
}

/// The stacks, of which only some words are known.
struct Words<'a>(&'a Recorded);

impl Stack for Words<'_> {
    fn next(&mut self, _floor: u64, address: u64) -> Option<u64> {
        self.word(address)
    }

    fn word(&mut self, address: u64) -> Option<u64> {
        let within = |(start, end): &(Hex, Hex)| (start.0..end.0).contains(&address);
        self.0.stacks.iter().find(|stack| within(stack))?;
        let found = self.0.words.binary_search_by_key(&address, |(at, _)| at.0);
        Some(found.ok().and_then(|index| self.0.words.get(index)).map_or(0, |(_, word)| word.0))
    }

    fn follows_call(&mut self, _return_address: u64) -> Option<bool> {
        None
    }
}
