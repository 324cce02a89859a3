//! The merged tables as a profile.

use std::collections::HashMap;

use ahash::RandomState;
use indexmap::IndexSet;
use profiler_proto::pprof::{Function, Label, Line, Location, Mapping, Profile, Sample, ValueType};

use super::merger::{Merged, Merger};
use super::tables::Tables;
use crate::model::conventions::value;

/// The string table of the profile; its first entry is the empty string.
struct Strings(IndexSet<Box<str>, RandomState>);

impl Strings {
    fn add(&mut self, text: &str) -> i64 {
        let index = match self.0.get_index_of(text) {
            Some(known) => known,
            None => self.0.insert_full(Box::from(text)).0,
        };
        i64::try_from(index).unwrap_or_default()
    }
}

impl Merger {
    /// The profile of all windows.
    pub fn finish(self) -> Merged {
        let Self { tables, filter, .. } = &self;
        let on = filter.event.on_cpu() && (self.has.0 || !self.has.1);
        let off = filter.event.off_cpu() && (self.has.1 || !self.has.0);
        let mut strings = Strings(IndexSet::default());
        strings.add("");
        // Numbers of strings in the tables → indices in the profile.
        let texts: Vec<i64> = tables.strings.iter().map(|text| strings.add(text)).collect();
        let text = |number: u32| texts.get(number as usize).copied().unwrap_or_default();
        let comments = self.comments.finish(filter, self.windows);
        let comment = comments.iter().map(|comment| strings.add(comment)).collect();
        let time_type = if on { value::CPU } else { value::OFF_CPU };
        let default_sample_type = strings.add(time_type);
        let nanoseconds = strings.add(value::NANOSECONDS);
        let mut sample_type = Vec::new();
        for (wanted, pair) in [
            (on, [(value::SAMPLES, value::COUNT), (value::CPU, value::NANOSECONDS)]),
            (off, [(value::BLOCKS, value::COUNT), (value::OFF_CPU, value::NANOSECONDS)]),
        ] {
            if wanted {
                sample_type.extend(
                    pair.map(|(ty, unit)| ValueType {
                        ty: strings.add(ty),
                        unit: strings.add(unit),
                    }),
                );
            }
        }
        let order = mapping_order(tables);
        let profile = Profile {
            sample_type,
            sample: samples(tables, (on, off), text),
            mapping: mappings(tables, &order, text),
            location: locations(tables, &order),
            function: functions(tables, text),
            time_nanos: self.start.unwrap_or_default(),
            duration_nanos: self.duration,
            period_type: Some(ValueType { ty: default_sample_type, unit: nanoseconds }),
            period: if on { self.mean_period() } else { 1 },
            comment,
            default_sample_type,
            string_table: strings.0.into_iter().map(String::from).collect(),
            ..Profile::default()
        };
        Merged { profile, windows: self.windows }
    }

    /// The time that a sample on the CPU stands for: of each, or where windows differ, on average.
    fn mean_period(&self) -> i64 {
        if let Some(period) = self.period {
            return period;
        }
        let sums = self.tables.samples.values().fold((0i64, 0i64), |(samples, time), values| {
            (samples.saturating_add(values[0]), time.saturating_add(values[1]))
        });
        sums.1.checked_div(sums.0).unwrap_or_default()
    }
}

fn samples(tables: &Tables, (on, off): (bool, bool), text: impl Fn(u32) -> i64) -> Vec<Sample> {
    let labels: Vec<Vec<Label>> = tables
        .labels
        .iter()
        .map(|keys| {
            let label = |key: &super::tables::LabelKey| Label {
                key: text(key.key),
                str: text(key.str),
                num: key.num,
                num_unit: text(key.num_unit),
            };
            keys.iter().map(label).collect()
        })
        .collect();
    let sample = |((stack, label), values): (&(u32, u32), &super::tables::Values)| {
        let stack = tables.stacks.get_index(*stack as usize)?;
        let [count, cpu, blocks, off_cpu] = *values;
        let pairs = [(on, [count, cpu]), (off, [blocks, off_cpu])];
        Some(Sample {
            location_id: stack.iter().map(|number| u64::from(*number) + 1).collect(),
            value: pairs.iter().filter(|(wanted, _)| *wanted).flat_map(|(_, p)| *p).collect(),
            label: labels.get(*label as usize).cloned().unwrap_or_default(),
        })
    };
    tables.samples.iter().filter_map(sample).collect()
}

