//! Parca: who it is stands in the labels of the series. Malformed requests kill the server, so nothing
//! leaves that was not checked.

use std::time::Duration;

use profiler_proto::wire::parca::profilestore::v1alpha1::profile_store_service_client::ProfileStoreServiceClient;
use profiler_proto::wire::parca::profilestore::v1alpha1::{
    Label, LabelSet, RawProfileSeries, RawSample, WriteRawRequest,
};
use tonic::codec::CompressionEncoding;

use super::backend::{Backend, Part, Prepared};
use super::channel::Link;
use super::config::Remote;
use super::environment::Environment;
use super::grpc::{self, Packer};
use super::labels::Labels;
use super::outcome::Outcome;
use super::split::Options;
use super::verdict::{Rules, outcome};
use crate::model::finished::Finished;

/// What has a build ID and an address is named there, from debug information that it is given or finds.
const OPTIONS: Options = Options { cpu_as_samples: false, comments: true, bare_addresses: true };

/// The backend.
pub(super) struct Parca {
    remote: Remote,
    link: Link,
    labels: Labels,
}

impl Parca {
    pub(super) fn new(
        remote: &Remote,
        labels: Labels,
        environment: &Environment,
    ) -> Result<Self, String> {
        let link = Link::new(remote, environment)?;
        Ok(Self { remote: remote.clone(), link, labels })
    }
}

impl Backend for Parca {
    type Part = WriteRawRequest;

    fn prepare(&self, window: &Finished) -> Result<Prepared<WriteRawRequest>, String> {
        let mut packer = Packer::new(self.remote.compression);
        grpc::prepare(window, OPTIONS, |series, profile| {
            let raw_profile = packer.pack(profile)?;
            let bytes = raw_profile.len();
            let labels = self.labels.of_series(&series.service, series.kind);
            let labels = labels.into_iter().map(|(name, value)| Label { name, value }).collect();
            let sample = RawSample { raw_profile: raw_profile.into(), executable_info: Vec::new() };
            let series =
                RawProfileSeries { labels: Some(LabelSet { labels }), samples: vec![sample] };
            // Addresses are those of the ELF file.
            Some(Part { body: WriteRawRequest { series: vec![series], normalized: true }, bytes })
        })
    }

    async fn send(&self, part: &Part<WriteRawRequest>, deadline: Duration) -> Outcome {
        let answer = self.link.call(part.body.clone(), deadline, |transport, request| async {
            let mut client = ProfileStoreServiceClient::new(transport)
                .accept_compressed(CompressionEncoding::Gzip);
            client.write_raw(request).await
        });
        match answer.await {
            Ok(_) => Outcome::Delivered,
            Err(failed) => outcome(Rules::Servers, failed),
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
