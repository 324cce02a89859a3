//! One part: a profile of its own, as long as a backend takes it.
//!
//! Its entries are numbered from 1 in the order of their first use; its strings are those that it uses.

use std::collections::HashMap;

use ahash::RandomState;
use indexmap::IndexSet;
use profiler_proto::pprof::{
    Function, Line, Location, Mapping, Profile, Sample, ValueType, entry_len,
};

use super::source::Source;
use super::{Kind, Options};
use crate::model::conventions::value;

/// Most samples: Pyroscope takes 16,000.
pub(super) const MAX_SAMPLES: usize = 16_000;

/// Most bytes, unpacked: Pyroscope's limit for a burst is 2 MB.
pub(super) const MAX_BYTES: usize = 1_900_000;

/// What numbers may take more in a part than where they come from.
const SLACK: usize = 16;

/// What a part is of.
#[derive(Clone, Copy)]
pub(super) struct Heading<'s, 'a> {
    pub(super) kind: Kind,
    /// What a value is to be multiplied with, where values are numbers of samples.
    pub(super) period: i64,
    /// The mapping of the executable.
    pub(super) executable: Option<u64>,
    /// What is said of the window.
    pub(super) comments: &'s [&'a str],
}

/// A part in the making.
pub(super) struct PartBuilder<'s, 'a> {
    source: &'s Source<'a>,
    options: Options,
    heading: Heading<'s, 'a>,
    strings: IndexSet<&'a str, RandomState>,
    mapping_ids: HashMap<u64, u64, RandomState>,
    location_ids: HashMap<u64, u64, RandomState>,
    function_ids: HashMap<u64, u64, RandomState>,
    profile: Profile,
    /// Bytes so far.
    size: usize,
}

impl<'s, 'a> PartBuilder<'s, 'a> {
    /// The mapping of the executable comes first, whether this part refers to it or not.
    pub(super) fn new(source: &'s Source<'a>, options: Options, heading: Heading<'s, 'a>) -> Self {
        let mut part = Self {
            source,
            options,
            heading,
            strings: IndexSet::default(),
            mapping_ids: HashMap::default(),
            location_ids: HashMap::default(),
            function_ids: HashMap::default(),
            profile: Profile::default(),
            // Types, times and the like.
            size: 256,
        };
        part.string("");
        for line in heading.comments {
            let line = part.string(line);
            part.profile.comment.push(line);
        }
        if let Some(executable) = heading.executable {
            part.mapping(executable);
        }
        part
    }

    /// Whether another stack fits.
    pub(super) fn has_room_for(&self, stack: &[u64]) -> bool {
        self.profile.sample.len() < MAX_SAMPLES
            && self.size.saturating_add(self.most_bytes_of(stack)) <= MAX_BYTES
    }

    /// What a stack adds at most.
    fn most_bytes_of(&self, stack: &[u64]) -> usize {
        let text = |index| self.source.text(index).len() + SLACK;
        let mut bytes = stack.len() * 5 + SLACK * 2;
        for id in stack.iter().filter(|id| !self.location_ids.contains_key(id)) {
            let Some(location) = self.source.location(*id) else { continue };
            bytes += entry_len(location) + SLACK * (1 + location.line.len());
            if !self.mapping_ids.contains_key(&location.mapping_id)
                && let Some(mapping) = self.source.mapping(location.mapping_id)
            {
                bytes += entry_len(mapping) + SLACK;
                bytes += text(mapping.filename) + text(mapping.build_id);
            }
            let is_new = |line: &&Line| !self.function_ids.contains_key(&line.function_id);
            for line in location.line.iter().filter(is_new) {
                let Some(function) = self.source.function(line.function_id) else { continue };
                bytes += entry_len(function) + SLACK;
                bytes += text(function.name) + text(function.system_name) + text(function.filename);
            }
        }
        bytes
    }

    pub(super) fn add(&mut self, stack: &[u64], value: i64) {
        let location_id = stack.iter().filter_map(|id| self.location(*id)).collect();
        let sample = Sample { location_id, value: vec![value], label: Vec::new() };
        self.size += entry_len(&sample);
        self.profile.sample.push(sample);
    }

    fn string(&mut self, text: &'a str) -> i64 {
        let (index, is_new) = self.strings.insert_full(text);
        if is_new {
            self.size += text.len() + 6;
        }
        index as i64
    }

    fn text(&mut self, index: i64) -> i64 {
        self.string(self.source.text(index))
    }

    fn location(&mut self, id: u64) -> Option<u64> {
        if let Some(known) = self.location_ids.get(&id) {
            return Some(*known);
        }
        let location = self.source.location(id)?;
        let mapping_id = self.mapping(location.mapping_id)?;
        let line = if self.source.is_bare(location) {
            Vec::new()
        } else {
            let lines = location.line.iter();
            lines
                .filter_map(|line| {
                    let function_id = self.function(line.function_id)?;
                    Some(Line { function_id, line: line.line.max(0) })
                })
                .collect()
        };
        let new = self.profile.location.len() as u64 + 1;
        let address = location.address;
        let location = Location { id: new, mapping_id, address, line, is_folded: false };
        self.size += entry_len(&location);
        self.profile.location.push(location);
        self.location_ids.insert(id, new);
        Some(new)
    }

    fn mapping(&mut self, id: u64) -> Option<u64> {
        if let Some(known) = self.mapping_ids.get(&id) {
            return Some(*known);
        }
        let mapping = self.source.mapping(id)?;
        let new = self.profile.mapping.len() as u64 + 1;
        let mapping = Mapping {
            id: new,
            filename: self.text(mapping.filename),
            build_id: self.text(mapping.build_id),
            ..mapping.clone()
        };
        self.size += entry_len(&mapping);
        self.profile.mapping.push(mapping);
        self.mapping_ids.insert(id, new);
        Some(new)
    }

    fn function(&mut self, id: u64) -> Option<u64> {
        if let Some(known) = self.function_ids.get(&id) {
            return Some(*known);
        }
        let function = self.source.function(id)?;
        let name = self.text(function.name);
        let system_name = match self.text(function.system_name) {
            0 => name,
            known => known,
        };
        let new = self.profile.function.len() as u64 + 1;
        let function = Function {
            id: new,
            name,
            system_name,
            filename: self.text(function.filename),
            start_line: function.start_line.max(0),
        };
        self.size += entry_len(&function);
        self.profile.function.push(function);
        self.function_ids.insert(id, new);
        Some(new)
    }

    /// The part with this number in its series; `None` where nothing is in it.
    pub(super) fn finish(mut self, number: usize) -> Option<Profile> {
        if self.profile.sample.is_empty() {
            return None;
        }
        let Heading { kind, period, .. } = self.heading;
        let time_type = kind.time_type();
        let (ty, unit) = if kind == Kind::Cpu && self.options.cpu_as_samples {
            (value::SAMPLES, value::COUNT)
        } else {
            (time_type, value::NANOSECONDS)
        };
        let sample_type = ValueType { ty: self.string(ty), unit: self.string(unit) };
        let period_type =
            ValueType { ty: self.string(time_type), unit: self.string(value::NANOSECONDS) };
        let offset = i64::try_from(number).unwrap_or(i64::MAX);
        Some(Profile {
            default_sample_type: sample_type.ty,
            sample_type: vec![sample_type],
            period_type: Some(period_type),
            period,
            time_nanos: self.source.profile.time_nanos.saturating_add(offset),
            duration_nanos: self.source.profile.duration_nanos,
            string_table: self.strings.iter().map(|s| (*s).to_owned()).collect(),
            ..self.profile
        })
    }
}
