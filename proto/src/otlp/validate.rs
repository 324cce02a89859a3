//! A strict check of a request: everything that one of the servers is known to refuse or to
//! misunderstand, and what the definition asks for.

use std::collections::HashSet;
use std::fmt;

use super::{
    ExportProfilesServiceRequest, Function, Link, Location, Mapping, Profile, ProfilesDictionary,
    Resource, SERVICE_NAME, Sample, Stack, ValueType, as_text,
};
use crate::pprof::{MAX_DEPTH, Violation};

/// Checks a request against every rule.
///
/// # Errors
/// All violations, with their places.
pub fn validate(request: &ExportProfilesServiceRequest) -> Result<(), Vec<Violation>> {
    let empty = ProfilesDictionary::default();
    let dictionary = request.dictionary.as_ref().unwrap_or(&empty);
    let mut check = Check { dictionary, violations: Vec::new() };
    check.zero_entries();
    check.strings();
    check.tables();
    if request.resource_profiles.is_empty() {
        check.violation("resource_profiles", "is empty");
    }
    for (r, resource) in request.resource_profiles.iter().enumerate() {
        check.resource(&format!("resource_profiles[{r}]"), resource.resource.as_ref());
        for (s, scope) in resource.scope_profiles.iter().enumerate() {
            for (p, profile) in scope.profiles.iter().enumerate() {
                let path = format!("resource_profiles[{r}].scope_profiles[{s}].profiles[{p}]");
                check.profile(&path, profile);
            }
        }
    }
    if check.violations.is_empty() { Ok(()) } else { Err(check.violations) }
}

struct Check<'a> {
    dictionary: &'a ProfilesDictionary,
    violations: Vec<Violation>,
}

