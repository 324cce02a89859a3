//! Pyroscope: each push waits for a flush; labels and times de-duplicate; zeros vanish; labels on samples
//! would split the series.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use profiler_proto::pprof;
use profiler_proto::wire::push::v1::pusher_service_server::{PusherService, PusherServiceServer};
use profiler_proto::wire::push::v1::{PushRequest, PushResponse, RawProfileSeries};
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use super::moods::Moods;
use super::{Ledger, Received, is_packed, serve};

/// A push returns with the next flush.
const FLUSH: Duration = Duration::from_millis(500);

/// Its limits.
const MAX_LABELS: usize = 30;
const MAX_VALUE: usize = 2048;
const MAX_SAMPLES: usize = 16_000;
const MAX_BYTES: usize = 1_900_000;

/// Unix time, ns.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// A server.
#[derive(Clone)]
pub struct Pyroscope {
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
    now: Clock,
    begun: tokio::time::Instant,
    tenants: bool,
}

impl Pyroscope {
    /// Starts a server with this clock. With `tenants`, each request must name one.
    ///
    /// # Errors
    /// Where there is no port.
    pub async fn start(now: Clock, tenants: bool) -> Result<Self> {
        let (ledger, moods) = (Arc::<Ledger>::default(), Arc::<Moods>::default());
        let service = Service {
            ledger: Arc::clone(&ledger),
            moods: Arc::clone(&moods),
            now,
            begun: tokio::time::Instant::now(),
            tenants,
        };
        let service = PusherServiceServer::new(service)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
        let address = serve(Routes::new(service)).await?;
        Ok(Self { address, ledger, moods })
    }

    /// What is left after compaction: of equal labels and times, one. Two that differ in content are
    /// a violation, since one of them would be lost.
    pub fn compacted(&self) -> Vec<Received> {
        let mut kept: Vec<Received> = Vec::new();
        let mut by_identity = HashMap::new();
        for received in self.ledger.received() {
            match by_identity.get(&received.identity()) {
                None => {
                    by_identity.insert(received.identity(), kept.len());
                    kept.push(received);
                }
                Some(first) => {
                    if kept.get(*first).is_none_or(|first| first.profile != received.profile) {
                        self.ledger.complain("two profiles of equal labels and time differ");
                    }
                }
            }
        }
        kept
    }
}

#[tonic::async_trait]
impl PusherService for Service {
    async fn push(&self, request: Request<PushRequest>) -> Result<Response<PushResponse>, Status> {
        let _under_way = self.ledger.began(request.metadata());
        self.moods.before().await?;
        if self.tenants && request.metadata().get("x-scope-orgid").is_none() {
            return Err(Status::unauthenticated("no org id"));
        }
        let request = request.into_inner();
        let [series] = request.series.as_slice() else {
            let what = format!("{} series in one request", request.series.len());
            return Err(Status::invalid_argument(self.ledger.complain(what)));
        };
        let received = self
            .check(series)
            .map_err(|what| Status::invalid_argument(self.ledger.complain(what)))?;
        // The next flush; all that wait for it return at once.
        let since = self.begun.elapsed().as_millis() % FLUSH.as_millis();
        let left = FLUSH.as_millis() - since;
        tokio::time::sleep(Duration::from_millis(u64::try_from(left).unwrap_or(0))).await;
        self.ledger.take(received);
        self.moods.after().await;
        Ok(Response::new(PushResponse {}))
    }
}

impl Service {
    fn check(&self, series: &RawProfileSeries) -> Result<Received, String> {
        let pairs = series.labels.iter().map(|l| (l.name.as_str(), l.value.as_str()));
        let labels = check_labels(pairs)?;
        let [sample] = series.samples.as_slice() else {
            return Err(format!("{} profiles in one series", series.samples.len()));
        };
        let profile = pprof::decode(&sample.raw_profile).map_err(|e| e.to_string())?;
        check_profile(&profile)?;
        let bytes = pprof::encode(&profile).len();
        if bytes > MAX_BYTES {
            return Err(format!("{bytes} bytes"));
        }
        if profile.sample.len() > MAX_SAMPLES {
            return Err(format!("{} samples", profile.sample.len()));
        }
        let age = i128::from((self.now)()) - i128::from(profile.time_nanos);
        let minute = 60_000_000_000;
        if !(-10 * minute..=60 * minute).contains(&age) {
            return Err(format!("a profile that is {age} ns old"));
        }
        Ok(Received { labels, profile, packed: is_packed(&sample.raw_profile) })
    }
}

/// Labels of a series, as Pyroscope and Parca show them well.
pub(super) fn check_labels<'a>(
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<BTreeMap<String, String>, String> {
    let mut labels = BTreeMap::new();
    for (name, value) in pairs {
        let is_fit = !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_fit || name.is_empty() || value.is_empty() || value.len() > MAX_VALUE {
            return Err(format!("the label {name:?}={value:?}"));
        }
        if labels.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(format!("the label {name} twice"));
        }
    }
    if labels.len() > MAX_LABELS {
        return Err(format!("{} labels", labels.len()));
    }
    for due in ["__name__", "service_name"] {
        if !labels.contains_key(due) {
            return Err(format!("no label {due}"));
        }
    }
    Ok(labels)
}

/// What every backend wants of a profile.
pub(super) fn check_profile(profile: &pprof::Profile) -> Result<(), String> {
    if let Err(violations) = pprof::validate(profile) {
        let first = violations.first().map(ToString::to_string).unwrap_or_default();
        return Err(format!("{} violations, {first}", violations.len()));
    }
    if profile.sample_type.len() != 1 {
        return Err(format!("{} sample types", profile.sample_type.len()));
    }
    if profile.sample.iter().any(|sample| !sample.label.is_empty()) {
        return Err("labels on samples".to_owned());
    }
    if profile.sample.is_empty() {
        return Err("no sample".to_owned());
    }
    Ok(())
}
