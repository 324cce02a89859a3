//! One window: from its own numbers to those of the common tables.

use std::collections::HashMap;

use ahash::RandomState;
use profiler_proto::pprof::{Borrowed, Label, labels, numbers};

use super::tables::{FunctionKey, Has, LabelKey, LineKey, LocationKey, MappingKey, Tables, Values};
use super::{Limits, MergeError};
use crate::model::conventions::value;
use crate::model::query::Filter;

/// A number that was not looked up yet.
const UNKNOWN: u32 = u32::MAX;

/// One sample that the filter wants. Without a stack where there was no room for it.
pub(super) struct Wanted {
    pub(super) stack: Option<u32>,
    pub(super) labels: u32,
    pub(super) values: Values,
}

/// A window that is being read.
pub(super) struct Window<'a, 't> {
    profile: &'a Borrowed<'a>,
    tables: &'t mut Tables,
    filter: &'t Filter,
    limits: Limits,
    /// Numbers in the tables, by index in the window.
    strings: Vec<u32>,
    mappings: Memo,
    functions: Memo,
    locations: Memo,
    /// Scratch for what is looked up by a slice.
    lines: Vec<LineKey>,
    frames: Vec<u32>,
}

/// Numbers in the tables, by index in the window, and the index of an id.
struct Memo {
    numbers: Vec<u32>,
    /// `None` where ids count 1, 2, 3, …
    by_id: Option<HashMap<u64, usize, RandomState>>,
}

impl Memo {
    fn new(ids: impl ExactSizeIterator<Item = u64> + Clone) -> Self {
        let numbers = vec![UNKNOWN; ids.len()];
        let dense = ids.clone().zip(1..).all(|(id, due)| id == due);
        let by_id = (!dense).then(|| ids.zip(0..).collect());
        Self { numbers, by_id }
    }

    fn index(&self, id: u64) -> Option<usize> {
        match &self.by_id {
            Some(by_id) => by_id.get(&id).copied(),
            None => usize::try_from(id).ok()?.checked_sub(1).filter(|i| *i < self.numbers.len()),
        }
    }

    fn known(&self, index: usize) -> Option<u32> {
        self.numbers.get(index).copied().filter(|number| *number != UNKNOWN)
    }

    fn learn(&mut self, index: usize, number: u32) -> u32 {
        if let Some(slot) = self.numbers.get_mut(index) {
            *slot = number;
        }
        number
    }
}

impl<'a, 't> Window<'a, 't> {
    pub(super) fn new(
        profile: &'a Borrowed<'a>,
        tables: &'t mut Tables,
        filter: &'t Filter,
        limits: Limits,
    ) -> Self {
        Self {
            strings: vec![UNKNOWN; profile.string_table.len()],
            mappings: Memo::new(profile.mapping.iter().map(|m| m.id)),
            functions: Memo::new(profile.function.iter().map(|f| f.id)),
            locations: Memo::new(profile.location.iter().map(|l| l.id)),
            lines: Vec::new(),
            frames: Vec::new(),
            profile,
            tables,
            filter,
            limits,
        }
    }

    /// All samples that are wanted.
    pub(super) fn samples(&mut self) -> Result<Vec<Wanted>, MergeError> {
        let profile = self.profile;
        let columns = columns(profile)?;
        // By the bytes of the window: the texts of labels and the frames of stacks need no look then.
        let mut labels_seen = HashMap::<_, Option<u32>, RandomState>::default();
        let mut stacks_seen = HashMap::<_, Option<u32>, RandomState>::default();
        let mut wanted = Vec::new();
        let mut raw = Vec::new();
        for index in 0..profile.sample_count() {
            let Some(sample) = profile.sample(index, &mut raw)? else { break };
            let values = self.values(&columns, &raw)?;
            if values == [0; 4] {
                continue;
            }
            let labels = match labels_seen.get(&sample.labels) {
                Some(known) => *known,
                None => {
                    let labels = self.labels(&sample.labels)?;
                    labels_seen.insert(sample.labels, labels);
                    labels
                }
            };
            let Some(labels) = labels else { continue };
            let stack = match stacks_seen.get(&sample.stack) {
                Some(known) => *known,
                None => {
                    let stack = self.stack(&sample.stack)?;
                    stacks_seen.insert(sample.stack, stack);
                    stack
                }
            };
            wanted.push(Wanted { stack, labels, values });
        }
        Ok(wanted)
    }

    /// The values of the kinds that are wanted.
    fn values(&self, columns: &[usize], raw: &[i64]) -> Result<Values, MergeError> {
        if raw.len() != columns.len() {
            return Err(MergeError::Contradiction("a sample has not one value for each type"));
        }
        let mut values = Values::default();
        for (column, value) in columns.iter().zip(raw) {
            if let Some(slot) = values.get_mut(*column) {
                *slot = slot.saturating_add(*value);
            }
        }
        let [samples, cpu, blocks, off_cpu] = values;
        Ok(match (self.filter.event.on_cpu(), self.filter.event.off_cpu()) {
            (true, true) => values,
            (true, false) => [samples, cpu, 0, 0],
            (false, _) => [0, 0, blocks, off_cpu],
        })
    }

