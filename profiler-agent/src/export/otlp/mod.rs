//! OTLP profiles over gRPC, to an OpenTelemetry Collector and to what else takes them.
//!
//! One request has one profile of one service: a server that refuses it refuses nothing else with it.

mod convert;

use std::collections::BTreeMap;
use std::time::Duration;

use profiler_proto::otlp::profiles_service_client::ProfilesServiceClient;
use profiler_proto::otlp::{
    ExportProfilesServiceRequest, ExportProfilesServiceResponse, KeyValue, SERVICE_NAME, text,
    validate,
};
use tonic::codec::CompressionEncoding;

use super::backend::{Backend, Part, Prepared};
use super::channel::Link;
use super::config::Remote;
use super::environment::Environment;
use super::grpc;
use super::outcome::Outcome;
use super::split::Options;
use super::verdict::{Rules, outcome};
use crate::model::finished::Finished;

/// CPU time is a number of samples and their period, as OpenTelemetry's own profiler sends it: servers
/// know a CPU profile by that.
const OPTIONS: Options = Options { cpu_as_samples: true, comments: false, bare_addresses: false };

/// A Collector takes 4 MiB, unpacked. A profile's parts stay far below that.
const MAX_BYTES: usize = 4 << 20;

/// The backend.
pub(super) struct Otlp {
    remote: Remote,
    link: Link,
    /// Attributes of the resource, besides the name of the service.
    attributes: Vec<KeyValue>,
}

impl Otlp {
    pub(super) fn new(
        remote: &Remote,
        labels: &BTreeMap<String, String>,
        environment: &Environment,
    ) -> Result<Self, String> {
        let mut attributes = labels.clone();
        if let Some((name, _)) = labels.iter().find(|(n, v)| n.is_empty() || v.is_empty()) {
            return Err(format!("labels.{name} is empty"));
        }
        if labels.contains_key(SERVICE_NAME) {
            return Err(format!("labels.{SERVICE_NAME} is set by the agent"));
        }
        let host = environment.host.clone();
        let known = [("host.name", host), ("os.type", "linux".to_owned())];
        for (name, value) in known.into_iter().filter(|(_, value)| !value.is_empty()) {
            attributes.entry(name.to_owned()).or_insert(value);
        }
        let attributes = attributes.into_iter().map(|(name, value)| text(name, value)).collect();
        let link = Link::new(remote, environment)?;
        Ok(Self { remote: remote.clone(), link, attributes })
    }
}

impl Backend for Otlp {
    type Part = ExportProfilesServiceRequest;

    fn prepare(&self, window: &Finished) -> Result<Prepared<Self::Part>, String> {
        grpc::prepare(window, OPTIONS, |series, profile| {
            let mut attributes = vec![text(SERVICE_NAME, &series.service)];
            attributes.extend(self.attributes.iter().cloned());
            let request = convert::request(profile, series, attributes)?;
            validate(&request).ok()?;
            let bytes = profiler_proto::otlp::encoded_len(&request);
            (bytes <= MAX_BYTES).then_some(Part { body: request, bytes })
        })
    }

    async fn send(&self, part: &Part<Self::Part>, deadline: Duration) -> Outcome {
        let compression = self.remote.compression;
        let answer = self.link.call(part.body.clone(), deadline, |transport, request| async move {
            let mut client =
                ProfilesServiceClient::new(transport).accept_compressed(CompressionEncoding::Gzip);
            if compression {
                client = client.send_compressed(CompressionEncoding::Gzip);
            }
            client.export(request).await
        });
        match answer.await {
            Ok(response) => of_response(response),
            Err(failed) => outcome(Rules::Otlp, failed),
        }
    }

    fn credentials(&self) -> u64 {
        self.link.credentials()
    }

    fn in_flight(&self) -> usize {
        self.remote.in_flight
    }

    fn timeout(&self) -> Duration {
        self.remote.timeout
    }
}

/// A Collector always says how much it took: with nothing rejected, all. What it rejects is not to be
/// sent again.
fn of_response(response: ExportProfilesServiceResponse) -> Outcome {
    match response.partial_success {
        Some(partial) if partial.rejected_profiles != 0 => Outcome::Final {
            reason: format!("{} rejected: {}", partial.rejected_profiles, partial.error_message),
        },
        // A message alone is a warning.
        _ => Outcome::Delivered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_partial_success_is_success_and_a_full_one_is_final() {
        let mut response = ExportProfilesServiceResponse::default();
        assert_eq!(of_response(response.clone()), Outcome::Delivered);
        response.partial_success = Some(Default::default());
        assert_eq!(of_response(response.clone()), Outcome::Delivered);
        response.partial_success.as_mut().unwrap().rejected_profiles = 1;
        assert!(matches!(of_response(response), Outcome::Final { .. }));
    }
}
