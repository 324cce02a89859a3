//! The tables that an encoder fills while it goes: strings, and samples that may turn out equal.

use ahash::RandomState;
use indexmap::{IndexMap, IndexSet};
use profiler_proto::pprof::{Label, Sample};

/// The string table; its first entry is the empty string.
#[derive(Debug)]
pub(super) struct Strings(IndexSet<String, RandomState>);

impl Strings {
    pub(super) fn new() -> Self {
        Self(std::iter::once(String::new()).collect())
    }

    /// The index of a string.
    pub(super) fn add(&mut self, text: &str) -> i64 {
        let index = match self.0.get_index_of(text) {
            Some(index) => index,
            None => self.0.insert_full(text.to_owned()).0,
        };
        super::signed(index as u64)
    }

    pub(super) fn finish(self) -> Vec<String> {
        self.0.into_iter().collect()
    }
}

/// A label as something to compare: key, string, number.
type LabelKey = (i64, i64, i64);

/// Samples by stack and labels.
#[derive(Debug, Default)]
pub(super) struct Merged(IndexMap<(Vec<u64>, Vec<LabelKey>), Vec<i64>, RandomState>);

impl Merged {
    /// Adds values to the sample of this stack and these labels.
    pub(super) fn add(&mut self, locations: Vec<u64>, labels: Vec<Label>, values: &[i64]) {
        let labels = labels.iter().map(|l| (l.key, l.str, l.num)).collect();
        let sums = self.0.entry((locations, labels)).or_insert_with(|| vec![0; values.len()]);
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum = sum.saturating_add(*value);
        }
    }

    pub(super) fn finish(self) -> Vec<Sample> {
        let label = |(key, str, num)| Label { key, str, num, num_unit: 0 };
        self.0
            .into_iter()
            .map(|((location_id, labels), value)| Sample {
                location_id,
                value,
                label: labels.into_iter().map(label).collect(),
            })
            .collect()
    }
}
