//! Mappings, locations and functions: each once, numbered from 1 in the order of their first use.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use indexmap::{IndexMap, IndexSet};
use profiler_proto::pprof::{Function, Line, Location, Mapping};

use super::place::{KernelBases, MappingKey, address_of, file_name_of, mapping_of, placeholder};
use super::table::Strings;
use crate::model::frame::{Binary, BinaryKind, Frame, FrameKey};
use crate::model::names::{NamedLine, Names};
use crate::profile::window::Window;

/// A function: indices of its name, its symbol and its file.
type FunctionKey = (i64, i64, i64);

/// A location: its mapping (number), address, and lines (function number and line). Frames of which
/// all this is equal share one.
type LocationKey = (usize, u64, Vec<(u64, i64)>);

/// Builds the three tables.
pub(super) struct Symbols<'a> {
    names: &'a Names,
    kernel_bases: KernelBases,
    mappings: IndexMap<MappingKey, MappingFacts, RandomState>,
    locations: IndexSet<LocationKey, RandomState>,
    functions: IndexSet<FunctionKey, RandomState>,
    by_frame: HashMap<FrameKey, u64, RandomState>,
}

/// What a mapping will say.
struct MappingFacts {
    binary: Option<Arc<Binary>>,
    all_named: bool,
    all_with_file: bool,
    all_with_line: bool,
}

impl MappingFacts {
    fn new(binary: Option<&Arc<Binary>>) -> Self {
        Self { binary: binary.cloned(), all_named: true, all_with_file: true, all_with_line: true }
    }

    fn see(&mut self, lines: &[NamedLine]) {
        self.all_named &= !lines.is_empty();
        self.all_with_file &= !lines.is_empty() && lines.iter().all(|l| !l.file.is_empty());
        self.all_with_line &= !lines.is_empty() && lines.iter().all(|l| l.line > 0);
    }
}

impl<'a> Symbols<'a> {
    /// The mapping of `executable` gets number 1, if any frame lies in it.
    pub(super) fn new(window: &Window, names: &'a Names, executable: Option<u32>) -> Self {
        let mut symbols = Self {
            names,
            kernel_bases: KernelBases::of(window),
            mappings: IndexMap::default(),
            locations: IndexSet::default(),
            functions: IndexSet::default(),
            by_frame: HashMap::default(),
        };
        symbols.reserve_first(window, executable);
        symbols
    }

    /// Files come before pseudo mappings, and the executable before all.
    fn reserve_first(&mut self, window: &Window, executable: Option<u32>) {
        let mut first = None;
        for frame in window.samples().flat_map(|s| s.stack.iter()) {
            let Frame::Native { binary, .. } = frame else { continue };
            if binary.kind == BinaryKind::Vdso {
                continue;
            }
            if executable.is_none_or(|id| id == binary.id) {
                first = Some(binary);
                break;
            }
            first = first.or(Some(binary));
        }
        if let Some(binary) = first {
            let facts = MappingFacts::new(Some(binary));
            self.mappings.insert(MappingKey::Binary(binary.id), facts);
        }
    }

    /// The location id of a frame.
    pub(super) fn location(&mut self, frame: &Frame, strings: &mut Strings) -> u64 {
        let key = frame.key();
        if let Some(id) = self.by_frame.get(&key) {
            return *id;
        }
        let names = self.names.get(&key).map_or(&[][..], |names| names.as_ref());
        let names = if names.iter().any(|n| n.function.is_empty()) { &[] } else { names };
        let mapping = self.mapping(frame, names);
        let mut lines: Vec<_> = names.iter().map(|line| self.line(line, strings)).collect();
        if lines.is_empty() {
            let name = strings.add(&placeholder(frame, &self.kernel_bases));
            lines.push((self.function((name, name, 0)), 0));
        }
        let location = (mapping, address_of(frame), lines);
        let id = self.locations.insert_full(location).0 as u64 + 1;
        self.by_frame.insert(key, id);
        id
    }

    fn mapping(&mut self, frame: &Frame, names: &[NamedLine]) -> usize {
        let binary = match frame {
            Frame::Native { binary, .. } => Some(binary),
            _ => None,
        };
        let entry = self.mappings.entry(mapping_of(frame));
        let index = entry.index();
        let facts = entry.or_insert_with(|| MappingFacts::new(binary));
        facts.see(names);
        // A marker is its own name.
        facts.all_named |= frame.is_marker();
        index
    }

    fn line(&mut self, line: &NamedLine, strings: &mut Strings) -> (u64, i64) {
        let name = strings.add(&line.function);
        // Readers refuse an empty one.
        let system_name =
            if line.system_name.is_empty() { name } else { strings.add(&line.system_name) };
        let file = strings.add(&line.file);
        (self.function((name, system_name, file)), i64::from(line.line))
    }

    fn function(&mut self, key: FunctionKey) -> u64 {
        self.functions.insert_full(key).0 as u64 + 1
    }

    /// The finished tables.
    pub(super) fn finish(
        self,
        strings: &mut Strings,
    ) -> (Vec<Mapping>, Vec<Location>, Vec<Function>) {
        let mappings = (1..).zip(&self.mappings);
        let mappings = mappings.map(|(id, (key, facts))| mapping(id, *key, facts, strings));
        let locations = (1..).zip(&self.locations).map(|(id, (mapping, address, lines))| {
            let line =
                |(function_id, line): &(u64, i64)| Line { function_id: *function_id, line: *line };
            Location {
                id,
                mapping_id: *mapping as u64 + 1,
                address: *address,
                line: lines.iter().map(line).collect(),
                is_folded: false,
            }
        });
        let functions =
            (1..).zip(&self.functions).map(|(id, (name, system_name, filename))| Function {
                id,
                name: *name,
                system_name: *system_name,
                filename: *filename,
                start_line: 0,
            });
        (mappings.collect(), locations.collect(), functions.collect())
    }
}

/// Range and offset stay zero: addresses are ELF virtual addresses already.
fn mapping(id: u64, key: MappingKey, facts: &MappingFacts, strings: &mut Strings) -> Mapping {
    let (filename, build_id) = match (&facts.binary, key) {
        (Some(binary), _) => (file_name_of(binary), binary.build_id.as_str()),
        (None, MappingKey::Pseudo(name)) => (name, ""),
        (None, MappingKey::Binary(_)) => (crate::model::conventions::mapping::UNKNOWN, ""),
    };
    Mapping {
        id,
        filename: strings.add(filename),
        build_id: strings.add(&build_id.to_ascii_lowercase()),
        has_functions: facts.all_named,
        has_filenames: facts.all_with_file,
        has_line_numbers: facts.all_with_line,
        // Inlined frames and lines come from the same tables.
        has_inline_frames: facts.all_with_line,
        ..Mapping::default()
    }
}
