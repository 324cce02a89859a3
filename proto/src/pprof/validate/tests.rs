//! Each rule, by a profile that is right but for one thing.

use super::*;
use crate::pprof::{Function, Label, Line, Location, Mapping, Sample, ValueType};

/// The strings of [`valid`], by index.
const STRINGS: [&str; 9] =
    ["", "cpu", "nanoseconds", "/bin/app", "main", "pid", "comm", "app", "[kernel.kallsyms]"];

fn index(text: &str) -> i64 {
    STRINGS.iter().position(|s| *s == text).unwrap() as i64
}

/// A small profile that breaks no rule: two mappings, two locations, one function, two samples.
fn valid() -> Profile {
    let value_type = || ValueType { ty: index("cpu"), unit: index("nanoseconds") };
    let pid = |num| Label { key: index("pid"), num, ..Default::default() };
    let comm = Label { key: index("comm"), str: index("app"), ..Default::default() };
    let mapping = |id, name| Mapping { id, filename: index(name), ..Default::default() };
    let line = Line { function_id: 1, line: 0 };
    let location = |id, mapping_id, address| Location {
        id,
        mapping_id,
        address,
        line: vec![line.clone()],
        is_folded: false,
    };
    let sample = |location_id, num| Sample {
        location_id,
        value: vec![10],
        label: vec![pid(num), comm.clone()],
    };
    Profile {
        sample_type: vec![value_type()],
        sample: vec![sample(vec![2, 1], 7), sample(vec![1], 7), sample(vec![1], 8)],
        mapping: vec![mapping(1, "/bin/app"), mapping(2, "[kernel.kallsyms]")],
        location: vec![location(1, 1, 0x1000), location(2, 2, 0)],
        function: vec![Function {
            id: 1,
            name: index("main"),
            system_name: index("main"),
            ..Default::default()
        }],
        string_table: STRINGS.map(str::to_owned).to_vec(),
        time_nanos: 1,
        duration_nanos: 1,
        period_type: Some(value_type()),
        period: 1,
        comment: vec![index("app")],
        default_sample_type: index("cpu"),
        ..Default::default()
    }
}

#[test]
fn a_valid_profile_passes() {
    assert_eq!(validate(&valid()), Ok(()));
}

type Break = fn(&mut Profile);

/// What to break, and the path that is to be named.
const RULES: &[(&str, Break)] = &[
    ("string_table[0]", |p| p.string_table[0] = "x".into()),
    ("sample_type", |p| {
        p.sample_type.clear();
        p.default_sample_type = 0;
        p.sample.clear();
    }),
    ("sample_type[0].type", |p| p.sample_type[0].ty = 0),
    ("sample_type[0].unit", |p| p.sample_type[0].unit = 0),
    ("sample_type[0].unit", |p| p.sample_type[0].unit = 99),
    ("period_type", |p| p.period_type = None),
    ("period_type.type", |p| p.period_type = Some(ValueType { ty: 0, unit: 2 })),
    ("period", |p| p.period = 0),
    ("period", |p| p.period = -1),
    ("time_nanos", |p| p.time_nanos = 0),
    ("duration_nanos", |p| p.duration_nanos = 0),
    ("comment[0]", |p| p.comment[0] = -1),
    ("default_sample_type", |p| p.default_sample_type = index("main")),
    ("default_sample_type", |p| p.default_sample_type = 99),
    ("drop_frames", |p| p.drop_frames = 99),
    ("mapping[0].id", |p| {
        p.mapping[0].id = 0;
        p.location.iter_mut().for_each(|l| l.mapping_id = 2);
    }),
    ("mapping[1].id", |p| p.mapping[1].id = 3),
    ("mapping[1].id", |p| p.mapping[1].id = 1),
    ("mapping[0]", |p| (p.mapping[0].memory_start, p.mapping[0].memory_limit) = (2, 1)),
    ("mapping[0].filename", |p| p.mapping[0].filename = 0),
    ("mapping[0].build_id", |p| {
        p.string_table.push("ABCD".into());
        p.mapping[0].build_id = 9;
    }),
    ("mapping[0].has_functions", |p| {
        p.mapping[0].has_functions = true;
        p.location[0].line.clear();
    }),
    ("mapping[0].has_filenames", |p| p.mapping[0].has_filenames = true),
    ("mapping[0].has_line_numbers", |p| p.mapping[0].has_line_numbers = true),
    ("mapping[0]", |p| {
        p.mapping[0].filename = index("[kernel.kallsyms]");
        p.mapping[1].filename = index("/bin/app");
    }),
    ("location[0].id", |p| p.location[0].id = 0),
    ("location[1].id", |p| p.location[1].id = 1),
    ("location[0].mapping_id", |p| p.location[0].mapping_id = 0),
    ("location[0].mapping_id", |p| p.location[0].mapping_id = 3),
    ("location[0].address", |p| {
        (p.mapping[0].memory_start, p.mapping[0].memory_limit) = (0x2000, 0x3000);
    }),
    ("location[1]", |p| p.location[1].line.clear()),
    ("location[0].line[0].function_id", |p| p.location[0].line[0].function_id = 2),
    ("location[0].line[0].function_id", |p| p.location[0].line[0].function_id = 0),
    ("location[0].line[0].line", |p| p.location[0].line[0].line = -1),
    ("function[0].id", |p| p.function[0].id = 7),
    ("function[0].name", |p| p.function[0].name = 0),
    ("function[0].system_name", |p| p.function[0].system_name = 0),
    ("function[0].filename", |p| p.function[0].filename = -5),
    ("function[0].start_line", |p| p.function[0].start_line = -1),
    ("sample[0].value", |p| p.sample[0].value.push(1)),
    ("sample[0].value", |p| p.sample[0].value = vec![-1]),
    ("sample[0].value", |p| p.sample[0].value = vec![0]),
    ("sample[0].location_id", |p| p.sample[0].location_id.clear()),
    ("sample[0].location_id", |p| p.sample[0].location_id = vec![1; MAX_DEPTH + 1]),
    ("sample[0].location_id[1]", |p| p.sample[0].location_id[1] = 3),
    ("sample[0].label[0].key", |p| p.sample[0].label[0].key = 0),
    ("sample[0].label[0]", |p| p.sample[0].label[0].str = index("app")),
    ("sample[0].label[0]", |p| p.sample[0].label[0].num = 0),
    ("sample[0].label[1]", |p| p.sample[0].label[1].num_unit = index("cpu")),
    ("sample[0].label[1].str", |p| p.sample[0].label[1].str = 99),
    ("sample[2]", |p| p.sample[2].label[0].num = 7),
    ("sample[2]", |p| {
        p.sample[2].label[0].num = 7;
        p.sample[2].label.reverse();
    }),
];

#[test]
fn each_rule_names_what_breaks_it() {
    for (n, (path, break_it)) in RULES.iter().enumerate() {
        let mut profile = valid();
        break_it(&mut profile);
        let violations = validate(&profile).expect_err(&format!("rule {n} ({path})"));
        assert!(
            violations.iter().any(|v| v.path == *path),
            "rule {n}: {path} is not in {violations:#?}"
        );
    }
}

#[test]
fn all_violations_are_reported() {
    let mut profile = valid();
    profile.period = 0;
    profile.sample[1].value = vec![-1];
    profile.function[0].id = 2;
    assert_eq!(validate(&profile).unwrap_err().len(), 3);
}

#[test]
fn the_empty_message_is_no_profile_but_does_no_harm() {
    assert!(validate(&Profile::default()).is_err());
}
