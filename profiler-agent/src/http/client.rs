//! Speaks to a running agent through its Unix socket: what `query`, `top` and `burst` use.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::parameters::encode;

/// Where an agent listens when nothing else is said.
pub const DEFAULT_SOCKET: &str = "/run/profiler-agent/agent.sock";

/// Largest answer that is read, in bytes: as much as a profile may unpack to.
const LARGEST_ANSWER: usize = 512 << 20;

/// Why an agent did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No agent listens there.
    #[error(
        "no agent listens at {}: start one with `profiler-agent run`, or name its socket with --socket",
        socket.display()
    )]
    NoAgent {
        /// The socket.
        socket: PathBuf,
        /// Why it could not be opened.
        #[source]
        source: io::Error,
    },
    /// The socket belongs to another user.
    #[error("the socket {} belongs to root: use sudo", socket.display())]
    NotAllowed {
        /// The socket.
        socket: PathBuf,
    },
    /// The connection broke.
    #[error("the agent at {} broke off: {why}", socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// How.
        why: String,
    },
    /// No answer within the time.
    #[error("the agent did not answer within {} s", after.as_secs())]
    TooLong {
        /// The time.
        after: Duration,
    },
    /// The agent said no, and why.
    #[error("{text}")]
    Refused {
        /// The status of the answer.
        status: StatusCode,
        /// What it said.
        text: String,
    },
}

/// A way to one agent. Each question is a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// The agent that listens at a socket.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_path_buf() }
    }

    /// Gets a document. `parameters` are names and values as they are, not yet encoded.
    ///
    /// # Errors
    /// See [`ClientError`]; an answer that is not a success is [`ClientError::Refused`].
    pub async fn get(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
        within: Duration,
    ) -> Result<Bytes, ClientError> {
        self.ask(Method::GET, path, parameters, within).await
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn post(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
        within: Duration,
    ) -> Result<Bytes, ClientError> {
        self.ask(Method::POST, path, parameters, within).await
    }

    /// [`Self::get`] for a command that has no runtime of its own.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn get_blocking(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
        within: Duration,
    ) -> Result<Bytes, ClientError> {
        self.block_on(self.ask(Method::GET, path, parameters, within))
    }

    /// [`Self::post`] for a command that has no runtime of its own.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn post_blocking(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
        within: Duration,
    ) -> Result<Bytes, ClientError> {
        self.block_on(self.ask(Method::POST, path, parameters, within))
    }

    fn block_on<T>(
        &self,
        asking: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| self.broken(&error))?.block_on(asking)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        parameters: &[(&str, &str)],
        within: Duration,
    ) -> Result<Bytes, ClientError> {
        let (status, body) = tokio::time::timeout(within, self.exchange(method, path, parameters))
            .await
            .map_err(|_| ClientError::TooLong { after: within })??;
        if status.is_success() {
            return Ok(body);
        }
        let text = String::from_utf8_lossy(&body).trim_end().to_owned();
        let text = if text.is_empty() { status.to_string() } else { text };
        Err(ClientError::Refused { status, text })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let stream =
            UnixStream::connect(&self.socket).await.map_err(|error| self.no_agent(error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(&error))?;
        let request = Request::builder()
            .method(method)
            .uri(encode(path, parameters))
            .header(header::HOST, "localhost")
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| self.broken(&error))?;
        let exchange = async {
            let response =
                sender.send_request(request).await.map_err(|error| self.broken(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
            let body = body.map_err(|error| self.broken(error.as_ref()))?;
            Ok((status, body.to_bytes()))
        };
        // The connection must be driven until the answer is there; that it ends is no error of its own.
        let driven = async {
            let _ended = connection.await;
            std::future::pending::<()>().await
        };
        tokio::select! {
            answer = exchange => answer,
            () = driven => Err(ClientError::Broken { socket: self.socket.clone(), why: String::new() }),
        }
    }

    fn no_agent(&self, source: io::Error) -> ClientError {
        let socket = self.socket.clone();
        if source.kind() == io::ErrorKind::PermissionDenied {
            return ClientError::NotAllowed { socket };
        }
        ClientError::NoAgent { socket, source }
    }

    fn broken(&self, error: &(dyn std::error::Error + 'static)) -> ClientError {
        ClientError::Broken { socket: self.socket.clone(), why: error.to_string() }
    }
}
