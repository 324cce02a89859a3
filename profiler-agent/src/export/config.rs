//! What a sink is told, as plain data.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// One sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkConfig {
    /// Its name among the sinks: in the store, in logs and in metrics.
    pub name: String,
    /// Which backend, and how it is reached.
    pub kind: SinkKind,
    /// Labels of every series, besides `service_name`. Names that a backend does not take are made
    /// fit: `k8s.pod` becomes `k8s_pod`.
    pub labels: BTreeMap<String, String>,
    /// Windows that ended longer ago are not shipped any more, but counted as refused.
    pub max_age: Duration,
}

/// A backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkKind {
    /// Pyroscope, `push.v1.PusherService/Push`.
    Pyroscope(Remote),
    /// Parca, `parca.profilestore.v1alpha1.ProfileStoreService/WriteRaw`.
    Parca(Remote),
    /// An OpenTelemetry Collector, or what else takes OTLP profiles (`v1development`) over gRPC.
    Otlp(Remote),
    /// A directory.
    Files(Files),
}

impl SinkKind {
    /// The word for it in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pyroscope(_) => "pyroscope",
            Self::Parca(_) => "parca",
            Self::Otlp(_) => "otlp",
            Self::Files(_) => "files",
        }
    }

    /// [`SinkConfig::max_age`] where nothing is said. Pyroscope refuses what is older than an hour.
    pub fn default_max_age(&self) -> Duration {
        const HOUR: u64 = 3600;
        match self {
            Self::Pyroscope(_) => Duration::from_secs(HOUR),
            Self::Parca(_) | Self::Otlp(_) | Self::Files(_) => Duration::from_secs(24 * HOUR),
        }
    }

    /// [`Remote::in_flight`] where nothing is said. Each push to Pyroscope waits for a flush of half a
    /// second, so many have to wait at once.
    pub fn default_in_flight(&self) -> usize {
        match self {
            Self::Pyroscope(_) => 32,
            Self::Parca(_) | Self::Otlp(_) | Self::Files(_) => 4,
        }
    }
}

/// A backend that is reached by gRPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// `http://host:port` (HTTP/2 without TLS) or `https://host:port`.
    pub url: String,
    /// Tenant, sent as `X-Scope-OrgID`.
    pub tenant: Option<String>,
    /// Further headers of each request.
    pub headers: BTreeMap<String, String>,
    /// Who we are, for the backend.
    pub credentials: Option<Credentials>,
    /// For `https://`.
    pub tls: Tls,
    /// Whether profiles are packed with gzip on their way.
    pub compression: bool,
    /// How long one request may take. A backend that used to be quicker gets less.
    pub timeout: Duration,
    /// Most requests at once.
    pub in_flight: usize,
}

impl Remote {
    /// [`Self::timeout`] where nothing is said.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

    /// A backend with nothing said but its address.
    pub fn new(url: impl Into<String>, in_flight: usize) -> Self {
        Self {
            url: url.into(),
            tenant: None,
            headers: BTreeMap::new(),
            credentials: None,
            tls: Tls::default(),
            compression: true,
            timeout: Self::DEFAULT_TIMEOUT,
            in_flight,
        }
    }
}

/// Credentials. The files are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// `authorization: Bearer …`.
    Bearer {
        /// Holds the token; white space around it does not count.
        token_file: PathBuf,
    },
    /// `authorization: Basic …`.
    Basic {
        /// Name of the user.
        username: String,
        /// Holds the password; a line break at its end does not count.
        password_file: PathBuf,
    },
}

/// TLS beyond the defaults. The files are read again when they change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates (PEM) of authorities to trust instead of those of the host.
    pub ca: Option<PathBuf>,
    /// Our own certificate chain (PEM), where the backend asks for one.
    pub cert: Option<PathBuf>,
    /// Its private key (PEM).
    pub key: Option<PathBuf>,
    /// The name that the backend's certificate has to bear, where it is not the host of the URL.
    pub server_name: Option<String>,
}

/// A directory of `.pb.gz` files, one for each window, the oldest deleted when it grows too large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The directory; it is made when it is missing.
    pub path: PathBuf,
    /// Most bytes of all files together.
    pub max_bytes: u64,
    /// Most files.
    pub max_files: usize,
}

impl Files {
    /// [`Self::max_bytes`] where nothing is said.
    pub const DEFAULT_MAX_BYTES: u64 = 1 << 30;
    /// [`Self::max_files`] where nothing is said: a day of windows of 10 s.
    pub const DEFAULT_MAX_FILES: usize = 8640;
}
