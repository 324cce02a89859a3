//! What the endpoint asks of the agent. The server knows how to speak HTTP and what to refuse; what the
//! agent is, is behind [`Answers`], implemented where the stages are wired.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::hottest::Hottest;
use crate::model::query::{Filter, Range};

/// An answer that is being worked on.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

/// The agent, as HTTP sees it. Every call may be made from several tasks at once. A call whose future is
/// dropped is no longer wanted.
pub trait Answers: Send + Sync + 'static {
    /// Profiles the host from now on and answers when the time is over.
    fn profile(&self, ask: ProfileAsk) -> Answering<'_, Bytes>;

    /// Profiles the agent itself by signals. Only one of these runs at a time.
    fn own_profile(&self, length: Duration) -> Answering<'_, Bytes>;

    /// Answers from the stored windows.
    fn query(&self, ask: QueryAsk) -> Answering<'_, Document>;

    /// What is hottest: of the next `length`, or of the newest stored window where that is zero.
    fn top(&self, ask: TopAsk) -> Answering<'_, Hottest>;

    /// Samples faster for a while.
    fn burst(&self, ask: BurstAsk) -> Answering<'_, BurstStarted>;

    /// The agent's metrics, in the text format of OpenMetrics.
    fn metrics(&self) -> String;

    /// What keeps the agent from being ready; empty when it is.
    fn not_ready(&self) -> Vec<String>;
}

/// `/debug/pprof/profile` and `/debug/pprof/offcpu`: answered with pprof, packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileAsk {
    /// For how long.
    pub length: Duration,
    /// Of what.
    pub filter: Filter,
}

/// `/api/v1/query`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryAsk {
    /// Of which time.
    pub range: Range,
    /// Which samples.
    pub filter: Filter,
    /// In which form: a name of the views' registry; `pprof` where nothing was said.
    pub format: String,
    /// Lines of a table, where the form is one.
    pub limit: usize,
    /// When nobody waits for the answer any more: work stops there.
    pub deadline: Instant,
}

/// `/api/v1/top`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopAsk {
    /// For how long to look; zero: at the newest stored window.
    pub length: Duration,
    /// At what.
    pub filter: Filter,
    /// How many functions, and how many services.
    pub limit: usize,
}

/// `POST /api/v1/burst`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BurstAsk {
    /// Samples per second and CPU; `None`: as configured.
    pub frequency: Option<u32>,
    /// For how long; `None`: as configured.
    pub length: Option<Duration>,
    /// Of one process only.
    pub pid: Option<u32>,
}

/// What a burst does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BurstStarted {
    /// Samples per second and CPU, from now on.
    pub frequency: u32,
    /// For how long, seconds.
    pub seconds: u64,
}

/// Bytes with what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Media type.
    pub content_type: &'static str,
    /// The document.
    pub bytes: Bytes,
}

/// Why there is no answer. The text names the cause and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The question is wrong: 400.
    #[error("{0}")]
    Bad(String),
    /// There is nothing of this kind: 404.
    #[error("{0}")]
    Missing(String),
    /// The question is right, and this agent cannot answer it as it is set up: 409.
    #[error("{0}")]
    Conflict(String),
    /// Not now: 503, with the time after which to ask again.
    #[error("{why}")]
    Busy {
        /// Why.
        why: String,
        /// When to ask again.
        after: Duration,
    },
    /// It took too long: 504.
    #[error("{0}")]
    TooLong(String),
    /// Something is wrong with the agent: 500.
    #[error("{0}")]
    Failed(String),
}
