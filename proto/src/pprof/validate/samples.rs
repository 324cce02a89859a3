//! Samples: their values, stacks and labels.

use std::collections::HashMap;

use super::{MAX_DEPTH, Report};
use crate::pprof::{Label, Sample};

pub(super) fn check(report: &mut Report<'_>) {
    let profile = report.profile;
    let mut seen = HashMap::with_capacity(profile.sample.len());
    for (index, sample) in profile.sample.iter().enumerate() {
        let path = format!("sample[{index}]");
        check_values(report, &path, sample);
        check_stack(report, &path, sample);
        for (n, label) in sample.label.iter().enumerate() {
            check_label(report, &format!("{path}.label[{n}]"), label);
        }
        if let Some(first) = seen.insert(identity(sample), index) {
            report.violation(&path, format_args!("has the stack and labels of sample[{first}]"));
        }
    }
}

fn check_values(report: &mut Report<'_>, path: &str, sample: &Sample) {
    let types = report.profile.sample_type.len();
    let values = &sample.value;
    if values.len() != types {
        let found = values.len();
        report.violation(
            format_args!("{path}.value"),
            format_args!("has {found} values for {types} sample types"),
        );
    }
    if values.iter().any(|v| *v < 0) {
        report.violation(format_args!("{path}.value"), "has a negative value");
    }
    if values.iter().all(|v| *v == 0) {
        report.violation(format_args!("{path}.value"), "has only zeros");
    }
}

fn check_stack(report: &mut Report<'_>, path: &str, sample: &Sample) {
    let depth = sample.location_id.len();
    if depth == 0 {
        report.violation(format_args!("{path}.location_id"), "is empty");
    }
    if depth > MAX_DEPTH {
        report.violation(
            format_args!("{path}.location_id"),
            format_args!("is {depth} deep, more than {MAX_DEPTH}"),
        );
    }
    let locations = report.profile.location.len();
    for (n, id) in sample.location_id.iter().enumerate() {
        report.reference(*id, locations, "location", format_args!("{path}.location_id[{n}]"));
    }
}

/// A label is a string or a number: with neither, no reader knows which it was meant to be.
fn check_label(report: &mut Report<'_>, path: &str, label: &Label) {
    report.text(label.key, format_args!("{path}.key"));
    report.string(label.str, format_args!("{path}.str"));
    report.string(label.num_unit, format_args!("{path}.num_unit"));
    match (label.str != 0, label.num != 0) {
        (true, true) => report.violation(path, "is both a string and a number"),
        (false, false) => report.violation(path, "is neither a string nor a number"),
        (true, false) if label.num_unit != 0 => report.violation(path, "is a string with a unit"),
        _ => {}
    }
}

/// Stack and labels: what makes two samples the same. The order of the labels does not matter.
fn identity(sample: &Sample) -> (&[u64], Vec<[i64; 4]>) {
    let mut labels: Vec<_> =
        sample.label.iter().map(|l| [l.key, l.str, l.num, l.num_unit]).collect();
    labels.sort_unstable();
    (&sample.location_id, labels)
}
