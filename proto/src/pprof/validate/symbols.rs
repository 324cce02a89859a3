//! Mappings, locations and functions.

use super::Report;
use crate::pprof::{Location, Mapping};

pub(super) fn check_mappings(report: &mut Report<'_>) {
    let profile = report.profile;
    report.ids("mapping", profile.mapping.iter().map(|m| m.id));
    for (index, mapping) in profile.mapping.iter().enumerate() {
        check_mapping(report, index, mapping);
    }
    check_executable_first(report);
}

fn check_mapping(report: &mut Report<'_>, index: usize, mapping: &Mapping) {
    let path = format!("mapping[{index}]");
    if mapping.memory_start > mapping.memory_limit {
        report.violation(&path, "memory_start lies after memory_limit");
    }
    report.text(mapping.filename, format_args!("{path}.filename"));
    let build_id = report.string(mapping.build_id, format_args!("{path}.build_id"));
    let lower_hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    if build_id.is_some_and(|id| !id.chars().all(lower_hex)) {
        report.violation(format_args!("{path}.build_id"), "is not lower-case hex");
    }
    check_claims(report, &path, mapping);
}

/// A mapping that claims to have functions, files or lines is not symbolized again by anyone: each of
/// its locations must have them.
fn check_claims(report: &mut Report<'_>, path: &str, mapping: &Mapping) {
    let profile = report.profile;
    let function = |id: u64| profile.function.get(usize::try_from(id).ok()?.checked_sub(1)?);
    let has_functions = |l: &Location| !l.line.is_empty();
    let has_filenames = |l: &Location| {
        l.line.iter().all(|line| function(line.function_id).is_some_and(|f| f.filename != 0))
    };
    let has_lines = |l: &Location| l.line.iter().all(|line| line.line > 0);
    let locations = || profile.location.iter().filter(|l| l.mapping_id == mapping.id);
    for (claim, claimed, holds) in [
        ("has_functions", mapping.has_functions, locations().all(has_functions)),
        ("has_filenames", mapping.has_filenames, locations().all(has_filenames)),
        ("has_line_numbers", mapping.has_line_numbers, locations().all(has_lines)),
    ] {
        if claimed && !holds {
            report.violation(
                format_args!("{path}.{claim}"),
                "is claimed, but a location of the mapping has none",
            );
        }
    }
}

/// `go tool pprof` takes mapping 1 for the program that was profiled.
fn check_executable_first(report: &mut Report<'_>) {
    let profile = report.profile;
    let name = |m: &Mapping| {
        let index = usize::try_from(m.filename).ok()?;
        profile.string_table.get(index).map(String::as_str)
    };
    let pseudo = |m: &Mapping| name(m).is_some_and(|n| n.starts_with('['));
    let Some(first) = profile.mapping.first() else { return };
    if pseudo(first) && !profile.mapping.iter().all(pseudo) {
        report.violation("mapping[0]", "is no file, though there is one that could be first");
    }
}

pub(super) fn check_locations(report: &mut Report<'_>) {
    let profile = report.profile;
    report.ids("location", profile.location.iter().map(|l| l.id));
    for (index, location) in profile.location.iter().enumerate() {
        check_location(report, index, location);
    }
}

fn check_location(report: &mut Report<'_>, index: usize, location: &Location) {
    let profile = report.profile;
    let path = format!("location[{index}]");
    let mapping_path = format!("{path}.mapping_id");
    report.reference(location.mapping_id, profile.mapping.len(), "mapping", mapping_path);
    if location.address == 0 && location.line.is_empty() {
        report.violation(&path, "has neither an address nor a line");
    }
    let mapping_index = usize::try_from(location.mapping_id).ok().and_then(|id| id.checked_sub(1));
    if let Some(mapping) = mapping_index.and_then(|i| profile.mapping.get(i)) {
        let range = mapping.memory_start..mapping.memory_limit;
        if !range.is_empty() && !range.contains(&location.address) {
            let address = location.address;
            report.violation(
                format_args!("{path}.address"),
                format_args!("{address:#x} lies outside its mapping"),
            );
        }
    }
    for (n, line) in location.line.iter().enumerate() {
        let functions = profile.function.len();
        let line_path = format!("{path}.line[{n}]");
        let function_path = format!("{line_path}.function_id");
        report.reference(line.function_id, functions, "function", function_path);
        if line.line < 0 {
            report.violation(format_args!("{line_path}.line"), "is negative");
        }
    }
}

pub(super) fn check_functions(report: &mut Report<'_>) {
    let profile = report.profile;
    report.ids("function", profile.function.iter().map(|f| f.id));
    for (index, function) in profile.function.iter().enumerate() {
        report.text(function.name, format_args!("function[{index}].name"));
        report.text(function.system_name, format_args!("function[{index}].system_name"));
        report.string(function.filename, format_args!("function[{index}].filename"));
        if function.start_line < 0 {
            report.violation(format_args!("function[{index}].start_line"), "is negative");
        }
    }
}
