//! Where a sink takes its windows from: the store, as one sink sees it.

use crate::model::finished::Finished;

/// Why the store did not answer.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// A window that one sink has yet to ship.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingWindow {
    /// The store's number for it; it never changes.
    pub id: u64,
    /// When it began (Unix time, ns).
    pub start_unix_ns: u64,
    /// When it ended (Unix time, ns).
    pub end_unix_ns: u64,
}

/// How much one sink has yet to ship.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Windows.
    pub windows: u64,
    /// End of the oldest of them (Unix time, ns).
    pub oldest_end_unix_ns: Option<u64>,
}

/// The store as one sink sees it. Calls may read and write a disk: they are made on threads for
/// blocking work, several at a time.
pub trait Source: Send + Sync + 'static {
    /// Windows that are neither delivered nor refused: the newest first, at most `limit`.
    ///
    /// # Errors
    /// Where the store cannot be read. It is asked again later.
    fn pending(&self, limit: usize) -> Result<Vec<PendingWindow>, SourceError>;

    /// How many there are in all, and how old they are.
    ///
    /// # Errors
    /// Where the store cannot be read.
    fn backlog(&self) -> Result<Backlog, SourceError>;

    /// A window; `None` where the store does not have it any more.
    ///
    /// # Errors
    /// Where the store cannot be read.
    fn window(&self, id: u64) -> Result<Option<Finished>, SourceError>;

    /// The backend has this window.
    ///
    /// # Errors
    /// Where it cannot be written down. It is said again later; the window is not shipped again.
    fn delivered(&self, id: u64) -> Result<(), SourceError>;

    /// This window will not be shipped.
    ///
    /// # Errors
    /// Where it cannot be written down. It is said again later.
    fn refused(&self, id: u64, reason: &str) -> Result<(), SourceError>;
}
