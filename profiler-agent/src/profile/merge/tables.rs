//! What windows have in common, each once, by number.

use std::hash::{BuildHasher, Hash};

use ahash::RandomState;
use indexmap::{Equivalent, IndexMap, IndexSet};

use super::Limits;
use crate::model::conventions::mapping;
use crate::model::frame::{Frame, Marker};

/// Values of one sample: samples, CPU time, blocks, time off the CPU.
pub(super) type Values = [i64; 4];

/// The counter of samples that had no room.
pub(super) const TABLE_FULL: &str = "samples_without_stack_table_full";

/// Where code lies. Texts are numbers of strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct MappingKey {
    pub(super) filename: u32,
    pub(super) build_id: u32,
    pub(super) memory_start: u64,
    pub(super) memory_limit: u64,
    pub(super) file_offset: u64,
}

/// What is known of all code of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Has {
    pub(super) functions: bool,
    pub(super) filenames: bool,
    pub(super) line_numbers: bool,
    pub(super) inline_frames: bool,
}

impl Has {
    fn and(self, other: Self) -> Self {
        Self {
            functions: self.functions && other.functions,
            filenames: self.filenames && other.filenames,
            line_numbers: self.line_numbers && other.line_numbers,
            inline_frames: self.inline_frames && other.inline_frames,
        }
    }
}

/// A function. Texts are numbers of strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FunctionKey {
    pub(super) name: u32,
    pub(super) system_name: u32,
    pub(super) filename: u32,
    pub(super) start_line: i64,
}

/// A location. Everything is a number of the other tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LocationKey {
    /// `None` where it lies in no mapping.
    pub(super) mapping: Option<u32>,
    pub(super) address: u64,
    pub(super) is_folded: bool,
    pub(super) lines: u32,
}

/// A function and a line in it.
pub(super) type LineKey = (u32, i64);

/// A label. Texts are numbers of strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LabelKey {
    pub(super) key: u32,
    pub(super) str: u32,
    pub(super) num: i64,
    pub(super) num_unit: u32,
}

/// The tables.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) strings: IndexSet<Box<str>, RandomState>,
    pub(super) mappings: IndexMap<MappingKey, Has, RandomState>,
    pub(super) functions: IndexSet<FunctionKey, RandomState>,
    pub(super) lines: IndexSet<Box<[LineKey]>, RandomState>,
    pub(super) locations: IndexSet<LocationKey, RandomState>,
    pub(super) stacks: IndexSet<Box<[u32]>, RandomState>,
    pub(super) labels: IndexSet<Box<[LabelKey]>, RandomState>,
    /// By stack and labels.
    pub(super) samples: IndexMap<(u32, u32), Values, RandomState>,
    /// Frames of all stacks.
    frames: usize,
}

impl Tables {
    pub(super) fn string(&mut self, text: &str) -> u32 {
        intern(&mut self.strings, text)
    }

    pub(super) fn mapping(&mut self, key: MappingKey, has: Has) -> u32 {
        let entry = self.mappings.entry(key);
        let index = entry.index();
        entry.and_modify(|known| *known = known.and(has)).or_insert(has);
        number(index)
    }

    pub(super) fn function(&mut self, key: FunctionKey) -> u32 {
        number(self.functions.insert_full(key).0)
    }

    pub(super) fn lines(&mut self, lines: &[LineKey]) -> u32 {
        intern(&mut self.lines, lines)
    }

    pub(super) fn location(&mut self, key: LocationKey) -> u32 {
        number(self.locations.insert_full(key).0)
    }

    pub(super) fn labels(&mut self, labels: &[LabelKey]) -> u32 {
        intern(&mut self.labels, labels)
    }

    /// The number of a stack; `None` where it is new and there is no room for it.
    pub(super) fn stack(&mut self, locations: &[u32], limits: Limits) -> Option<u32> {
        if let Some(known) = self.stacks.get_index_of(locations) {
            return Some(number(known));
        }
        if self.frames.saturating_add(locations.len()) > limits.frames {
            return None;
        }
        self.frames = self.frames.saturating_add(locations.len());
        Some(number(self.stacks.insert_full(locations.into()).0))
    }

    /// Adds to a sample; without a stack, or without room, to the one that says so. Says whether it had
    /// its place.
    pub(super) fn add(
        &mut self,
        stack: Option<u32>,
        labels: u32,
        values: Values,
        limits: Limits,
    ) -> bool {
        let wanted = stack.map(|stack| (stack, labels));
        let has_room = |key: &(u32, u32)| {
            self.samples.len() < limits.samples || self.samples.contains_key(key)
        };
        let key = wanted.filter(has_room);
        let place = key.unwrap_or_else(|| self.overflow());
        let sums = self.samples.entry(place).or_default();
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum = sum.saturating_add(value);
        }
        key.is_some()
    }

    /// The sample of all that had no room.
    fn overflow(&mut self) -> (u32, u32) {
        let text = Frame::Marker(Marker::StackTableFull).marker_text().unwrap_or_default();
        let (name, empty) = (self.string(&text), self.string(""));
        let filename = self.string(mapping::MARKER);
        let key = MappingKey {
            filename,
            build_id: empty,
            memory_start: 0,
            memory_limit: 0,
            file_offset: 0,
        };
        let has =
            Has { functions: true, filenames: false, line_numbers: false, inline_frames: false };
        let mapping = Some(self.mapping(key, has));
        let function =
            self.function(FunctionKey { name, system_name: name, filename: empty, start_line: 0 });
        let lines = self.lines(&[(function, 0)]);
        let location = self.location(LocationKey { mapping, address: 0, is_folded: false, lines });
        (number(self.stacks.insert_full([location].into()).0), self.labels(&[]))
    }
}

/// The number of something that is copied only when it is new.
fn intern<Q, T, S>(set: &mut IndexSet<T, S>, wanted: &Q) -> u32
where
    Q: Hash + Equivalent<T> + ?Sized,
    T: Hash + Eq + for<'q> From<&'q Q>,
    S: BuildHasher,
{
    let known = set.get_index_of(wanted);
    number(known.unwrap_or_else(|| set.insert_full(T::from(wanted)).0))
}

/// Limits keep every table far below this.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