impl Check<'_> {
    fn violation(&mut self, path: impl fmt::Display, rule: impl fmt::Display) {
        self.violations.push(Violation { path: path.to_string(), rule: rule.to_string() });
    }

    /// Index 0 of each table means "none".
    fn zero_entries(&mut self) {
        let d = self.dictionary;
        let tables = [
            ("mapping_table", d.mapping_table.first() == Some(&Mapping::default())),
            ("location_table", d.location_table.first() == Some(&Location::default())),
            ("function_table", d.function_table.first() == Some(&Function::default())),
            ("link_table", d.link_table.first() == Some(&Link::default())),
            ("string_table", d.string_table.first().is_some_and(String::is_empty)),
            (
                "attribute_table",
                d.attribute_table.first().is_some_and(|a| *a == Default::default()),
            ),
            ("stack_table", d.stack_table.first() == Some(&Stack::default())),
        ];
        for (table, _) in tables.iter().filter(|(_, good)| !good) {
            self.violation(format_args!("dictionary.{table}[0]"), "is not the zero entry");
        }
    }

    fn strings(&mut self) {
        let mut seen = HashSet::new();
        for (n, string) in self.dictionary.string_table.iter().enumerate() {
            if !seen.insert(string) {
                self.violation(format_args!("dictionary.string_table[{n}]"), "is there twice");
            }
        }
    }

    /// The string at an index, which must say something.
    fn text(&mut self, index: i32, path: impl fmt::Display) {
        if self.string(index, &path) == Some("") {
            self.violation(path, "is empty");
        }
    }

    fn string(&mut self, index: i32, path: impl fmt::Display) -> Option<&str> {
        let table = &self.dictionary.string_table;
        let found = usize::try_from(index).ok().and_then(|i| table.get(i));
        if found.is_none() {
            let size = table.len();
            self.violation(path, format_args!("string index {index} is not in 0..{size}"));
        }
        found.map(String::as_str)
    }

    /// A reference into a table, not to its zero entry.
    fn reference(&mut self, index: i32, size: usize, path: impl fmt::Display) {
        let inside = usize::try_from(index).is_ok_and(|i| (1..size).contains(&i));
        if !inside {
            self.violation(path, format_args!("index {index} is not in 1..{size}"));
        }
    }

    fn tables(&mut self) {
        let d = self.dictionary;
        for (n, mapping) in d.mapping_table.iter().enumerate().skip(1) {
            let path = format!("dictionary.mapping_table[{n}]");
            self.text(mapping.filename_strindex, format_args!("{path}.filename"));
            for index in &mapping.attribute_indices {
                self.reference(*index, d.attribute_table.len(), format_args!("{path}.attribute"));
            }
        }
        for (n, location) in d.location_table.iter().enumerate().skip(1) {
            let path = format!("dictionary.location_table[{n}]");
            self.reference(
                location.mapping_index,
                d.mapping_table.len(),
                format_args!("{path}.mapping"),
            );
            if location.address == 0 && location.lines.is_empty() {
                self.violation(&path, "has neither an address nor a line");
            }
            for line in &location.lines {
                let function = format_args!("{path}.line.function").to_string();
                self.reference(line.function_index, d.function_table.len(), function);
            }
        }
        for (n, function) in d.function_table.iter().enumerate().skip(1) {
            let path = format!("dictionary.function_table[{n}]");
            self.text(function.name_strindex, format_args!("{path}.name"));
            self.text(function.system_name_strindex, format_args!("{path}.system_name"));
            self.string(function.filename_strindex, format_args!("{path}.filename"));
        }
        for (n, attribute) in d.attribute_table.iter().enumerate().skip(1) {
            let path = format!("dictionary.attribute_table[{n}]");
            self.text(attribute.key_strindex, format_args!("{path}.key"));
            self.string(attribute.unit_strindex, format_args!("{path}.unit"));
            if attribute.value.is_none() {
                self.violation(format_args!("{path}.value"), "is not set");
            }
        }
        for (n, stack) in d.stack_table.iter().enumerate().skip(1) {
            self.stack(&format!("dictionary.stack_table[{n}]"), stack);
        }
    }

    fn stack(&mut self, path: &str, stack: &Stack) {
        let depth = stack.location_indices.len();
        if depth == 0 {
            self.violation(path, "is empty");
        }
        if depth > MAX_DEPTH {
            self.violation(path, format_args!("is {depth} deep, more than {MAX_DEPTH}"));
        }
        for index in &stack.location_indices {
            let size = self.dictionary.location_table.len();
            self.reference(*index, size, format_args!("{path}.location"));
        }
    }

    fn resource(&mut self, path: &str, resource: Option<&Resource>) {
        let attributes = resource.map_or(&[][..], |r| &r.attributes);
        let service = attributes.iter().find(|a| a.key == SERVICE_NAME);
        if as_text(service.and_then(|a| a.value.as_ref())).is_none_or(str::is_empty) {
            self.violation(path, format_args!("has no {SERVICE_NAME}"));
        }
        let mut seen = HashSet::new();
        for attribute in attributes {
            let value = as_text(attribute.value.as_ref());
            if attribute.key.is_empty() || value.is_none_or(str::is_empty) {
                self.violation(path, format_args!("attribute {:?} is empty", attribute.key));
            }
            if !seen.insert(&attribute.key) {
                self.violation(path, format_args!("attribute {:?} is there twice", attribute.key));
            }
        }
    }

    fn profile(&mut self, path: &str, profile: &Profile) {
        self.value_type(profile.sample_type.as_ref(), &format!("{path}.sample_type"));
        self.value_type(profile.period_type.as_ref(), &format!("{path}.period_type"));
        if profile.period <= 0 {
            self.violation(format_args!("{path}.period"), "is not positive");
        }
        if profile.time_unix_nano == 0 || profile.duration_nano == 0 {
            self.violation(path, "has no time or no duration");
        }
        if profile.profile_id.len() != 16 || profile.profile_id.iter().all(|b| *b == 0) {
            self.violation(format_args!("{path}.profile_id"), "is not 16 bytes, one of them not 0");
        }
        let size = self.dictionary.attribute_table.len();
        for index in &profile.attribute_indices {
            self.reference(*index, size, format_args!("{path}.attribute_indices"));
        }
        let mut stacks = HashSet::new();
        for (n, sample) in profile.samples.iter().enumerate() {
            self.sample(&format!("{path}.samples[{n}]"), sample);
            if !stacks.insert((sample.stack_index, &sample.attribute_indices)) {
                self.violation(format_args!("{path}.samples[{n}]"), "has the stack of another");
            }
        }
    }

    fn value_type(&mut self, value_type: Option<&ValueType>, path: &str) {
        let Some(value_type) = value_type else {
            self.violation(path, "is not set");
            return;
        };
        self.text(value_type.type_strindex, format_args!("{path}.type"));
        self.text(value_type.unit_strindex, format_args!("{path}.unit"));
    }

    fn sample(&mut self, path: &str, sample: &Sample) {
        let (stacks, links) = (self.dictionary.stack_table.len(), self.dictionary.link_table.len());
        self.reference(sample.stack_index, stacks, format_args!("{path}.stack_index"));
        if sample.link_index != 0 {
            self.reference(sample.link_index, links, format_args!("{path}.link_index"));
        }
        for index in &sample.attribute_indices {
            let size = self.dictionary.attribute_table.len();
            self.reference(*index, size, format_args!("{path}.attribute_indices"));
        }
        match sample.values.as_slice() {
            [value] if *value > 0 => {}
            [value] => self.violation(path, format_args!("has the value {value}")),
            values => self.violation(path, format_args!("has {} values", values.len())),
        }
        if !sample.timestamps_unix_nano.is_empty() {
            self.violation(path, "has timestamps beside its value");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{KeyValueAndUnit, Line, ResourceProfiles, ScopeProfiles, text, text_value};
    use super::*;

    const STRINGS: [&str; 6] = ["", "samples", "count", "/bin/app", "main", "build_id"];

    /// A request that breaks no rule.
    fn valid() -> ExportProfilesServiceRequest {
        let value_type = Some(ValueType { type_strindex: 1, unit_strindex: 2 });
        let line = Line { function_index: 1, ..Line::default() };
        let dictionary = ProfilesDictionary {
            mapping_table: vec![
                Mapping::default(),
                Mapping { filename_strindex: 3, attribute_indices: vec![1], ..Mapping::default() },
            ],
            location_table: vec![
                Location::default(),
                Location { mapping_index: 1, lines: vec![line], ..Location::default() },
            ],
            function_table: vec![
                Function::default(),
                Function { name_strindex: 4, system_name_strindex: 4, ..Function::default() },
            ],
            link_table: vec![Link::default()],
            string_table: STRINGS.map(str::to_owned).to_vec(),
            attribute_table: vec![
                KeyValueAndUnit::default(),
                KeyValueAndUnit {
                    key_strindex: 5,
                    value: Some(text_value("ab")),
                    ..KeyValueAndUnit::default()
                },
            ],
            stack_table: vec![Stack::default(), Stack { location_indices: vec![1] }],
        };
        let profile = Profile {
            sample_type: value_type,
            samples: vec![Sample { stack_index: 1, values: vec![3], ..Sample::default() }],
            time_unix_nano: 1,
            duration_nano: 1,
            period_type: value_type,
            period: 1,
            profile_id: vec![1; 16],
            ..Profile::default()
        };
        let scope = ScopeProfiles { profiles: vec![profile], ..ScopeProfiles::default() };
        let attributes = vec![text(SERVICE_NAME, "app")];
        ExportProfilesServiceRequest {
            resource_profiles: vec![ResourceProfiles {
                resource: Some(Resource { attributes, ..Resource::default() }),
                scope_profiles: vec![scope],
                ..ResourceProfiles::default()
            }],
            dictionary: Some(dictionary),
        }
    }

    fn profile(request: &mut ExportProfilesServiceRequest) -> &mut Profile {
        &mut request.resource_profiles[0].scope_profiles[0].profiles[0]
    }

    fn dictionary(request: &mut ExportProfilesServiceRequest) -> &mut ProfilesDictionary {
        request.dictionary.as_mut().unwrap()
    }

    type Break = fn(&mut ExportProfilesServiceRequest);

    /// What to break, and a word of the path that is to be named.
    const RULES: &[(&str, Break)] = &[
        ("mapping_table[0]", |r| r.dictionary = None),
        ("stack_table[0]", |r| drop(dictionary(r).stack_table.remove(0))),
        ("attribute_table[0]", |r| dictionary(r).attribute_table.clear()),
        ("string_table[6]", |r| dictionary(r).string_table.push("main".into())),
        ("mapping_table[1].filename", |r| dictionary(r).mapping_table[1].filename_strindex = 0),
        ("mapping_table[1].attribute", |r| {
            dictionary(r).mapping_table[1].attribute_indices = vec![9];
        }),
        ("location_table[1].mapping", |r| dictionary(r).location_table[1].mapping_index = 0),
        ("location_table[1]", |r| dictionary(r).location_table[1].lines.clear()),
        ("location_table[1].line.function", |r| {
            dictionary(r).location_table[1].lines[0].function_index = -1;
        }),
        ("function_table[1].name", |r| dictionary(r).function_table[1].name_strindex = 0),
        ("attribute_table[1].value", |r| dictionary(r).attribute_table[1].value = None),
        ("stack_table[1]", |r| dictionary(r).stack_table[1].location_indices.clear()),
        ("stack_table[1]", |r| {
            dictionary(r).stack_table[1].location_indices = vec![1; MAX_DEPTH + 1];
        }),
        ("resource_profiles", |r| r.resource_profiles.clear()),
        ("resource_profiles[0]", |r| r.resource_profiles[0].resource = None),
        ("sample_type", |r| profile(r).sample_type = None),
        ("period_type.unit", |r| {
            profile(r).period_type = Some(ValueType { type_strindex: 1, unit_strindex: 0 });
        }),
        ("period", |r| profile(r).period = 0),
        ("profiles[0]", |r| profile(r).time_unix_nano = 0),
        ("profile_id", |r| profile(r).profile_id.clear()),
        ("profiles[0].attribute_indices", |r| profile(r).attribute_indices = vec![2]),
        ("stack_index", |r| profile(r).samples[0].stack_index = 0),
        ("samples[0]", |r| profile(r).samples[0].values = vec![0]),
        ("samples[0]", |r| profile(r).samples[0].values.push(1)),
        ("samples[1]", |r| {
            let sample = profile(r).samples[0].clone();
            profile(r).samples.push(sample);
        }),
    ];

    #[test]
    fn a_valid_request_passes_and_each_rule_names_what_breaks_it() {
        assert_eq!(validate(&valid()), Ok(()));
        for (n, (path, break_it)) in RULES.iter().enumerate() {
            let mut request = valid();
            break_it(&mut request);
            let violations = validate(&request).expect_err(&format!("rule {n} ({path})"));
            assert!(
                violations.iter().any(|v| v.path.ends_with(path)),
                "rule {n}: {path} is not in {violations:#?}"
            );
        }
    }
}