    /// `None` where the filter does not want samples with these labels.
    fn labels(&mut self, bytes: &[u8]) -> Result<Option<u32>, MergeError> {
        let mut found: Vec<Label> = Vec::new();
        labels(bytes, |label| found.push(label))?;
        if !is_wanted(self.filter, self.profile, &found) {
            return Ok(None);
        }
        let mut keys = Vec::with_capacity(found.len());
        for label in found {
            keys.push(LabelKey {
                key: self.string(label.key)?,
                str: self.string(label.str)?,
                num: label.num,
                num_unit: self.string(label.num_unit)?,
            });
        }
        Ok(Some(self.tables.labels(&keys)))
    }

    fn stack(&mut self, bytes: &[u8]) -> Result<Option<u32>, MergeError> {
        let mut ids = Vec::with_capacity(bytes.len());
        numbers(bytes, |id| ids.push(id))?;
        self.frames.clear();
        for id in ids {
            let location = self.location(id)?;
            self.frames.push(location);
        }
        Ok(self.tables.stack(&self.frames, self.limits))
    }

    fn location(&mut self, id: u64) -> Result<u32, MergeError> {
        let missing = MergeError::Contradiction("a stack names a location that does not exist");
        let Some(index) = self.locations.index(id) else { return Err(missing) };
        if let Some(known) = self.locations.known(index) {
            return Ok(known);
        }
        let profile = self.profile;
        let Some(location) = profile.location.get(index) else { return Err(missing) };
        let mapping = match location.mapping_id {
            0 => None,
            id => Some(self.mapping(id)?),
        };
        self.lines.clear();
        for line in profile.lines(location) {
            let function = self.function(line.function_id)?;
            self.lines.push((function, line.line));
        }
        let lines = self.tables.lines(&self.lines);
        let (address, is_folded) = (location.address, location.is_folded);
        let number = self.tables.location(LocationKey { mapping, address, is_folded, lines });
        Ok(self.locations.learn(index, number))
    }

    fn mapping(&mut self, id: u64) -> Result<u32, MergeError> {
        let missing = MergeError::Contradiction("a location names a mapping that does not exist");
        let Some(index) = self.mappings.index(id) else { return Err(missing) };
        if let Some(known) = self.mappings.known(index) {
            return Ok(known);
        }
        let Some(mapping) = self.profile.mapping.get(index) else { return Err(missing) };
        let key = MappingKey {
            filename: self.string(mapping.filename)?,
            build_id: self.string(mapping.build_id)?,
            memory_start: mapping.memory_start,
            memory_limit: mapping.memory_limit,
            file_offset: mapping.file_offset,
        };
        let has = Has {
            functions: mapping.has_functions,
            filenames: mapping.has_filenames,
            line_numbers: mapping.has_line_numbers,
            inline_frames: mapping.has_inline_frames,
        };
        let number = self.tables.mapping(key, has);
        Ok(self.mappings.learn(index, number))
    }

    fn function(&mut self, id: u64) -> Result<u32, MergeError> {
        let missing = MergeError::Contradiction("a line names a function that does not exist");
        let Some(index) = self.functions.index(id) else { return Err(missing) };
        if let Some(known) = self.functions.known(index) {
            return Ok(known);
        }
        let Some(function) = self.profile.function.get(index) else { return Err(missing) };
        let key = FunctionKey {
            name: self.string(function.name)?,
            system_name: self.string(function.system_name)?,
            filename: self.string(function.filename)?,
            start_line: function.start_line,
        };
        let number = self.tables.function(key);
        Ok(self.functions.learn(index, number))
    }

    fn string(&mut self, index: i64) -> Result<u32, MergeError> {
        let missing = MergeError::Contradiction("a text is not in the string table");
        let Ok(index) = usize::try_from(index) else { return Err(missing) };
        let Some(slot) = self.strings.get_mut(index) else { return Err(missing) };
        if *slot == UNKNOWN {
            *slot = self.tables.string(self.profile.string_table.get(index).unwrap_or(&""));
        }
        Ok(*slot)
    }
}

/// Which of our values each of a window's values is.
fn columns(profile: &Borrowed<'_>) -> Result<Vec<usize>, MergeError> {
    const OURS: [(&str, &str); 4] = [
        (value::SAMPLES, value::COUNT),
        (value::CPU, value::NANOSECONDS),
        (value::BLOCKS, value::COUNT),
        (value::OFF_CPU, value::NANOSECONDS),
    ];
    let column = |(ty, unit)| {
        let found = OURS.iter().position(|ours| *ours == (ty, unit));
        found.ok_or_else(|| MergeError::Foreign(format!("{ty}/{unit}")))
    };
    let types = profile.sample_type.iter();
    types.map(|t| column((profile.string(t.ty), profile.string(t.unit)))).collect()
}

fn is_wanted(filter: &Filter, profile: &Borrowed<'_>, found: &[Label]) -> bool {
    use crate::model::conventions::label;
    let has = |key: &str, wanted: &str| {
        let of_key = found.iter().filter(|l| profile.string(l.key) == key);
        of_key.into_iter().any(|l| match l.str {
            0 => l.num.to_string() == wanted,
            text => profile.string(text) == wanted,
        })
    };
    filter.pid.is_none_or(|pid| has(label::PID, &pid.to_string()))
        && filter.service.as_deref().is_none_or(|service| has(label::SERVICE, service))
        && filter.labels.iter().all(|(key, wanted)| has(key, wanted))
}
