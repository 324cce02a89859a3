//! Answers from stored windows: of a directory, for `query`, and of the running agent, whose store knows the
//! windows that are not written yet as well.

use std::time::Instant;

use profiler_proto::pprof::Profile;

use super::when::shown_unix_ns;
use crate::model::finished::Finished;
use crate::model::query::{Filter, Range};
use crate::profile::merge::{Ended, Job, Limits, Merged, merge};
use crate::store::{Info, Reader, Store, StoreError};

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

impl Windows for Store {
    fn infos(&self, range: Range) -> Vec<Info> {
        Self::infos(self, range)
    }

    fn window(&self, id: u64) -> Result<Option<Finished>, StoreError> {
        Self::window(self, id)
    }
}

/// Which windows are asked for. They are taken whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picked {
    /// Those that begin in this time: it was cut for them.
    Begun(Range),
    /// Those that have a part in it.
    Touched(Range),
}

impl Picked {
    /// The time.
    pub fn range(self) -> Range {
        match self {
            Self::Begun(range) | Self::Touched(range) => range,
        }
    }

    fn of(self, windows: &dyn Windows) -> Vec<Info> {
        let mut infos = windows.infos(self.range());
        if let Self::Begun(Range { from_unix_ns, to_unix_ns }) = self {
            infos.retain(|info| (from_unix_ns..to_unix_ns).contains(&info.start_unix_ns));
        }
        infos
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Of which windows.
    pub picked: Picked,
    /// Which samples.
    pub filter: Filter,
    /// When nobody waits for the answer any more.
    pub deadline: Option<Instant>,
    /// Threads that merge: an answer is to come soon, and the host is to notice little of it.
    pub threads: usize,
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

/// Makes one profile of windows, in which something is.
///
/// # Errors
/// As of [`merged`], and where nothing fits.
pub fn answer(windows: &dyn Windows, question: &Question) -> Result<Profile, QueryError> {
    let Merged { profile, windows } = merged(windows, question)?;
    if profile.sample.is_empty() {
        let filter = Box::new(question.filter.clone());
        return Err(QueryError::NoSample { windows, filter });
    }
    Ok(profile)
}

/// Makes one profile of windows, with as much in it as fits.
///
/// # Errors
/// Where there is no window, or the store cannot be read.
pub fn merged(windows: &dyn Windows, question: &Question) -> Result<Merged, QueryError> {
    let infos = question.picked.of(windows);
    if infos.is_empty() {
        let all = windows.infos(Range::ALL);
        let holds = all.first().map(|first| Range {
            from_unix_ns: first.start_unix_ns,
            to_unix_ns: all.iter().map(Info::end_unix_ns).max().unwrap_or_default(),
        });
        return Err(QueryError::NoWindow { asked: question.picked.range(), holds });
    }
    let Question { filter, deadline, threads, .. } = question.clone();
    let job = Job { filter, limits: Limits::default(), threads, deadline };
    let read = |info: &Info| Ok(windows.window(info.id)?.map(|window| window.profile));
    let Ended { merged, unreadable } = merge(&infos, &job, || QueryError::TooLong, read)?;
    if let (0, Some(first)) = (merged.windows, unreadable.first()) {
        return Err(QueryError::Unreadable(first.clone()));
    }
    for reason in &unreadable {
        tracing::warn!(%reason, "a window is left out of an answer");
    }
    Ok(merged)
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
