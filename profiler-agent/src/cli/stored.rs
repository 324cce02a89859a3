//! Answers from stored windows, for `query` on a directory. The running agent has its own, which knows
//! the windows that are not stored yet as well.

use std::time::Instant;

use profiler_proto::pprof::Profile;

use super::when::shown_unix_ns;
use crate::model::finished::Finished;
use crate::model::query::{Filter, Range};
use crate::profile::merge::{Ended, Job, Limits, merge};
use crate::store::{Info, Reader, StoreError};

/// Threads that merge: an answer is to come soon, and the host is to notice little of it.
const MOST_THREADS: usize = 4;

/// Where windows are.
pub trait Windows: Sync {
    /// Those that lie in a stretch of time, at least in part, oldest first.
    fn infos(&self, range: Range) -> Vec<Info>;

    /// One of them; `None` where it is gone.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn window(&self, id: u64) -> Result<Option<Finished>, StoreError>;
}

impl Windows for Reader {
    fn infos(&self, range: Range) -> Vec<Info> {
        Self::infos(self, range)
    }

    fn window(&self, id: u64) -> Result<Option<Finished>, StoreError> {
        Self::window(self, id)
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Of which time. Windows are taken whole.
    pub range: Range,
    /// Which samples.
    pub filter: Filter,
    /// When nobody waits for the answer any more.
    pub deadline: Option<Instant>,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct Found {
    /// All windows as one profile.
    pub profile: Profile,
    /// How many windows it is made of.
    pub windows: u64,
}

/// Why there is no answer. The text is for people.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// No window lies there.
    #[error(
        "there is no window from {} to {}; the store holds {}",
        shown_unix_ns(.asked.from_unix_ns),
        shown_unix_ns(.asked.to_unix_ns),
        held(.holds)
    )]
    NoWindow {
        /// What was asked for.
        asked: Range,
        /// From the first to the last window that there is.
        holds: Option<Range>,
    },
    /// There are windows, and no sample of them fits.
    #[error("nothing in {windows} windows fits {}; `query` without it shows what there is", described(.filter))]
    NoSample {
        /// Windows that were looked through.
        windows: u64,
        /// What was asked for.
        filter: Box<Filter>,
    },
    /// None of the windows can be read.
    #[error("none of the windows can be read: {0}")]
    Unreadable(String),
    /// It takes too long.
    #[error("the answer takes too long; ask for less time")]
    TooLong,
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes one profile of the windows of a stretch of time.
///
/// # Errors
/// Where there is none, or the store cannot be read.
pub fn answer(windows: &dyn Windows, question: &Question) -> Result<Found, QueryError> {
    let infos = windows.infos(question.range);
    if infos.is_empty() {
        let all = windows.infos(Range::ALL);
        let holds = all.first().map(|first| Range {
            from_unix_ns: first.start_unix_ns,
            to_unix_ns: all.iter().map(Info::end_unix_ns).max().unwrap_or_default(),
        });
        return Err(QueryError::NoWindow { asked: question.range, holds });
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    let job = Job {
        filter: question.filter.clone(),
        limits: Limits::default(),
        threads,
        deadline: question.deadline,
    };
    let read = |info: &Info| Ok(windows.window(info.id)?.map(|window| window.profile));
    let Ended { merged, unreadable } = merge(&infos, &job, || QueryError::TooLong, read)?;
    if let (0, Some(first)) = (merged.windows, unreadable.first()) {
        return Err(QueryError::Unreadable(first.clone()));
    }
    for reason in &unreadable {
        tracing::warn!(%reason, "a window is left out of an answer");
    }
    if merged.profile.sample.is_empty() {
        let filter = Box::new(question.filter.clone());
        return Err(QueryError::NoSample { windows: merged.windows, filter });
    }
    Ok(Found { profile: merged.profile, windows: merged.windows })
}

fn held(holds: &Option<Range>) -> String {
    match holds {
        Some(range) => {
            format!("{} to {}", shown_unix_ns(range.from_unix_ns), shown_unix_ns(range.to_unix_ns))
        }
        None => "none yet".to_owned(),
    }
}

fn described(filter: &Filter) -> String {
    let service = filter.service.as_ref().map(|service| format!("--service {service}"));
    let pid = filter.pid.map(|pid| format!("--pid {pid}"));
    let labels = filter.labels.iter().map(|(key, value)| format!("--label {key}={value}"));
    let event = format!("--event {}", filter.event.name());
    let parts: Vec<String> =
        service.into_iter().chain(pid).chain(labels).chain(std::iter::once(event)).collect();
    parts.join(" ")
}
