//! The profile as a whole: strings, types, times.

use super::Report;
use crate::pprof::ValueType;

pub(super) fn check(report: &mut Report<'_>) {
    let profile = report.profile;
    if profile.string_table.first().map(String::as_str) != Some("") {
        report.violation("string_table[0]", "is not the empty string");
    }
    if profile.sample_type.is_empty() {
        report.violation("sample_type", "is empty");
    }
    for (index, value_type) in profile.sample_type.iter().enumerate() {
        check_type(report, value_type, &format!("sample_type[{index}]"));
    }
    match &profile.period_type {
        Some(period_type) => check_type(report, period_type, "period_type"),
        None => report.violation("period_type", "is not set"),
    }
    for (path, value) in [
        ("period", profile.period),
        ("time_nanos", profile.time_nanos),
        ("duration_nanos", profile.duration_nanos),
    ] {
        if value <= 0 {
            report.violation(path, format_args!("is {value}, not positive"));
        }
    }
    for (index, comment) in profile.comment.iter().enumerate() {
        report.string(*comment, format_args!("comment[{index}]"));
    }
    for (path, index) in [
        ("drop_frames", profile.drop_frames),
        ("keep_frames", profile.keep_frames),
        ("default_sample_type", profile.default_sample_type),
    ] {
        report.string(index, path);
    }
    check_default_type(report);
}

/// Backends build series names from a type: an empty half breaks their lists of types.
fn check_type(report: &mut Report<'_>, value_type: &ValueType, path: &str) {
    report.text(value_type.ty, format_args!("{path}.type"));
    report.text(value_type.unit, format_args!("{path}.unit"));
}

fn check_default_type(report: &mut Report<'_>) {
    let profile = report.profile;
    let index = profile.default_sample_type;
    let known = profile.sample_type.iter().any(|t| t.ty == index);
    if index != 0 && !known {
        report.violation("default_sample_type", "is none of the sample types");
    }
}
