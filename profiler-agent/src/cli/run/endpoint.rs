//! What listens: the Unix socket, and TCP where it is configured.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::http::{Answers, Config, Counts, Server};

/// So long what is being answered may take when the agent ends.
const ENDING: Duration = Duration::from_secs(2);

/// The endpoint, served.
pub(super) struct Endpoint {
    stop: CancellationToken,
    served: JoinHandle<()>,
}

impl Endpoint {
    /// Opens and serves what the settings say.
    ///
    /// # Errors
    /// Where the socket or the address cannot be had, or would be open to the network.
    pub(super) async fn open(
        config: &Config,
        answers: Arc<dyn Answers>,
        counts: Arc<Counts>,
    ) -> anyhow::Result<Self> {
        let server = Server::open(config, answers, counts).await?;
        if let Some(address) = server.tcp_address() {
            tracing::info!(%address, "listening");
        }
        let stop = CancellationToken::new();
        let served = tokio::spawn(server.serve(stop.clone()));
        Ok(Self { stop, served })
    }

    /// Closes it.
    pub(super) async fn close(self) {
        self.stop.cancel();
        // Whoever still waits gets nothing more.
        let _ = tokio::time::timeout(ENDING, self.served).await;
    }
}
