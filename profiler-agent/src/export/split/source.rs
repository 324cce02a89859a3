//! The profile that is split: its entries by their ids, checked once.

use std::collections::HashMap;

use ahash::RandomState;
use profiler_proto::pprof::{Function, Location, Mapping, Profile, Sample};

use crate::model::conventions::{comment, label};

/// Entries by their ids. A location is here only if all that it refers to is, too.
pub(super) struct Source<'a> {
    pub(super) profile: &'a Profile,
    locations: HashMap<u64, &'a Location, RandomState>,
    mappings: HashMap<u64, &'a Mapping, RandomState>,
    functions: HashMap<u64, &'a Function, RandomState>,
    bare_addresses: bool,
}

impl<'a> Source<'a> {
    pub(super) fn new(profile: &'a Profile, bare_addresses: bool) -> Self {
        let mappings = profile.mapping.iter().map(|m| (m.id, m)).collect();
        let functions = profile.function.iter().map(|f| (f.id, f)).collect();
        let mut source =
            Self { profile, locations: HashMap::default(), mappings, functions, bare_addresses };
        source.locations = profile
            .location
            .iter()
            .filter(|location| source.is_whole(location))
            .map(|l| (l.id, l))
            .collect();
        source
    }

    fn is_whole(&self, location: &Location) -> bool {
        let mapping = self.mappings.get(&location.mapping_id);
        let has_mapping = mapping.is_some_and(|m| !self.text(m.filename).is_empty());
        let has_functions = location.line.iter().all(|line| {
            let function = self.functions.get(&line.function_id);
            function.is_some_and(|f| !self.text(f.name).is_empty())
        });
        has_mapping && has_functions && (location.address != 0 || !location.line.is_empty())
    }

    pub(super) fn location(&self, id: u64) -> Option<&'a Location> {
        self.locations.get(&id).copied()
    }

    pub(super) fn mapping(&self, id: u64) -> Option<&'a Mapping> {
        self.mappings.get(&id).copied()
    }

    pub(super) fn function(&self, id: u64) -> Option<&'a Function> {
        self.functions.get(&id).copied()
    }

    /// A string; empty where there is none.
    pub(super) fn text(&self, index: i64) -> &'a str {
        let found = usize::try_from(index).ok().and_then(|i| self.profile.string_table.get(i));
        found.map_or("", String::as_str)
    }

    /// The name of the service that a sample belongs to.
    pub(super) fn service(&self, sample: &Sample) -> Option<&'a str> {
        self.label(sample, label::SERVICE)
    }

    /// The name of the process that a sample was taken in.
    pub(super) fn comm(&self, sample: &Sample) -> Option<&'a str> {
        self.label(sample, label::COMM)
    }

    fn label(&self, sample: &Sample, key: &str) -> Option<&'a str> {
        let found = sample.label.iter().find(|label| self.text(label.key) == key)?;
        Some(self.text(found.str)).filter(|text| !text.is_empty())
    }

    /// What it says of losses, and of what was degraded: counts that are not zero, and notes.
    pub(super) fn said(&self) -> Vec<&'a str> {
        let tells = |line: &&str| match line.split_once(": ") {
            Some((key, value)) => {
                key == comment::NOTE || key.starts_with(comment::COUNTER) && value != "0"
            }
            None => false,
        };
        self.profile.comment.iter().map(|index| self.text(*index)).filter(tells).collect()
    }

    /// Whether a location is to go without its line, for a server that finds its name: the line only
    /// says the place, as the encoder writes it, and the server has all that it needs.
    pub(super) fn is_bare(&self, location: &Location) -> bool {
        let [line] = location.line.as_slice() else { return false };
        let has_build_id =
            self.mapping(location.mapping_id).is_some_and(|m| !self.text(m.build_id).is_empty());
        let name = self.function(line.function_id).map_or("", |f| self.text(f.name));
        self.bare_addresses
            && has_build_id
            && location.address != 0
            && name.starts_with('[')
            && name.ends_with(&format!("+{:#x}]", location.address))
    }
}
