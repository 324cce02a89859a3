//! Sinks: what ships finished windows to backends, and to files.
//!
//! ```text
//! Source (the store, seen by one sink)
//!    ▼  newest first, the backlog behind
//! shipper/    which window when; what is retried, held back, given up      → Status
//!    ▼
//! split/      pprof → one profile per service and kind of time, in parts
//!    ▼
//! pyroscope · parca · otlp · files      parts → requests, checked before they leave
//!    ▼
//! channel/    connections, TLS, credentials;  verdict: what an answer means
//! ```
//!
//! Each sink has a task and a view of the store of its own, so one that is down holds up no other. A
//! window is shipped at least once. What names it (its time, its labels) is the same in every try.

mod backend;
mod backoff;
mod channel;
mod config;
mod environment;
mod files;
mod grpc;
mod labels;
mod otlp;
mod outcome;
mod parca;
mod pyroscope;
mod shipper;
mod sink;
mod source;
mod split;
mod status;
mod verdict;

pub use config::{Credentials, Files, Remote, SinkConfig, SinkKind, Tls};
pub use environment::{Environment, Resolve, Resolved};
pub use outcome::{Outcome, Sent};
pub use sink::{Sink, SinkError};
pub use source::{Backlog, PendingWindow, Source, SourceError};
pub use status::Status;
