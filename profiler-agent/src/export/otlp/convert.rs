//! A pprof profile as an OTLP request. Tables have a zero entry at 0, so pprof's numbers, which count
//! from 1, stay what they are.

use std::collections::HashMap;

use ahash::RandomState;
use indexmap::IndexMap;
use profiler_proto::otlp::{
    AnyValue, BUILD_ID, ExportProfilesServiceRequest, Function, InstrumentationScope, KeyValue,
    KeyValueAndUnit, Line, Link, Location, Mapping, Profile, ProfilesDictionary, Resource,
    ResourceProfiles, Sample, ScopeProfiles, Stack, ValueType, number_value, text_value,
};
use profiler_proto::pprof;

use crate::export::split::Series;
use crate::model::conventions::comment;

/// What the names of our own attributes begin with.
const ATTRIBUTE_PREFIX: &str = "profiler_agent.";

/// Makes a request of one part; `None` where a number has no room in it, which no part of ours needs.
pub(super) fn request(
    profile: &pprof::Profile,
    series: &Series,
    resource: Vec<KeyValue>,
) -> Option<ExportProfilesServiceRequest> {
    let mut strings = profile.string_table.clone();
    let mut attributes = Attributes::new();
    let mapping_table = mappings(profile, &mut strings, &mut attributes)?;
    let attribute_indices = losses(&series.said, &mut strings, &mut attributes)?;
    let mut stacks: IndexMap<&[u64], i32, RandomState> = IndexMap::default();
    let mut samples = Vec::with_capacity(profile.sample.len());
    for sample in &profile.sample {
        let next = index(stacks.len() + 1)?;
        let stack_index = *stacks.entry(sample.location_id.as_slice()).or_insert(next);
        samples.push(Sample { stack_index, values: sample.value.clone(), ..Sample::default() });
    }
    let mut stack_table = vec![Stack::default()];
    for stack in stacks.keys() {
        let locations: Option<Vec<i32>> = stack.iter().map(|id| index(*id)).collect();
        stack_table.push(Stack { location_indices: locations? });
    }
    let converted = Profile {
        sample_type: Some(value_type(profile.sample_type.first()?)?),
        samples,
        time_unix_nano: profile.time_nanos.try_into().ok()?,
        duration_nano: profile.duration_nanos.try_into().ok()?,
        period_type: Some(value_type(profile.period_type.as_ref()?)?),
        period: profile.period,
        profile_id: profile_id(profile, series, &resource),
        attribute_indices,
        ..Profile::default()
    };
    let dictionary = ProfilesDictionary {
        mapping_table,
        location_table: locations(profile)?,
        function_table: functions(profile)?,
        link_table: vec![Link::default()],
        string_table: strings,
        attribute_table: attributes.table,
        stack_table,
    };
    let scope = InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    Some(ExportProfilesServiceRequest {
        resource_profiles: vec![ResourceProfiles {
            resource: Some(Resource { attributes: resource, ..Resource::default() }),
            scope_profiles: vec![ScopeProfiles {
                scope: Some(scope),
                profiles: vec![converted],
                ..ScopeProfiles::default()
            }],
            ..ResourceProfiles::default()
        }],
        dictionary: Some(dictionary),
    })
}

fn index(number: impl TryInto<i32>) -> Option<i32> {
    number.try_into().ok()
}

fn value_type(value_type: &pprof::ValueType) -> Option<ValueType> {
    Some(ValueType { type_strindex: index(value_type.ty)?, unit_strindex: index(value_type.unit)? })
}

/// The table of attributes.
struct Attributes {
    table: Vec<KeyValueAndUnit>,
}

impl Attributes {
    fn new() -> Self {
        Self { table: vec![KeyValueAndUnit::default()] }
    }

    /// Adds one; its index.
    fn add(&mut self, key_strindex: i32, value: AnyValue) -> Option<i32> {
        let next = index(self.table.len())?;
        let value = Some(value);
        self.table.push(KeyValueAndUnit { key_strindex, value, ..KeyValueAndUnit::default() });
        Some(next)
    }
}

