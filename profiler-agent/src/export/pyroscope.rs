//! Pyroscope: one series in each request, many requests at once, since each waits for a flush.

use std::time::Duration;

use profiler_proto::wire::push::v1::pusher_service_client::PusherServiceClient;
use profiler_proto::wire::push::v1::{PushRequest, RawProfileSeries, RawSample};
use profiler_proto::wire::types::v1::LabelPair;
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

/// A frame without a line is dropped from its flame graphs, so each keeps the name of its place.
const OPTIONS: Options = Options { cpu_as_samples: false, comments: true, bare_addresses: false };

/// The backend.
pub(super) struct Pyroscope {
    remote: Remote,
    link: Link,
    labels: Labels,
}

impl Pyroscope {
    pub(super) fn new(
        remote: &Remote,
        labels: Labels,
        environment: &Environment,
    ) -> Result<Self, String> {
        let link = Link::new(remote, environment)?;
        Ok(Self { remote: remote.clone(), link, labels })
    }
}

impl Backend for Pyroscope {
    type Part = PushRequest;

    fn prepare(&self, window: &Finished) -> Result<Prepared<PushRequest>, String> {
        let mut packer = Packer::new(self.remote.compression);
        grpc::prepare(window, OPTIONS, |series, profile| {
            let raw_profile = packer.pack(profile)?;
            let bytes = raw_profile.len();
            // It makes nothing unique there, but a log can be searched for it.
            let id = format!("{}-{}", window.start_unix_ns, profile.time_nanos);
            let labels = self.labels.of_series(&series.service, series.kind);
            let labels = labels.into_iter().map(|(name, value)| LabelPair { name, value });
            let series = RawProfileSeries {
                labels: labels.collect(),
                samples: vec![RawSample { raw_profile: raw_profile.into(), id }],
            };
            Some(Part { body: PushRequest { series: vec![series] }, bytes })
        })
    }

    async fn send(&self, part: &Part<PushRequest>, deadline: Duration) -> Outcome {
        let answer = self.link.call(part.body.clone(), deadline, |transport, request| async {
            // It answers packed wherever we could read that, whatever we send.
            let mut client =
                PusherServiceClient::new(transport).accept_compressed(CompressionEncoding::Gzip);
            client.push(request).await
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
