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

/// The string that a value is, if it is one.
pub fn as_text(value: Option<&AnyValue>) -> Option<&str> {
    match value?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// How many bytes a request takes, unpacked.
pub fn encoded_len(request: &ExportProfilesServiceRequest) -> usize {
    prost_wire::Message::encoded_len(request)
}