/// The numbers of mappings in their new order: readers take the first for the main executable.
fn mapping_order(tables: &Tables) -> Vec<usize> {
    let mut order: Vec<usize> = (0..tables.mappings.len()).collect();
    if let Some(executable) = hottest_executable(tables) {
        order.retain(|number| *number != executable);
        order.insert(0, executable);
    }
    order
}

/// Of the files that are no libraries, the one at the outer end of the most time.
fn hottest_executable(tables: &Tables) -> Option<usize> {
    let is_program = |number: usize| {
        let (key, _) = tables.mappings.get_index(number)?;
        let path = tables.strings.get_index(key.filename as usize)?;
        let name = path.rsplit('/').next()?;
        let is_library = name.ends_with(".so") || name.contains(".so.");
        Some(!path.is_empty() && !path.starts_with('[') && !is_library)
    };
    let programs: Vec<bool> =
        (0..tables.mappings.len()).map(|number| is_program(number).unwrap_or(false)).collect();
    let mapping_of = |location: &u32| {
        let mapping = tables.locations.get_index(*location as usize)?.mapping? as usize;
        programs.get(mapping).copied().filter(|is| *is).map(|_| mapping)
    };
    let of_stack: Vec<Option<usize>> =
        tables.stacks.iter().map(|stack| stack.iter().rev().find_map(mapping_of)).collect();
    let mut time: HashMap<usize, i64, RandomState> = HashMap::default();
    for ((stack, _), [_, cpu, _, _]) in &tables.samples {
        if let Some(Some(mapping)) = of_stack.get(*stack as usize) {
            let sum = time.entry(*mapping).or_default();
            *sum = sum.saturating_add(*cpu);
        }
    }
    let order = |(number, time): &(usize, i64)| (*time, std::cmp::Reverse(*number));
    time.into_iter().max_by_key(order).map(|(number, _)| number)
}

fn mappings(tables: &Tables, order: &[usize], text: impl Fn(u32) -> i64) -> Vec<Mapping> {
    let found = order.iter().filter_map(|number| tables.mappings.get_index(*number));
    let mapping =
        |(id, (key, has)): (u64, (&super::tables::MappingKey, &super::tables::Has))| Mapping {
            id,
            memory_start: key.memory_start,
            memory_limit: key.memory_limit,
            file_offset: key.file_offset,
            filename: text(key.filename),
            build_id: text(key.build_id),
            has_functions: has.functions,
            has_filenames: has.filenames,
            has_line_numbers: has.line_numbers,
            has_inline_frames: has.inline_frames,
        };
    (1..).zip(found).map(mapping).collect()
}

fn locations(tables: &Tables, order: &[usize]) -> Vec<Location> {
    let mut ids = vec![0; order.len()];
    for (id, number) in (1..).zip(order) {
        if let Some(slot) = ids.get_mut(*number) {
            *slot = id;
        }
    }
    let location = |(id, key): (u64, &super::tables::LocationKey)| {
        let mapping_id = key.mapping.and_then(|number| ids.get(number as usize).copied());
        let lines = tables.lines.get_index(key.lines as usize);
        let line = |(function, line): &(u32, i64)| Line {
            function_id: u64::from(*function) + 1,
            line: *line,
        };
        Location {
            id,
            mapping_id: mapping_id.unwrap_or_default(),
            address: key.address,
            line: lines.into_iter().flatten().map(line).collect(),
            is_folded: key.is_folded,
        }
    };
    (1..).zip(&tables.locations).map(location).collect()
}

fn functions(tables: &Tables, text: impl Fn(u32) -> i64) -> Vec<Function> {
    let function = |(id, key): (u64, &super::tables::FunctionKey)| Function {
        id,
        name: text(key.name),
        system_name: text(key.system_name),
        filename: text(key.filename),
        start_line: key.start_line,
    };
    (1..).zip(&tables.functions).map(function).collect()
}
