//! Asks the agent for tables.

use std::sync::mpsc::Sender;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::http::client::{Client, ClientError};
use crate::model::hottest::Hottest;

/// Rows that are asked for: more than a screen shows.
const ROWS: &str = "200";

/// How much longer than its time an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// After an answer that was none.
const PAUSE: Duration = Duration::from_secs(1);

/// What is asked, and whom.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) client: Client,
    pub(super) service: Option<String>,
    pub(super) pid: Option<u32>,
    pub(super) interval: Duration,
}

/// What comes back.
#[derive(Debug)]
pub(super) enum Told {
    /// A table.
    Top(Box<Hottest>),
    /// Why there is none; it is asked again.
    Wrong(String),
    /// The command is to end.
    End,
}

impl Question {
    /// Asks once.
    pub(super) fn ask_blocking(&self) -> anyhow::Result<Hottest> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.ask())
    }

    /// Asks until nobody listens any more, or a signal says that it is enough.
    pub(super) fn ask_on(&self, to: &Sender<Told>) {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
            return;
        };
        runtime.block_on(async {
            let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
            loop {
                let told = tokio::select! {
                    _ = terminate.recv() => Told::End,
                    answer = self.ask() => match answer {
                        Ok(top) => Told::Top(Box::new(top)),
                        Err(error) => Told::Wrong(format!("{error:#}")),
                    },
                };
                let pause = matches!(told, Told::Wrong(_));
                if to.send(told).is_err() {
                    return;
                }
                if pause {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        });
    }

    async fn ask(&self) -> anyhow::Result<Hottest> {
        let seconds = self.interval.as_secs().to_string();
        let pid = self.pid.map(|pid| pid.to_string());
        let mut parameters = vec![("seconds", seconds.as_str()), ("limit", ROWS)];
        parameters.extend(self.service.as_deref().map(|service| ("service", service)));
        parameters.extend(pid.as_deref().map(|pid| ("pid", pid)));
        let answer = self.client.get("/api/v1/top", &parameters, self.interval + PATIENCE).await;
        let answer = answer.map_err(|error: ClientError| anyhow::anyhow!(error))?;
        serde_json::from_slice(&answer).context("the agent is of another version")
    }
}
