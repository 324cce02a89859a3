//! A finished window, as the store keeps it and as sinks ship it.

use std::sync::Arc;

/// A window that nothing more is added to, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// When it began (Unix time, ns). With the host it names the window: no two begin alike, and a
    /// retry keeps it.
    pub start_unix_ns: u64,
    /// How long it is, ns.
    pub duration_ns: u64,
    /// The profile: pprof, packed with zstd (other readers want gzip: `to_gz` of the wire formats). Both
    /// kinds of time, each with its own pair of values, and the labels of [`super::conventions::label`]
    /// on its samples.
    pub profile: Arc<[u8]>,
}

impl Finished {
    /// When it ended (Unix time, ns).
    pub fn end_unix_ns(&self) -> u64 {
        self.start_unix_ns.saturating_add(self.duration_ns)
    }
}
