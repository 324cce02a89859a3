//! Takes windows in, one by one, and other mergers.

use profiler_proto::pprof::{Borrowed, Profile, Unpacker};

use super::comments::Comments;
use super::tables::{FunctionKey, LabelKey, LocationKey, MappingKey, TABLE_FULL, Tables};
use super::window::{Wanted, Window};
use super::{Limits, MergeError};
use crate::model::query::Filter;

/// A merge under way. See the [module](super).
#[derive(Debug)]
pub struct Merger {
    pub(super) filter: Filter,
    limits: Limits,
    pub(super) tables: Tables,
    pub(super) comments: Comments,
    pub(super) windows: u64,
    /// Begin of the first window (Unix time, ns).
    pub(super) start: Option<i64>,
    /// Sum of the lengths of all windows, ns.
    pub(super) duration: i64,
    /// The period of all windows, ns; `None` where they differ.
    pub(super) period: Option<i64>,
    /// Which kinds of time were recorded.
    pub(super) has: (bool, bool),
    unpacker: Unpacker,
}

/// A finished merge.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// All windows as one.
    pub profile: Profile,
    /// How many there were.
    pub windows: u64,
}

impl Merger {
    /// A merge of nothing yet.
    pub fn new(filter: Filter, limits: Limits) -> Self {
        Self {
            filter,
            limits,
            tables: Tables::default(),
            comments: Comments::default(),
            windows: 0,
            start: None,
            duration: 0,
            period: None,
            has: (false, false),
            unpacker: Unpacker::default(),
        }
    }

    /// Takes a window in: pprof, packed or plain.
    ///
    /// # Errors
    /// Where it is no window; it is left out as a whole.
    pub fn add(&mut self, window: &[u8]) -> Result<(), MergeError> {
        let mut unpacker = std::mem::take(&mut self.unpacker);
        let added = self.add_message(unpacker.unpack(window)?);
        self.unpacker = unpacker;
        added
    }

    fn add_message(&mut self, message: &[u8]) -> Result<(), MergeError> {
        let profile = Borrowed::read(message)?;
        let wanted =
            Window::new(&profile, &mut self.tables, &self.filter, self.limits).samples()?;
        for Wanted { stack, labels, values } in wanted {
            if !self.tables.add(stack, labels, values, self.limits) {
                let [samples, _, blocks, _] = values;
                let count = samples.saturating_add(blocks);
                self.comments.count(TABLE_FULL, u64::try_from(count).unwrap_or(0));
            }
        }
        for comment in &profile.comment {
            self.comments.add(profile.string(*comment));
        }
        let names = profile.sample_type.iter().map(|t| profile.string(t.ty));
        for name in names {
            self.has.0 |= name == crate::model::conventions::value::CPU;
            self.has.1 |= name == crate::model::conventions::value::OFF_CPU;
        }
        self.facts(1, profile.time_nanos, profile.duration_nanos, Some(profile.period));
        Ok(())
    }

    fn facts(&mut self, windows: u64, start: i64, duration: i64, period: Option<i64>) {
        let is_first = self.windows == 0;
        self.period = if is_first { period } else { self.period.filter(|p| Some(*p) == period) };
        self.start = Some(self.start.map_or(start, |earlier| earlier.min(start)));
        self.duration = self.duration.saturating_add(duration);
        self.windows += windows;
    }

    /// Takes in all that another has, which merged other windows with the same filter.
    pub fn join(&mut self, other: Self) {
        if let Some(start) = other.start {
            self.facts(other.windows, start, other.duration, other.period);
        }
        self.has.0 |= other.has.0;
        self.has.1 |= other.has.1;
        self.comments.join(other.comments);
        let (from, to) = (other.tables, &mut self.tables);
        let strings: Vec<u32> = from.strings.iter().map(|text| to.string(text)).collect();
        let string = |index: u32| at(&strings, index);
        let mappings = from.mappings.iter().map(|(key, has)| {
            let (filename, build_id) = (string(key.filename), string(key.build_id));
            to.mapping(MappingKey { filename, build_id, ..*key }, *has)
        });
        let mappings: Vec<u32> = mappings.collect();
        let functions = from.functions.iter().map(|key| {
            let [name, system_name, filename] =
                [key.name, key.system_name, key.filename].map(string);
            to.function(FunctionKey { name, system_name, filename, ..*key })
        });
        let functions: Vec<u32> = functions.collect();
        let mut lines = Vec::with_capacity(from.lines.len());
        let mut scratch = Vec::new();
        for key in &from.lines {
            scratch.clear();
            scratch.extend(key.iter().map(|(function, line)| (at(&functions, *function), *line)));
            lines.push(to.lines(&scratch));
        }
        let locations = from.locations.iter().map(|key| {
            let mapping = key.mapping.map(|mapping| at(&mappings, mapping));
            to.location(LocationKey { mapping, lines: at(&lines, key.lines), ..*key })
        });
        let locations: Vec<u32> = locations.collect();
        let mut stacks = Vec::with_capacity(from.stacks.len());
        let mut frames = Vec::new();
        for key in &from.stacks {
            frames.clear();
            frames.extend(key.iter().map(|location| at(&locations, *location)));
            stacks.push(to.stack(&frames, self.limits));
        }
        let mut labels = Vec::with_capacity(from.labels.len());
        let mut keys = Vec::new();
        for key in &from.labels {
            keys.clear();
            keys.extend(key.iter().map(|label| {
                let [key, str, num_unit] = [label.key, label.str, label.num_unit].map(string);
                LabelKey { key, str, num_unit, ..*label }
            }));
            labels.push(to.labels(&keys));
        }
        for ((stack, label), values) in from.samples {
            let stack = stacks.get(stack as usize).copied().flatten();
            if !to.add(stack, at(&labels, label), values, self.limits) {
                let [samples, _, blocks, _] = values;
                let count = samples.saturating_add(blocks);
                self.comments.count(TABLE_FULL, u64::try_from(count).unwrap_or(0));
            }
        }
    }

    /// How many windows were taken in.
    pub fn windows(&self) -> u64 {
        self.windows
    }
}

/// Every number of a table is one of its entries.
fn at(numbers: &[u32], index: u32) -> u32 {
    numbers.get(index as usize).copied().unwrap_or_default()
}
