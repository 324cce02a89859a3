//! The profiles signal of OpenTelemetry, `v1development`: its types (from the crate
//! `opentelemetry-proto`), and a strict check.

mod validate;

pub use opentelemetry_proto::tonic::collector::profiles::v1development::{
    ExportProfilesServiceRequest, ExportProfilesServiceResponse, profiles_service_client,
    profiles_service_server,
};
pub use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value,
};
pub use opentelemetry_proto::tonic::profiles::v1development::{
    Function, KeyValueAndUnit, Line, Link, Location, Mapping, Profile, ProfilesDictionary,
    ResourceProfiles, Sample, ScopeProfiles, Stack, ValueType,
};
pub use opentelemetry_proto::tonic::resource::v1::Resource;

pub use validate::validate;

/// Name of the resource attribute that names the service.
pub const SERVICE_NAME: &str = "service.name";

/// Name of the mapping attribute that holds the GNU build ID.
pub const BUILD_ID: &str = "process.executable.build_id.gnu";

/// An attribute with a string for its value.
pub fn text(key: impl Into<String>, value: impl Into<String>) -> KeyValue {
    KeyValue { key: key.into(), value: Some(text_value(value)), ..KeyValue::default() }
}

/// A string as the value of an attribute.
pub fn text_value(value: impl Into<String>) -> AnyValue {
    AnyValue { value: Some(any_value::Value::StringValue(value.into())) }
}

/// A number as the value of an attribute.
pub fn number_value(value: i64) -> AnyValue {
    AnyValue { value: Some(any_value::Value::IntValue(value)) }
}

/// The string that a value is, if it is one.
pub fn as_text(value: Option<&AnyValue>) -> Option<&str> {
    match value?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// The number that a value is, if it is one.
pub fn as_number(value: Option<&AnyValue>) -> Option<i64> {
    match value?.value.as_ref()? {
        any_value::Value::IntValue(number) => Some(*number),
        _ => None,
    }
}

/// Undoes what a Collector does to a request that it passes on: the attributes of resources have plain
/// strings again instead of references to the dictionary, and the zero entry of the table of attributes
/// has no value instead of an empty one.
pub fn resolve(request: &mut ExportProfilesServiceRequest) {
    let strings = request.dictionary.iter().flat_map(|d| &d.string_table);
    let strings: Vec<String> = strings.cloned().collect();
    let text = |index: i32| usize::try_from(index).ok().and_then(|i| strings.get(i)).cloned();
    let resources = request.resource_profiles.iter_mut().filter_map(|r| r.resource.as_mut());
    for attribute in resources.flat_map(|r| &mut r.attributes) {
        if attribute.key.is_empty() {
            attribute.key = text(attribute.key_strindex).unwrap_or_default();
        }
        if let Some(AnyValue { value: Some(value) }) = &mut attribute.value
            && let any_value::Value::StringValueStrindex(index) = *value
        {
            *value = any_value::Value::StringValue(text(index).unwrap_or_default());
        }
    }
    let zero = request.dictionary.iter_mut().find_map(|d| d.attribute_table.first_mut());
    if let Some(zero) = zero
        && zero.value == Some(AnyValue::default())
    {
        zero.value = None;
    }
}

/// How many bytes a request takes, unpacked.
pub fn encoded_len(request: &ExportProfilesServiceRequest) -> usize {
    prost_wire::Message::encoded_len(request)
}
