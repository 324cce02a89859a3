//! Parca: does not de-duplicate, and dies of what is malformed.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use profiler_proto::pprof;
use profiler_proto::wire::parca::profilestore::v1alpha1::profile_store_service_server::{
    ProfileStoreService, ProfileStoreServiceServer,
};
use profiler_proto::wire::parca::profilestore::v1alpha1::{
    RawProfileSeries, WriteRawRequest, WriteRawResponse,
};
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use super::moods::Moods;
use super::pyroscope::{check_labels, check_profile};
use super::{Ledger, Received, is_packed, serve};

/// A server.
#[derive(Clone)]
pub struct Parca {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it took.
    pub ledger: Arc<Ledger>,
    /// What it does instead.
    pub moods: Arc<Moods>,
}

struct Service {
    ledger: Arc<Ledger>,
    moods: Arc<Moods>,
}

impl Parca {
    /// Starts a server.
    ///
    /// # Errors
    /// Where there is no port.
    pub async fn start() -> Result<Self> {
        let (ledger, moods) = (Arc::<Ledger>::default(), Arc::<Moods>::default());
        let service = Service { ledger: Arc::clone(&ledger), moods: Arc::clone(&moods) };
        let service = ProfileStoreServiceServer::new(service)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
        let address = serve(Routes::new(service)).await?;
        Ok(Self { address, ledger, moods })
    }
}

#[tonic::async_trait]
impl ProfileStoreService for Service {
    async fn write_raw(
        &self,
        request: Request<WriteRawRequest>,
    ) -> Result<Response<WriteRawResponse>, Status> {
        let _under_way = self.ledger.began(request.metadata());
        self.moods.before().await?;
        let request = request.into_inner();
        if request.series.is_empty() {
            return Err(Status::invalid_argument(self.ledger.complain("no series")));
        }
        for series in &request.series {
            for received in self.check(series)? {
                self.ledger.take(received);
            }
        }
        self.moods.after().await;
        Ok(Response::new(WriteRawResponse {}))
    }
}

impl Service {
    /// What kills the real server is a violation here, and the connection of this one.
    fn check(&self, series: &RawProfileSeries) -> Result<Vec<Received>, Status> {
        let Some(labels) = &series.labels else {
            return Err(Status::unavailable(self.ledger.complain("a series without labels")));
        };
        let pairs = labels.labels.iter().map(|l| (l.name.as_str(), l.value.as_str()));
        let labels = check_labels(pairs)
            .map_err(|what| Status::invalid_argument(self.ledger.complain(what)))?;
        let mut all = Vec::new();
        for sample in &series.samples {
            let profile = pprof::decode(&sample.raw_profile)
                .map_err(|e| Status::unknown(self.ledger.complain(e.to_string())))?;
            check_profile(&profile)
                .map_err(|what| Status::unavailable(self.ledger.complain(what)))?;
            let infos = sample.executable_info.len();
            if infos != 0 && infos != profile.mapping.len() {
                let what = format!("{infos} executables for {} mappings", profile.mapping.len());
                return Err(Status::invalid_argument(self.ledger.complain(what)));
            }
            let packed = is_packed(&sample.raw_profile);
            all.push(Received { labels: labels.clone(), profile, packed });
        }
        Ok(all)
    }
}
