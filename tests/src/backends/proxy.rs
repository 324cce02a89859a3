//! A network that fails: a proxy of TCP between agent and server, and one that speaks TLS to the agent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// What the network does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weather {
    /// It passes everything on.
    #[default]
    Fair,
    /// Nobody listens.
    Refused,
    /// Connections are taken, and nothing ever comes back.
    Silent,
    /// Connections are reset when so many bytes have come from the agent.
    Reset(usize),
    /// One byte a second.
    Trickle,
    /// Everything takes 150 ms longer, and every tenth piece a second, as when it had been lost and
    /// was sent again.
    Lossy,
    /// Something answers that is no server of ours.
    WrongAnswers,
}

/// A proxy. Each change of the weather cuts the connections that there are.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    weather: watch::Sender<Weather>,
}

impl Proxy {
    /// Starts one before a server.
    ///
    /// # Errors
    /// Where there is no port.
    pub async fn start(server: SocketAddr) -> Result<Self> {
        let listener = listen("127.0.0.1:0".parse()?)?;
        let address = listener.local_addr()?;
        let (weather, forecast) = watch::channel(Weather::Fair);
        tokio::spawn(run(listener, address, server, forecast));
        Ok(Self { address, weather })
    }

    /// From now on.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(64)
}

async fn run(
    listener: TcpListener,
    address: SocketAddr,
    server: SocketAddr,
    mut forecast: watch::Receiver<Weather>,
) {
    let mut listener = Some(listener);
    loop {
        let weather = *forecast.borrow_and_update();
        if weather == Weather::Refused {
            listener = None;
        } else if listener.is_none() {
            listener = listen(address).ok();
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Ok((agent, _)) = accepted => {
                let mut forecast = forecast.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = pass(agent, server, weather) => {}
                        _ = forecast.changed() => {}
                    }
                });
            }
            changed = forecast.changed() => if changed.is_err() { return },
            // The port may not be free again at once.
            () = tokio::time::sleep(Duration::from_millis(50)), if listener.is_none() => {}
        }
    }
}

async fn pass(mut agent: TcpStream, server: SocketAddr, weather: Weather) -> std::io::Result<()> {
    match weather {
        Weather::Silent => return std::future::pending().await,
        Weather::WrongAnswers => {
            let mut greeting = [0; 24];
            agent.read_exact(&mut greeting).await?;
            agent.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await?;
            return agent.shutdown().await;
        }
        Weather::Reset(_) => agent.set_zero_linger()?,
        Weather::Fair | Weather::Refused | Weather::Trickle | Weather::Lossy => {}
    }
    let mut server = TcpStream::connect(server).await?;
    let (mut from_agent, mut to_agent) = agent.split();
    let (mut from_server, mut to_server) = server.split();
    tokio::select! {
        done = copy(&mut from_agent, &mut to_server, weather) => done,
        done = copy(&mut from_server, &mut to_agent, weather) => done,
    }
}

/// Copies until one end is gone, or the weather says so.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    weather: Weather,
) -> std::io::Result<()> {
    let mut buffer = vec![0; if weather == Weather::Trickle { 1 } else { 16 << 10 }];
    let mut total = 0;
    for piece in 1.. {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            break;
        }
        match weather {
            Weather::Trickle => tokio::time::sleep(Duration::from_secs(1)).await,
            Weather::Lossy if piece % 10 == 0 => tokio::time::sleep(Duration::from_secs(1)).await,
            Weather::Lossy => tokio::time::sleep(Duration::from_millis(150)).await,
            Weather::Reset(limit) if total + read >= limit => break,
            _ => {}
        }
        total += read;
        to.write_all(buffer.get(..read).unwrap_or_default()).await?;
    }
    Ok(())
}

/// Speaks TLS to the agent, and plainly to the server.
pub struct TlsFront {
    /// Where it listens.
    pub address: SocketAddr,
    config: Arc<Mutex<Arc<ServerConfig>>>,
}

impl TlsFront {
    /// Starts one before a server.
    ///
    /// # Errors
    /// Where there is no port.
    pub async fn start(server: SocketAddr, config: ServerConfig) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let config = Arc::new(Mutex::new(Arc::new(config)));
        let current = Arc::clone(&config);
        tokio::spawn(async move {
            while let Ok((agent, _)) = listener.accept().await {
                let config = Arc::clone(&current.lock().unwrap_or_else(PoisonError::into_inner));
                tokio::spawn(async move {
                    let mut agent = TlsAcceptor::from(config).accept(agent).await?;
                    let mut server = TcpStream::connect(server).await?;
                    tokio::io::copy_bidirectional(&mut agent, &mut server).await
                });
            }
        });
        Ok(Self { address, config })
    }

    /// Other certificates, for new connections.
    pub fn set(&self, config: ServerConfig) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }
}
