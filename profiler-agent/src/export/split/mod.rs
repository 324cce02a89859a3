//! A window's profile as backends take it: one series for each service and kind of time, without
//! labels on its samples, in parts that are not too large.
//!
//! The same window gives the same parts in the same order, each with a time of its own: that of the
//! window, and one nanosecond more for each part of its series. Backends that de-duplicate do so by
//! labels and time, so equal times would lose parts, and other times in a retry would count it twice.

mod executable;
mod part;
mod source;
#[cfg(test)]
mod tests;
mod weight;

use std::collections::BTreeMap;

use ahash::RandomState;
use indexmap::IndexMap;
use profiler_proto::pprof::{self, MAX_DEPTH, Profile, Sample};

use super::backend::LeftOut;
use crate::model::conventions::value;
use crate::model::finished::Finished;
use part::{Heading, PartBuilder};
use source::Source;
use weight::Weights;

/// The service of samples that name none.
const UNKNOWN_SERVICE: &str = "unknown_service";

/// A kind of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// On the CPU.
    Cpu,
    /// Off it.
    OffCpu,
}

impl Kind {
    /// What Pyroscope and Parca call the profile (`__name__`).
    pub(super) fn profile_name(self) -> &'static str {
        match self {
            Self::Cpu => "process_cpu",
            Self::OffCpu => "off_cpu",
        }
    }

    /// Type of the period, and of the values where they are times.
    fn time_type(self) -> &'static str {
        match self {
            Self::Cpu => value::CPU,
            Self::OffCpu => value::OFF_CPU,
        }
    }
}

/// What backends differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// CPU time as a number of samples, to be multiplied by the period. Where the rate changed within a
    /// window, samples of different periods are in different parts.
    pub(super) cpu_as_samples: bool,
    /// What the window says of its losses, as comments of each part.
    pub(super) comments: bool,
    /// Frames without a name as an address and a build ID, where there are both, for a server that
    /// finds names itself. Otherwise they have the name of their place.
    pub(super) bare_addresses: bool,
}

/// A window in parts.
#[derive(Debug)]
pub(super) struct Split {
    /// By service and kind.
    pub(super) series: Vec<Series>,
    /// What is in none of them.
    pub(super) left_out: LeftOut,
}

/// The parts of one service's time of one kind.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) service: String,
    pub(super) kind: Kind,
    /// What the window says of its losses, `key: value` each.
    pub(super) said: Vec<String>,
    pub(super) parts: Vec<Profile>,
}

/// Stacks of a series with their values, in the order of the window.
type Stacks<'a> = IndexMap<&'a [u64], i64, RandomState>;

/// Splits a window.
///
/// # Errors
/// Where its bytes are no profile of ours.
pub(super) fn split(window: &Finished, options: Options) -> Result<Split, String> {
    let profile = pprof::decode(&window.profile).map_err(|error| error.to_string())?;
    let source = Source::new(&profile, options.bare_addresses);
    let weights = Weights::of(&source, options.cpu_as_samples);
    if weights.is_empty() {
        return Err("it has neither CPU time nor blocked time".to_owned());
    }
    let said = source.said();
    let mut left_out = LeftOut::default();
    let mut series: BTreeMap<(&str, Kind), Collected<'_>> = BTreeMap::new();
    for sample in &profile.sample {
        let Some(stack) = stack_of(&source, sample, &mut left_out) else { continue };
        let service = source.service(sample).unwrap_or(UNKNOWN_SERVICE);
        let mut is_empty = true;
        for weight in weights.of_sample(sample) {
            is_empty = false;
            let collected = series.entry((service, weight.kind)).or_default();
            let stacks = collected.by_period.entry(weight.period).or_default();
            let total = stacks.entry(stack).or_default();
            *total = total.saturating_add(weight.value);
            collected.executable.see(&source, sample, stack, weight.ns);
        }
        left_out.samples += u64::from(is_empty);
    }
    let mut finish = |((service, kind), collected): ((&str, Kind), Collected<'_>)| Series {
        service: service.to_owned(),
        kind,
        said: said.iter().map(|line| (*line).to_owned()).collect(),
        parts: parts(&source, (kind, options), &said, &collected, &mut left_out),
    };
    let series = series.into_iter().map(&mut finish).collect();
    Ok(Split { series, left_out })
}

#[derive(Default)]
struct Collected<'a> {
    by_period: BTreeMap<i64, Stacks<'a>>,
    executable: executable::Votes,
}

/// The stack of a sample, cut at the root; `None` where it has none, or one that refers to nothing.
fn stack_of<'a>(source: &Source<'_>, sample: &'a Sample, out: &mut LeftOut) -> Option<&'a [u64]> {
    let whole = sample.location_id.as_slice();
    let stack = whole.get(..MAX_DEPTH).unwrap_or(whole);
    if stack.is_empty() || !stack.iter().all(|id| source.location(*id).is_some()) {
        out.samples += 1;
        return None;
    }
    out.cut_stacks += u64::from(stack.len() < whole.len());
    Some(stack)
}

/// The parts of a series, each with a time of its own, whatever their periods are.
fn parts<'a>(
    source: &Source<'a>,
    (kind, options): (Kind, Options),
    said: &[&'a str],
    collected: &Collected<'_>,
    left_out: &mut LeftOut,
) -> Vec<Profile> {
    let executable = collected.executable.winner();
    let comments = if options.comments { said } else { &[] };
    let mut parts = Vec::new();
    for (period, stacks) in &collected.by_period {
        let heading = Heading { kind, period: *period, executable, comments };
        let new_part = || PartBuilder::new(source, options, heading);
        let mut part = new_part();
        for (stack, value) in stacks {
            if !part.has_room_for(stack) {
                let full = std::mem::replace(&mut part, new_part());
                parts.extend(full.finish(parts.len()));
                // A stack that fits in no part, however empty, cannot be sent.
                if !part.has_room_for(stack) {
                    left_out.samples += 1;
                    continue;
                }
            }
            part.add(stack, *value);
        }
        parts.extend(part.finish(parts.len()));
    }
    parts
}
