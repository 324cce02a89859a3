//! A connection to a backend over gRPC: opened when it is needed, given up when it is silent or broken,
//! and opened anew then, with the addresses, certificates and credentials of that moment.

mod connector;
mod credentials;
mod tls;

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::RETRY_AFTER;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tower::ServiceExt as _;
use tower::util::MapResponse;

use super::config::Remote;
use super::environment::Environment;
use connector::Connector;
use credentials::{Secrets, fingerprint};

/// What the clients of services speak through.
pub(super) type Transport = MapResponse<Channel, fn(http::Response<Body>) -> http::Response<Body>>;

/// A connection to a backend.
pub(super) struct Link {
    endpoint: Endpoint,
    connector: Connector,
    /// Headers of every request.
    headers: MetadataMap,
    secrets: Option<Secrets>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Counts connections.
    generation: u64,
    /// What the files of TLS were when the connection was opened.
    files: u64,
    channel: Option<Channel>,
}

/// Why a request was not answered well.
#[derive(Debug)]
pub(super) enum Failed {
    /// It was not sent.
    NotSent(String),
    /// It was sent, and broke off, or there was no answer in time.
    Silence(String),
    /// The backend said so.
    Status(Box<Status>),
}

impl Link {
    /// # Errors
    /// Where the address is none, or a header cannot be one.
    pub(super) fn new(remote: &Remote, environment: &Environment) -> Result<Self, String> {
        let endpoint = Endpoint::from_shared(remote.url.clone())
            .map_err(|_| format!("url: {:?} is no address", remote.url))?
            .user_agent(concat!("profiler-agent/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| error.to_string())?;
        let uri = endpoint.uri();
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            return Err(format!("url: {:?} does not begin with http:// or https://", remote.url));
        }
        if !matches!(uri.path(), "" | "/") {
            return Err(format!(
                "url: {:?} has a path, and gRPC has a path of its own",
                remote.url
            ));
        }
        if remote.tls.cert.is_some() != remote.tls.key.is_some() {
            return Err("tls: cert and key belong together".to_owned());
        }
        Ok(Self {
            endpoint,
            connector: Connector::new(&remote.tls, Arc::clone(&environment.resolve)),
            headers: headers(&remote.headers, remote.tenant.as_deref())?,
            secrets: remote.credentials.clone().map(Secrets::new),
            state: Mutex::default(),
        })
    }

    /// Sends one request over the connection and waits at most `deadline`.
    pub(super) async fn call<M, R, F>(
        &self,
        message: M,
        deadline: Duration,
        send: impl FnOnce(Transport, Request<M>) -> F,
    ) -> Result<R, Failed>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let mut request = Request::new(message);
        *request.metadata_mut() = self.headers.clone();
        if let Some(secrets) = &self.secrets {
            let value = secrets.authorization().map_err(Failed::NotSent)?;
            request.metadata_mut().insert("authorization", value);
        }
        request.set_timeout(deadline);
        let (generation, channel) = self.channel();
        let transport: Transport = channel.map_response(keep_retry_after);
        match tokio::time::timeout(deadline, send(transport, request)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.failed(generation, status)),
            Err(_) => {
                self.discard(generation);
                Err(Failed::Silence(format!("no answer within {deadline:?}")))
            }
        }
    }

    /// A number that changes when credentials or certificates do.
    pub(super) fn credentials(&self) -> u64 {
        self.connector.files() ^ self.secrets.as_ref().map_or(0, |s| fingerprint([s.file()]))
    }

    /// The connection, with its number; a new one where there is none, or other certificates.
    fn channel(&self) -> (u64, Channel) {
        let files = self.connector.files();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.files != files {
            state.channel = None;
        }
        if let Some(channel) = &state.channel {
            return (state.generation, channel.clone());
        }
        let channel = self.endpoint.connect_with_connector_lazy(self.connector.clone());
        state.generation += 1;
        state.files = files;
        state.channel = Some(channel.clone());
        (state.generation, channel)
    }

    /// Gives up a connection, unless that has happened already.
    fn discard(&self, generation: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.generation == generation {
            state.channel = None;
        }
    }

    fn failed(&self, generation: u64, status: Status) -> Failed {
        if let Some(cause) = cause::<tonic::ConnectError>(&status) {
            self.discard(generation);
            return Failed::NotSent(with_causes(cause));
        }
        // What the server says has no source. What does broke off on the way.
        let broke_off = cause::<tonic::transport::Error>(&status).is_some()
            || cause::<hyper::Error>(&status).is_some();
        if broke_off || is_no_answer(&status) {
            self.discard(generation);
            let why = status.source().map_or_else(|| status.message().to_owned(), with_causes);
            return Failed::Silence(why);
        }
        Failed::Status(Box::new(status))
    }
}

/// Whether a status was made up here, since what came was no gRPC.
fn is_no_answer(status: &Status) -> bool {
    let made_up = matches!(status.code(), Code::Unknown | Code::Internal | Code::Cancelled);
    let message = status.message();
    made_up
        && (status.source().is_some()
            || message.starts_with("protocol error")
            || message.starts_with("grpc-status header missing")
            || message.starts_with("Missing response message")
            || message.starts_with("h2 protocol error"))
}

fn cause<E: Error + 'static>(status: &Status) -> Option<&E> {
    let mut next = status.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// An error with what caused it, in one line.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

fn headers(given: &BTreeMap<String, String>, tenant: Option<&str>) -> Result<MetadataMap, String> {
    let mut headers = MetadataMap::new();
    let tenant = tenant.map(|tenant| ("x-scope-orgid", tenant));
    let given = given.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in given.chain(tenant) {
        let key: AsciiMetadataKey =
            name.to_ascii_lowercase().parse().map_err(|_| format!("{name:?} is no header"))?;
        let value: AsciiMetadataValue =
            value.parse().map_err(|_| format!("the value of header {name} cannot be one"))?;
        headers.insert(key, value);
    }
    Ok(headers)
}

/// What stands between us and a backend may answer in its stead, in HTTP. Of such an answer gRPC keeps
/// nothing but a code, so it is made one of gRPC's own first, which keeps how long we should wait.
fn keep_retry_after(mut response: http::Response<Body>) -> http::Response<Body> {
    const GRPC_STATUS: &str = "grpc-status";
    let is_busy = matches!(response.status().as_u16(), 429 | 502 | 503 | 504);
    let headers = response.headers_mut();
    if is_busy && headers.contains_key(RETRY_AFTER) && !headers.contains_key(GRPC_STATUS) {
        let unavailable = http::HeaderValue::from(Code::Unavailable as i32);
        headers.insert(GRPC_STATUS, unavailable);
    }
    response
}
