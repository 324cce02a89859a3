//! Takes connections and serves each in a task of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::access::{Door, Token};
use super::answers::Answers;
use super::config::{Config, StartError};
use super::counts::{Counts, Refused};
use super::gate::App;
use super::listen::{self, Socket};
use super::paced::Paced;
use super::{routes, tls};

/// How long requests may still take when the server stops.
const ENDING: Duration = Duration::from_secs(1);

/// After a connection could not be taken, mostly for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// What a connection gets that is one too many.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
    content-type: text/plain\r\ncontent-length: 21\r\nconnection: close\r\n\r\ntoo many connections\n";

/// So long a connection that is turned away may take to hear it, and so many may be at it at once.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELLS: usize = 64;

/// The endpoint, open and not yet served.
pub struct Server {
    app: Arc<App>,
    socket: Option<Socket>,
    tcp: Option<Tcp>,
}

struct Tcp {
    listener: TcpListener,
    door: Door,
    tls: Option<Arc<ServerConfig>>,
}

/// What the tasks of one server share.
#[derive(Clone)]
struct Shared {
    app: Arc<App>,
    places: Arc<Semaphore>,
    farewells: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Server {
    /// Opens what the configuration says: from then on clients can connect, and wait.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn open(
        config: &Config,
        answers: Arc<dyn Answers>,
        counts: Arc<Counts>,
    ) -> Result<Self, StartError> {
        config.check()?;
        let socket = config.socket.as_deref().map(Socket::open).transpose()?;
        let tcp = match config.listen {
            None => None,
            Some(address) => Some(Tcp {
                tls: config.tls.as_ref().map(tls::server).transpose()?,
                door: match &config.token_file {
                    Some(path) => Door::Token(Arc::new(Token::open(path)?)),
                    None => Door::Loopback,
                },
                listener: listen::tcp(address).await?,
            }),
        };
        let app = Arc::new(App::new(answers, counts, config.limits.clone()));
        Ok(Self { app, socket, tcp })
    }

    /// The TCP address, with the port that the kernel chose where none was given.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|tcp| tcp.listener.local_addr().ok())
    }

    /// Serves until told to stop; then requests that are being answered have a second.
    pub async fn serve(self, stop: CancellationToken) {
        let shared = Shared {
            places: Arc::new(Semaphore::new(self.app.limits.connections)),
            farewells: Arc::new(Semaphore::new(FAREWELLS)),
            app: self.app,
            stop: stop.clone(),
        };
        let socket = async {
            match self.socket {
                Some(socket) => take_local(&socket, &shared).await,
                None => stop.cancelled().await,
            }
        };
        let tcp = async {
            match self.tcp {
                Some(tcp) => take_tcp(tcp, &shared).await,
                None => stop.cancelled().await,
            }
        };
        tokio::join!(socket, tcp);
        // Each connection gives its place back when it ends.
        let all = u32::try_from(shared.app.limits.connections).unwrap_or(u32::MAX);
        let _ended = timeout(ENDING, shared.places.acquire_many(all)).await;
    }
}

async fn take_local(socket: &Socket, shared: &Shared) {
    let router = routes::router(&shared.app, Door::Socket);
    loop {
        let taken = tokio::select! {
            () = shared.stop.cancelled() => return,
            taken = socket.listener.accept() => taken,
        };
        let stream = match taken {
            Ok((stream, _)) => stream,
            Err(error) => {
                cannot_take(&error).await;
                continue;
            }
        };
        if !listen::is_of_us(&stream) {
            shared.app.counts.refuse(Refused::Stranger);
            continue;
        }
        let Some(place) = shared.place() else {
            shared.turn_away(stream);
            continue;
        };
        Shared::spawn(place, serve(stream, router.clone(), shared.clone()));
    }
}

async fn take_tcp(tcp: Tcp, shared: &Shared) {
    let router = routes::router(&shared.app, tcp.door);
    let acceptor = tcp.tls.map(TlsAcceptor::from);
    loop {
        let taken = tokio::select! {
            () = shared.stop.cancelled() => return,
            taken = tcp.listener.accept() => taken,
        };
        let stream = match taken {
            Ok((stream, _)) => stream,
            Err(error) => {
                cannot_take(&error).await;
                continue;
            }
        };
        let Some(place) = shared.place() else {
            // Without TLS it can be told; with TLS that would be one more handshake.
            if acceptor.is_none() {
                shared.turn_away(stream);
            }
            continue;
        };
        let (router, shaken) = (router.clone(), shared.clone());
        match acceptor.clone() {
            None => Shared::spawn(place, serve(stream, router, shaken)),
            Some(acceptor) => Shared::spawn(place, async move {
                let within = shaken.app.limits.request;
                match timeout(within, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => serve(stream, router, shaken).await,
                    Ok(Err(_)) => shaken.app.counts.refuse(Refused::Tls),
                    Err(_) => shaken.app.counts.refuse(Refused::Slow),
                }
            }),
        }
    }
}

async fn cannot_take(error: &std::io::Error) {
    tracing::warn!("cannot take a connection: {error}");
    sleep(PAUSE).await;
}

async fn serve<S>(stream: S, router: Router, shared: Shared)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Shared { app, stop, .. } = shared;
    let stream = Paced::new(stream, &app.limits, Arc::clone(&app.counts));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(app.limits.request)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match timeout(ENDING, connection).await {
                Ok(served) => served,
                Err(_) => return,
            }
        }
    };
    if served.is_err_and(|error| error.is_timeout()) {
        app.counts.refuse(Refused::Slow);
    }
}

impl Shared {
    /// A place for a connection, or `None` where all are taken.
    fn place(&self) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        if place.is_none() {
            self.app.counts.refuse(Refused::Connections);
        }
        place
    }

    /// Tells a connection that it is one too many, if not too many are being told so.
    fn turn_away(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        if let Ok(place) = Arc::clone(&self.farewells).try_acquire_owned() {
            Self::spawn(place, async move {
                // Whoever does not listen hears nothing.
                let _told = timeout(FAREWELL, say_farewell(stream)).await;
            });
        }
    }

    fn spawn(place: OwnedSemaphorePermit, work: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(async move {
            work.await;
            drop(place);
        });
    }
}

/// Answers without looking at the request. It is read all the same: closed with something unread, the
/// connection would be reset, and the answer perhaps lost.
async fn say_farewell(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    stream.write_all(TOO_MANY).await?;
    stream.shutdown().await?;
    while stream.read(&mut [0; 1024]).await? > 0 {}
    Ok(())
}
