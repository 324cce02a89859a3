//! What became of one try to ship one part of a window.

use std::time::Duration;

/// How a try ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The backend has it.
    Delivered,
    /// Another try may help.
    Retry {
        /// Why it did not work.
        reason: String,
        /// How long the backend asked us to wait.
        after: Option<Duration>,
        /// What the backend knows of this try.
        sent: Sent,
    },
    /// The backend does not take us: wrong credentials, or no such service there. It is no fault of
    /// this window, and another window fares no better; somebody has to change something first.
    Hold {
        /// What it said.
        reason: String,
    },
    /// The backend does not take this part, however often it is tried.
    Final {
        /// What it said.
        reason: String,
    },
}

/// How far a request came that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// There was no connection to send it on.
    No,
    /// The backend said no, so it does not have it.
    Answered,
    /// It was sent, at least partly, and no answer came: the backend may have it.
    AnswerLost,
}
