//! A window, its names and what is known of the recording, as one pprof `Profile`.
//!
//! The shape is the one that `go tool pprof` and the backends all show well:
//! - One mapping per file, the main executable first, with its build ID; its range and offset are zero
//!   and a location's address is the ELF virtual address, so that processes and containers that run
//!   the same file share its locations.
//! - A location has its function as a line, preceded by what the compiler inlined there.
//! - A frame without a name has a function that says its place, so that no reader drops it.
//! - Equal stacks with equal labels are one sample. A sample has a value for every type.

mod executable;
mod place;
mod symbols;
mod table;
#[cfg(test)]
mod tests;

use profiler_proto::pprof::{Label, Profile, Sample, ValueType};

use super::meta::Meta;
use super::window::{Tally, Window, WindowSample};
use crate::model::choice::EventChoice;
use crate::model::conventions::{label, value};
use crate::model::names::Names;
use crate::model::observation::{Activity, ThreadInfo};
use symbols::Symbols;
use table::{Merged, Strings};

/// Most locations in one sample: readers cut deeper stacks, and at the leaf; this cuts at the root.
const MAX_DEPTH: usize = profiler_proto::pprof::MAX_DEPTH;

/// Encodes a window.
pub fn encode(window: &Window, names: &Names, meta: &Meta) -> Profile {
    let mut strings = Strings::new();
    let executable = meta.executable.or_else(|| executable::of_hottest_process(window));
    let mut symbols = Symbols::new(window, names, executable);
    let samples = encode_samples(window, meta.kind, &mut symbols, &mut strings);
    let (mapping, location, function) = symbols.finish(&mut strings);
    let (time_type, period) = match meta.kind {
        EventChoice::OnCpu | EventChoice::Wall => (value::CPU, meta.period_ns),
        EventChoice::OffCpu => (value::OFF_CPU, 1),
    };
    let default_sample_type = strings.add(time_type);
    let period_type = value_type(&mut strings, time_type, value::NANOSECONDS);
    let sample_type = sample_types(meta.kind, &mut strings);
    let comment = meta.comments().iter().map(|c| strings.add(c)).collect();
    Profile {
        sample_type,
        sample: samples,
        mapping,
        location,
        function,
        time_nanos: signed(meta.time_nanos),
        duration_nanos: signed(meta.duration_nanos),
        period_type: Some(period_type),
        period: signed(period),
        comment,
        default_sample_type,
        string_table: strings.finish(),
        ..Profile::default()
    }
}

fn sample_types(kind: EventChoice, strings: &mut Strings) -> Vec<ValueType> {
    let mut types = Vec::with_capacity(4);
    if kind.on_cpu() {
        types.push(value_type(strings, value::SAMPLES, value::COUNT));
        types.push(value_type(strings, value::CPU, value::NANOSECONDS));
    }
    if kind.off_cpu() {
        types.push(value_type(strings, value::BLOCKS, value::COUNT));
        types.push(value_type(strings, value::OFF_CPU, value::NANOSECONDS));
    }
    types
}

fn value_type(strings: &mut Strings, ty: &str, unit: &str) -> ValueType {
    ValueType { ty: strings.add(ty), unit: strings.add(unit) }
}

/// Two lines of a window may encode to the same sample: two addresses of one kernel function, say.
fn encode_samples(
    window: &Window,
    kind: EventChoice,
    symbols: &mut Symbols<'_>,
    strings: &mut Strings,
) -> Vec<Sample> {
    let mut merged = Merged::default();
    for sample in window.samples() {
        let Some(values) = values_of(kind, sample.activity, sample.tally) else { continue };
        let locations =
            sample.stack.iter().take(MAX_DEPTH).map(|f| symbols.location(f, strings)).collect();
        merged.add(locations, labels_of(&sample, strings), &values);
    }
    merged.finish()
}

/// `None` for a kind of activity that was not asked for, or no weight at all.
fn values_of(kind: EventChoice, activity: Activity, tally: Tally) -> Option<Vec<i64>> {
    let pair = [signed(tally.count), signed(tally.ns)];
    let on_cpu = activity == Activity::OnCpu;
    let values = match (kind, on_cpu) {
        (EventChoice::OnCpu, true) | (EventChoice::OffCpu, false) => pair.to_vec(),
        (EventChoice::Wall, true) => [pair, [0, 0]].concat(),
        (EventChoice::Wall, false) => [[0, 0], pair].concat(),
        (EventChoice::OnCpu, false) | (EventChoice::OffCpu, true) => return None,
    };
    values.iter().any(|v| *v > 0).then_some(values)
}

fn labels_of(sample: &WindowSample<'_>, strings: &mut Strings) -> Vec<Label> {
    let ThreadInfo { pid, tid, process, thread, cgroup, service } = sample.thread.as_ref();
    let state = match sample.activity {
        Activity::OnCpu => "",
        Activity::OffCpu(state) => state.name(),
    };
    let mut labels = Vec::with_capacity(7);
    for (key, number) in [(label::PID, *pid), (label::TID, *tid)] {
        if number != 0 {
            let key = strings.add(key);
            labels.push(Label { key, num: i64::from(number), ..Label::default() });
        }
    }
    let texts = [
        (label::COMM, process.as_ref()),
        (label::THREAD, thread.as_ref()),
        (label::STATE, state),
        (label::CGROUP, cgroup.as_ref()),
        (label::SERVICE, service.as_ref()),
    ];
    for (key, text) in texts {
        if !text.is_empty() {
            labels.push(Label {
                key: strings.add(key),
                str: strings.add(text),
                ..Label::default()
            });
        }
    }
    labels
}

/// pprof's numbers are signed; none of ours comes near the limit.
fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
