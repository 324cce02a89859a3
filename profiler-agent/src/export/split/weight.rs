//! How much a sample weighs for a backend: its time, or the number of its periods.
//!
//! The rate changes while a window runs: the budget lowers it, a burst raises it. A sample's time is right
//! all the same, and so must be the product of number and period that is sent in its place.

use std::collections::BTreeMap;

use profiler_proto::pprof::{Sample, ValueType};

use super::Kind;
use super::source::Source;
use crate::model::conventions::value;

/// What a sample is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) kind: Kind,
    /// The period of the part that it belongs in.
    pub(super) period: i64,
    /// Its value there.
    pub(super) value: i64,
    /// The time that it stands for.
    pub(super) ns: i64,
}

/// Which of a sample's values is what, and which periods there are.
pub(super) struct Weights {
    /// Where the times are.
    times: Vec<(Kind, usize)>,
    /// The period of the window.
    usual: i64,
    counted: Option<Counted>,
}

/// CPU time is sent as a number of samples.
struct Counted {
    column: Option<usize>,
    /// Another period that many samples of the window have: in a burst of one process, say.
    other: Option<i64>,
}

impl Weights {
    pub(super) fn of(source: &Source<'_>, cpu_as_samples: bool) -> Self {
        let find = |ty: &str, unit: &str| {
            let is_it = |t: &ValueType| (source.text(t.ty), source.text(t.unit)) == (ty, unit);
            source.profile.sample_type.iter().position(is_it)
        };
        let time = |(kind, ty)| Some((kind, find(ty, value::NANOSECONDS)?));
        let times = [(Kind::Cpu, value::CPU), (Kind::OffCpu, value::OFF_CPU)];
        let times = times.into_iter().filter_map(time).collect();
        let mut weights = Self { times, usual: source.profile.period, counted: None };
        if cpu_as_samples {
            let column = find(value::SAMPLES, value::COUNT);
            let other = column.and_then(|column| weights.other_period(source, column));
            weights.counted = Some(Counted { column, other });
        }
        weights
    }

    /// Whether there is no kind of time.
    pub(super) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// The times of a sample that are above zero.
    pub(super) fn of_sample<'a>(&'a self, sample: &'a Sample) -> impl Iterator<Item = Weight> + 'a {
        self.times.iter().filter_map(|(kind, column)| {
            let ns = *sample.value.get(*column).filter(|ns| **ns > 0)?;
            let (period, value) = match (kind, &self.counted) {
                (Kind::OffCpu, _) => (1, ns),
                (Kind::Cpu, None) => (self.usual, ns),
                (Kind::Cpu, Some(counted)) => self.in_periods(counted, sample, ns),
            };
            Some(Weight { kind: *kind, period, value, ns })
        })
    }

    /// A period and how many of it make up the time. Samples of one stack that were taken at different
    /// rates fit no period, and are sent by the nanosecond.
    fn in_periods(&self, counted: &Counted, sample: &Sample, ns: i64) -> (i64, i64) {
        let count = counted.column.and_then(|column| sample.value.get(column));
        let count = count.copied().unwrap_or_default();
        let fits = |period: &i64| count > 0 && count.checked_mul(*period) == Some(ns);
        let period = [Some(self.usual), counted.other].into_iter().flatten().find(fits);
        period.map_or((1, ns), |period| (period, count))
    }

    /// The period that most samples have which have not the usual one.
    fn other_period(&self, source: &Source<'_>, column: usize) -> Option<i64> {
        let (_, time) = self.times.iter().find(|(kind, _)| *kind == Kind::Cpu)?;
        let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
        for sample in &source.profile.sample {
            let (Some(ns), Some(count)) = (sample.value.get(*time), sample.value.get(column))
            else {
                continue;
            };
            let is_whole = *count > 0 && *ns > 0 && ns % count == 0 && ns / count != self.usual;
            if is_whole {
                let all = counts.entry(ns / count).or_default();
                *all = all.saturating_add(*count);
            }
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(period, _)| period)
    }
}
