//! Opens a connection: finds the addresses of the host, tries them in turn, and agrees on TLS.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::codegen::{BoxFuture, Service};
use tonic::transport::Uri;

use super::tls;
use crate::export::config::Tls;
use crate::export::environment::Resolve;

/// All of it takes no longer: a try with a new address is better then.
const LONGEST: Duration = Duration::from_secs(3);

/// Either kind of stream.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Opens connections, each with what holds at its moment.
#[derive(Clone)]
pub(super) struct Connector {
    tls: Arc<Tls>,
    resolve: Arc<dyn Resolve>,
}

impl Connector {
    pub(super) fn new(tls: &Tls, resolve: Arc<dyn Resolve>) -> Self {
        Self { tls: Arc::new(tls.clone()), resolve }
    }

    /// A number that changes when the files of TLS do.
    pub(super) fn files(&self) -> u64 {
        tls::fingerprint(&self.tls)
    }

    async fn connect(self, uri: Uri) -> io::Result<TokioIo<Box<dyn Stream>>> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let is_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let opening = async {
            let stream = self.connect_to(&host, port).await?;
            stream.set_nodelay(true)?;
            if !is_tls {
                return Ok(TokioIo::new(Box::new(stream) as Box<dyn Stream>));
            }
            let config = tls::client(&self.tls).await?;
            let name = self.tls.server_name.clone().unwrap_or_else(|| host.clone());
            let name = ServerName::try_from(name).map_err(io::Error::other)?;
            let stream = TlsConnector::from(config).connect(name, stream).await?;
            Ok(TokioIo::new(Box::new(stream) as Box<dyn Stream>))
        };
        match tokio::time::timeout(LONGEST, opening).await {
            Ok(opened) => opened.map_err(|e| named(&e, &host, port)),
            Err(_) => Err(named(&io::Error::from(io::ErrorKind::TimedOut), &host, port)),
        }
    }

    async fn connect_to(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in self.resolve.resolve(host, port).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

fn named(error: &io::Error, host: &str, port: u16) -> io::Error {
    io::Error::new(error.kind(), format!("cannot connect to {host}:{port}: {error}"))
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = io::Error;
    type Future = BoxFuture<Self::Response, io::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}
