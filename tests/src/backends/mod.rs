//! Backends that take profiles, as strict as the real ones are, over real sockets.
//!
//! - [`pyroscope`], [`parca`], [`otlp`]: what each refuses, delays, drops and de-duplicates was found by
//!   trying the real server. Whatever one of them would refuse, misunderstand or die of is written down
//!   as a violation.
//! - [`collector`]: a real OpenTelemetry Collector.
//! - [`moods`]: what a server can be told to do instead of its work.
//! - [`proxy`]: a network between agent and server that fails in every way, and TLS.
//! - [`windows`]: windows that are known stack by stack.

pub mod collector;
pub mod moods;
pub mod otlp;
pub mod parca;
pub mod proxy;
pub mod pyroscope;
pub mod windows;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use profiler_proto::pprof::Profile;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;

/// A profile that a server took.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// Labels of its series, or attributes of its resource.
    pub labels: BTreeMap<String, String>,
    /// The profile, as pprof.
    pub profile: Profile,
    /// Whether it was packed on its way.
    pub packed: bool,
}

/// Whether bytes are gzip's.
fn is_packed(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

impl Received {
    /// The service that it is of.
    pub fn service(&self) -> &str {
        let name = self.labels.get("service_name").or_else(|| self.labels.get("service.name"));
        name.map_or("", String::as_str)
    }

    /// By what a server would take it for another: labels, type and time.
    pub fn identity(&self) -> (BTreeMap<String, String>, String, i64) {
        let sample_type = self.profile.sample_type.first();
        let name = sample_type.and_then(|t| usize::try_from(t.ty).ok());
        let name = name.and_then(|n| self.profile.string_table.get(n)).cloned();
        (self.labels.clone(), name.unwrap_or_default(), self.profile.time_nanos)
    }
}

/// What a server has taken, and what it did not like.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    received: Vec<Received>,
    violations: Vec<String>,
    headers: Vec<MetadataMap>,
    under_way: usize,
    most_under_way: usize,
}

/// A request that is under way until this is dropped.
#[derive(Debug)]
pub struct UnderWay<'a>(&'a Ledger);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.book().under_way -= 1;
    }
}

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that was taken, in the order of its coming.
    pub fn received(&self) -> Vec<Received> {
        self.book().received.clone()
    }

    /// Forgets what was taken, and says how much that was: for those who let a server run for hours.
    pub fn forget(&self) -> usize {
        std::mem::take(&mut self.book().received).len()
    }

    /// How many profiles were taken.
    pub fn len(&self) -> usize {
        self.book().received.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What no agent of ours may do.
    pub fn violations(&self) -> Vec<String> {
        self.book().violations.clone()
    }

    /// A request has come with these headers.
    pub fn began(&self, headers: &MetadataMap) -> UnderWay<'_> {
        let mut book = self.book();
        book.headers.push(headers.clone());
        book.under_way += 1;
        book.most_under_way = book.most_under_way.max(book.under_way);
        UnderWay(self)
    }

    /// The headers of all requests, in the order of their coming.
    pub fn headers(&self) -> Vec<MetadataMap> {
        self.book().headers.clone()
    }

    /// How many requests were under way at once, at most.
    pub fn most_under_way(&self) -> usize {
        self.book().most_under_way
    }

    /// Takes a profile.
    pub fn take(&self, received: Received) {
        self.book().received.push(received);
    }

    /// Writes down what was wrong, and hands it back.
    pub fn complain(&self, what: impl Into<String>) -> String {
        let what = what.into();
        self.book().violations.push(what.clone());
        what
    }
}

/// Serves until the runtime ends; the address.
pub async fn serve(routes: Routes) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let incoming = TcpListenerStream::new(listener);
    let router = tonic::transport::Server::builder().add_routes(routes);
    tokio::spawn(router.serve_with_incoming(incoming));
    Ok(address)
}
