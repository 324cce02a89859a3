//! How the store does: for metrics, `status` and error messages.

use std::collections::BTreeMap;

/// The whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Windows that can be asked for, on disk or in memory.
    pub windows: u64,
    /// Bytes on disk, all files of the store together (not what was set aside).
    pub bytes: u64,
    /// Most bytes on disk.
    pub max_bytes: u64,
    /// Files of windows on disk.
    pub segments: u64,
    /// Begin of the oldest window (Unix time, ns).
    pub oldest_unix_ns: Option<u64>,
    /// End of the newest window (Unix time, ns).
    pub newest_unix_ns: Option<u64>,
    /// Windows that are in memory only, since the disk fails.
    pub waiting: u64,
    /// Bytes of them.
    pub waiting_bytes: u64,
    /// Why the disk fails, while it does.
    pub degraded: Option<String>,
    /// What happened since the store was opened.
    pub counters: Counters,
    /// Each sink.
    pub sinks: BTreeMap<String, SinkStatus>,
}

/// Counts since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Windows that were put.
    pub put: u64,
    /// Of those, windows that are on disk.
    pub written: u64,
    /// Bytes of them.
    pub written_bytes: u64,
    /// Tries to write that failed.
    pub write_errors: u64,
    /// Windows that were lost: the disk failed for longer than memory lasts, or one was larger than a
    /// quarter of the budget.
    pub dropped: u64,
    /// Windows that made room for newer ones, or were too old.
    pub evicted: u64,
    /// Windows that were on disk and could not be read any more.
    pub unreadable: u64,
    /// Files that were set aside, broken or of another version.
    pub set_aside: u64,
    /// Files that were broken and removed, since there were too many of them.
    pub broken_removed: u64,
    /// Tries to save what sinks settled that failed. A restart now would ship these windows again.
    pub cursor_errors: u64,
}

/// One sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkStatus {
    /// Windows that it has not settled.
    pub pending: u64,
    /// Begin of the oldest of them (Unix time, ns).
    pub oldest_pending_unix_ns: Option<u64>,
    /// End of the oldest of them (Unix time, ns).
    pub oldest_pending_end_unix_ns: Option<u64>,
    /// Windows that it took.
    pub delivered: u64,
    /// Windows that it refused for good.
    pub refused: u64,
    /// Windows that went from the store before it had them.
    pub evicted_unshipped: u64,
}