/// The index of a string, which is added where it is not there yet.
fn string(strings: &mut Vec<String>, text: &str) -> Option<i32> {
    let known = strings.iter().position(|s| s == text);
    index(known.unwrap_or_else(|| {
        strings.push(text.to_owned());
        strings.len() - 1
    }))
}

/// Mappings, and their build IDs as attributes.
fn mappings(
    profile: &pprof::Profile,
    strings: &mut Vec<String>,
    attributes: &mut Attributes,
) -> Option<Vec<Mapping>> {
    let mut mappings = vec![Mapping::default()];
    let mut by_build_id: HashMap<&str, i32, RandomState> = HashMap::default();
    let key = string(strings, BUILD_ID)?;
    for mapping in &profile.mapping {
        let build_id = usize::try_from(mapping.build_id).ok()?;
        let build_id = profile.string_table.get(build_id).map_or("", String::as_str);
        let attribute = match (build_id, by_build_id.get(build_id)) {
            ("", _) => None,
            (_, Some(known)) => Some(*known),
            (_, None) => Some(attributes.add(key, text_value(build_id))?),
        };
        by_build_id.extend(attribute.map(|attribute| (build_id, attribute)));
        mappings.push(Mapping {
            memory_start: mapping.memory_start,
            memory_limit: mapping.memory_limit,
            file_offset: mapping.file_offset,
            filename_strindex: index(mapping.filename)?,
            attribute_indices: attribute.into_iter().collect(),
        });
    }
    Some(mappings)
}

/// What the window says of its losses, as attributes of the profile: `count.NAME: 7` is a number, and all
/// notes together are one text.
fn losses(
    said: &[String],
    strings: &mut Vec<String>,
    attributes: &mut Attributes,
) -> Option<Vec<i32>> {
    let mut indices = Vec::new();
    let mut notes: Vec<&str> = Vec::new();
    for (key, value) in said.iter().filter_map(|line| line.split_once(": ")) {
        match value.parse() {
            Ok(count) if key.starts_with(comment::COUNTER) => {
                let key = string(strings, &format!("{ATTRIBUTE_PREFIX}{key}"))?;
                indices.push(attributes.add(key, number_value(count))?);
            }
            _ => notes.push(value),
        }
    }
    if !notes.is_empty() {
        let key = string(strings, &format!("{ATTRIBUTE_PREFIX}notes"))?;
        indices.push(attributes.add(key, text_value(notes.join("\n")))?);
    }
    Some(indices)
}

fn locations(profile: &pprof::Profile) -> Option<Vec<Location>> {
    let mut locations = vec![Location::default()];
    for location in &profile.location {
        let line = |line: &pprof::Line| {
            let function_index = index(line.function_id)?;
            Some(Line { function_index, line: line.line, ..Line::default() })
        };
        locations.push(Location {
            mapping_index: index(location.mapping_id)?,
            address: location.address,
            lines: location.line.iter().map(line).collect::<Option<_>>()?,
            ..Location::default()
        });
    }
    Some(locations)
}

fn functions(profile: &pprof::Profile) -> Option<Vec<Function>> {
    let mut functions = vec![Function::default()];
    for function in &profile.function {
        functions.push(Function {
            name_strindex: index(function.name)?,
            system_name_strindex: index(function.system_name)?,
            filename_strindex: index(function.filename)?,
            start_line: function.start_line,
        });
    }
    Some(functions)
}

/// 16 bytes that are the same in every try, and others for every other part: the time, and a hash of
/// whose it is.
fn profile_id(profile: &pprof::Profile, series: &Series, resource: &[KeyValue]) -> Vec<u8> {
    let whose = format!("{}\0{}\0{resource:?}", series.service, series.kind.profile_name());
    let hash = RandomState::with_seeds(5, 6, 7, 8).hash_one(whose);
    [profile.time_nanos.to_be_bytes(), hash.to_be_bytes()].concat()
}
