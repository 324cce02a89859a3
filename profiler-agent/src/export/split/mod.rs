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

use std::collections::BTreeMap;

use ahash::RandomState;
use indexmap::IndexMap;
use profiler_proto::pprof::{self, MAX_DEPTH, Profile, Sample};

use super::backend::LeftOut;
use crate::model::conventions::value;
use crate::model::finished::Finished;
use part::PartBuilder;
use source::{Columns, Source};

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
    /// CPU time as a number of samples, to be multiplied by the period.
    pub(super) cpu_as_samples: bool,
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
    let columns = Columns::of(&source, options.cpu_as_samples);
    if columns.all().next().is_none() {
        return Err("it has neither CPU time nor blocked time".to_owned());
    }
    let mut left_out = LeftOut::default();
    let mut series: BTreeMap<(&str, Kind), Collected<'_>> = BTreeMap::new();
    for sample in &profile.sample {
        let Some(stack) = stack_of(&source, sample, &mut left_out) else { continue };
        let service = source.service(sample).unwrap_or(UNKNOWN_SERVICE);
        let mut is_empty = true;
        for (kind, column) in columns.all() {
            let Some(value) = sample.value.get(column).filter(|v| **v > 0) else { continue };
            is_empty = false;
            let collected = series.entry((service, kind)).or_default();
            let total = collected.stacks.entry(stack).or_default();
            *total = total.saturating_add(*value);
            collected.executable.see(&source, sample, stack, *value);
        }
        left_out.samples += u64::from(is_empty);
    }
    let mut finish = |((service, kind), collected): ((&str, Kind), Collected<'_>)| Series {
        service: service.to_owned(),
        kind,
        parts: parts(&source, kind, options, &collected, &mut left_out),
    };
    let series = series.into_iter().map(&mut finish).collect();
    Ok(Split { series, left_out })
}

#[derive(Default)]
struct Collected<'a> {
    stacks: Stacks<'a>,
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

fn parts(
    source: &Source<'_>,
    kind: Kind,
    options: Options,
    collected: &Collected<'_>,
    left_out: &mut LeftOut,
) -> Vec<Profile> {
    let executable = collected.executable.winner();
    let new_part = || PartBuilder::new(source, kind, options, executable);
    let mut parts = Vec::new();
    let mut part = new_part();
    for (stack, value) in &collected.stacks {
        if !part.has_room_for(stack) {
            let full = std::mem::replace(&mut part, new_part());
            parts.extend(full.finish(parts.len()));
        }
        // A stack that fits in no part, however empty, cannot be sent.
        if part.has_room_for(stack) {
            part.add(stack, *value);
        } else {
            left_out.samples += 1;
        }
    }
    parts.extend(part.finish(parts.len()));
    parts
}
