//! What a view says above itself: what was recorded, where, for how long, how much of it there is,
//! and how much was lost or cut.

use super::measure::Measure;
use super::reader::Reader;
use super::units::{self, duration, grouped};
use super::{Options, Time, stacks, text_safe};
use crate::model::conventions::{NO_STACK, comment, mapping};

/// Longest host name or scope in a title, in characters.
const MAX_PART: usize = 48;

/// The facts of a profile, as far as it tells them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// What and where: `whole host web-1`.
    pub(super) scope: String,
    /// How long; empty where the profile does not say.
    pub(super) duration: String,
    /// On CPU at 99 Hz.
    pub(super) event: String,
    /// 1,980 samples.
    pub(super) counts: String,
    /// Samples and blocks that were lost; `None` where the profile does not say.
    pub(super) lost: Option<u64>,
    /// Sum of the values.
    pub(super) total: u64,
    /// The part of it whose stacks are cut.
    pub(super) truncated: u64,
}

impl Facts {
    pub(super) fn of(reader: &Reader<'_>, measures: &[Measure<'_>], options: &Options) -> Self {
        let (total, truncated) = sums(reader, measures, options);
        let nanos = u64::try_from(reader.profile.duration_nanos).unwrap_or(0);
        Self {
            scope: scope(reader, options),
            duration: if nanos > 0 { duration(nanos) } else { String::new() },
            event: event(reader, measures),
            counts: counts(reader, measures, options),
            lost: lost(reader),
            total,
            truncated,
        }
    }

    /// One line: `profiler-agent: whole host web-1, 10.0 s, on CPU at 99 Hz: 1,980 samples, 0 lost`.
    pub(super) fn line(&self) -> String {
        let what = [self.scope.as_str(), self.duration.as_str(), self.event.as_str()];
        let what: Vec<_> = what.into_iter().filter(|t| !t.is_empty()).collect();
        let mut line = format!("{}: {}", what.join(", "), self.counts);
        if let Some(lost) = self.lost {
            line.push_str(&format!(", {} lost", grouped(lost)));
        }
        line
    }
}

fn scope(reader: &Reader<'_>, options: &Options) -> String {
    let short = |text: &str| -> String {
        let text = text_safe::printable(text);
        match text.char_indices().nth(MAX_PART) {
            Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
            None => text,
        }
    };
    let scope = match options.pid {
        Some(pid) => format!("pid {pid}"),
        None => short(reader.comment(comment::SCOPE)),
    };
    let host = short(reader.comment(comment::HOST));
    match (scope.as_str(), host.as_str()) {
        ("", host) => host.to_owned(),
        (scope, "") => scope.to_owned(),
        ("whole host", host) => format!("whole host {host}"),
        (scope, host) => format!("{scope} on {host}"),
    }
}

fn event(reader: &Reader<'_>, measures: &[Measure<'_>]) -> String {
    let frequency = text_safe::printable(reader.comment(comment::FREQUENCY));
    let events = measures.iter().map(|measure| match measure.time {
        Some(Time::OnCpu) if frequency.is_empty() => "on CPU".to_owned(),
        Some(Time::OnCpu) => format!("on CPU at {frequency}"),
        Some(Time::OffCpu) => "off CPU".to_owned(),
        None => text_safe::printable(measure.name),
    });
    events.collect::<Vec<_>>().join(" and ")
}

fn counts(reader: &Reader<'_>, measures: &[Measure<'_>], options: &Options) -> String {
    let samples = || reader.profile.sample.iter().filter(|s| stacks::is_wanted(reader, s, options));
    let counts = measures.iter().map(|measure| {
        if measure.count_name.is_empty() {
            let n = samples().filter(|s| measure.value(s) > 0).count();
            return units::count(n as u64, "different stacks");
        }
        let n = samples().map(|s| measure.count(s)).fold(0, u64::saturating_add);
        units::count(n, &text_safe::printable(measure.count_name))
    });
    counts.collect::<Vec<_>>().join(", ")
}

fn sums(reader: &Reader<'_>, measures: &[Measure<'_>], options: &Options) -> (u64, u64) {
    let (mut total, mut truncated) = (0u64, 0u64);
    for sample in reader.profile.sample.iter().filter(|s| stacks::is_wanted(reader, s, options)) {
        let value = measures.iter().map(|m| m.value(sample)).fold(0, u64::saturating_add);
        total = total.saturating_add(value);
        if reader.frames(sample).any(|f| f.module == mapping::MARKER && f.name != NO_STACK) {
            truncated = truncated.saturating_add(value);
        }
    }
    (total, truncated)
}

/// The counters whose name says that something was lost. `None` for profiles that have none.
fn lost(reader: &Reader<'_>) -> Option<u64> {
    let counter = |(key, value): (&'_ str, &'_ str)| {
        let name = key.strip_prefix(comment::COUNTER)?;
        Some((comment::is_loss(name), value.parse::<u64>().ok()?))
    };
    let mut counters = reader.comments().filter_map(counter).peekable();
    counters.peek()?;
    Some(counters.filter(|(is_loss, _)| *is_loss).map(|(_, n)| n).fold(0, u64::saturating_add))
}
