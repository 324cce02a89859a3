//! What the endpoint counts of itself. Whoever wires the stages reads it and puts it into the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the start. One per agent; the servers share it.
#[derive(Debug, Default)]
pub struct Counts {
    requests: AtomicU64,
    refused: [AtomicU64; Refused::ALL.len()],
}

/// Why a request, or a connection, was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too many connections.
    Connections,
    /// Too many requests at once.
    Busy,
    /// No token, or a wrong one.
    Token,
    /// It came from another user, or from a page of another site.
    Stranger,
    /// A question that cannot be answered: unknown path, wrong parameter.
    Question,
    /// It did not send its request, or read its answer, fast enough.
    Slow,
    /// Its TLS handshake failed.
    Tls,
    /// The answer took too long.
    Time,
}

impl Refused {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Connections,
        Self::Busy,
        Self::Token,
        Self::Stranger,
        Self::Question,
        Self::Slow,
        Self::Tls,
        Self::Time,
    ];

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Busy => "busy",
            Self::Token => "token",
            Self::Stranger => "stranger",
            Self::Question => "question",
            Self::Slow => "slow",
            Self::Tls => "tls",
            Self::Time => "time",
        }
    }
}

impl Counts {
    /// Requests that were read, whatever became of them.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// What was turned away for one reason.
    pub fn refused(&self, why: Refused) -> u64 {
        self.of(why).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refuse(&self, why: Refused) {
        if let Some(count) = self.of(why) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn of(&self, why: Refused) -> Option<&AtomicU64> {
        self.refused.get(why as usize)
    }
}
