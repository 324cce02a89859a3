//! Shares windows out over threads. Each takes a stretch of them in their order, so that the same windows
//! give the same profile, however fast the threads are.

use std::ops::Deref;
use std::thread;
use std::time::Instant;

use super::merger::{Merged, Merger};
use super::{Limits, MergeError};
use crate::model::query::Filter;

/// What is to be merged.
#[derive(Clone, Debug)]
pub struct Job {
    /// Which samples.
    pub filter: Filter,
    /// How much the result may hold.
    pub limits: Limits,
    /// How many threads work on it, this one among them.
    pub threads: usize,
    /// When nobody waits for it any more.
    pub deadline: Option<Instant>,
}

/// A merge that came to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// The windows that could be read.
    pub merged: Merged,
    /// One line each on windows that could not.
    pub unreadable: Vec<String>,
}

/// Merges windows. `read` gives one, `None` where it is gone; it is called on several threads.
///
/// # Errors
/// The first error of `read`, or `too_late` past the deadline.
pub fn merge<T, B, E>(
    windows: &[T],
    job: &Job,
    too_late: impl Fn() -> E + Sync,
    read: impl Fn(&T) -> Result<Option<B>, E> + Sync,
) -> Result<Ended, E>
where
    T: Sync,
    B: Deref<Target = [u8]>,
    E: Send,
{
    let part = |windows: &[T]| {
        let mut merger = Merger::new(job.filter.clone(), job.limits);
        let mut unreadable = Vec::new();
        for window in windows {
            if job.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(too_late());
            }
            let Some(bytes) = read(window)? else { continue };
            let added: Result<(), MergeError> = merger.add(&bytes);
            unreadable.extend(added.err().map(|error| error.to_string()));
        }
        Ok((merger, unreadable))
    };
    let part = &part;
    let size = windows.len().div_ceil(job.threads.max(1)).max(1);
    let mut parts = windows.chunks(size);
    let first = parts.next().unwrap_or_default();
    let (merger, unreadable) = thread::scope(|scope| {
        let others: Vec<_> = parts.map(|windows| scope.spawn(move || part(windows))).collect();
        let (mut merger, mut unreadable) = part(first)?;
        for other in others {
            // A panic is one of ours, and goes on as if there had been one thread.
            let other = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let (joined, more) = other?;
            merger.join(joined);
            unreadable.extend(more);
        }
        Ok((merger, unreadable))
    })?;
    Ok(Ended { merged: merger.finish(), unreadable })
}
