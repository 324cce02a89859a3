//! What sinks share, and what tests replace: the clock, name resolution, room to work in.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::Semaphore;

/// The addresses of a host, or why there are none.
pub type Resolved<'a> = Pin<Box<dyn Future<Output = std::io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// Finds the addresses of a host. It is asked anew for each connection.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of `host`, to be tried in this order.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolved<'a>;
}

/// What all sinks of an agent share.
#[derive(Clone)]
pub struct Environment {
    /// Name of the host.
    pub host: String,
    /// Unix time, ns.
    pub now: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Finds hosts.
    pub resolve: Arc<dyn Resolve>,
    /// Windows that may be unpacked and split at once, for all sinks together: each takes some
    /// megabytes meanwhile.
    pub preparing: Arc<Semaphore>,
}

impl Environment {
    /// The host's own clock and resolver.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            now: Arc::new(unix_now),
            resolve: Arc::new(HostResolver),
            preparing: Arc::new(Semaphore::new(1)),
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("host", &self.host).finish_non_exhaustive()
    }
}

fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Asks the C library, on a thread for blocking work.
struct HostResolver;

impl Resolve for HostResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolved<'a> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}
