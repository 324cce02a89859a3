//! The endpoint over real sockets, with an agent behind it that answers as the tests want.

mod bounds;
mod fake;
mod paths;
mod pprof;
mod stopping;
mod tls;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::fake::Fake;
use super::{Config, Counts, Refused, Server, client::Client};

/// How long a test waits for what must come.
const SOON: Duration = Duration::from_secs(30);

/// An endpoint that is being served.
struct Endpoint {
    directory: TempDir,
    agent: Arc<Fake>,
    counts: Arc<Counts>,
    address: Option<std::net::SocketAddr>,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

impl Endpoint {
    /// Serves a Unix socket, and what else the configuration says.
    async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = Some(directory.path().join("agent.sock"));
        let mut config = Config { socket, ..Config::default() };
        change(&mut config);
        let agent = Arc::new(Fake::default());
        let counts = Arc::new(Counts::default());
        let server = Server::open(&config, agent.clone(), counts.clone()).await.unwrap();
        let address = server.tcp_address();
        let stop = CancellationToken::new();
        let served = tokio::spawn(server.serve(stop.clone()));
        Self { directory, agent, counts, address, stop, served }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("agent.sock")
    }

    fn client(&self) -> Client {
        Client::new(&self.socket())
    }

    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.address.unwrap()).await.unwrap()
    }

    /// The whole answer to a request over TCP, as text.
    async fn exchange(&self, request: &str) -> String {
        let mut stream = self.tcp().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let reading = stream.read_to_string(&mut answer);
        tokio::time::timeout(SOON, reading).await.unwrap().unwrap();
        answer
    }

    /// Waits until so many were turned away.
    async fn refused(&self, why: Refused, count: u64) {
        until(|| self.counts.refused(why) >= count).await;
    }
}

fn loopback(config: &mut Config) {
    config.listen = Some("127.0.0.1:0".parse().unwrap());
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
}

async fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "it did not come to pass");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
