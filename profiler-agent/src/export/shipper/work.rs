//! One window on its way: unpacked, split, its parts sent side by side.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::memory::{MAX_STRIKES, Progress};
use super::pace::{Pace, Patience};
use crate::export::backend::{Backend, Prepared};
use crate::export::environment::Environment;
use crate::export::outcome::{Outcome, Sent};
use crate::export::source::{PendingWindow, Source, SourceError};
use crate::export::status::Shared;
use crate::model::finished::Finished;

/// What all windows of a sink share.
pub(super) struct Context<B> {
    pub(super) backend: B,
    pub(super) source: Arc<dyn Source>,
    pub(super) shared: Arc<Shared>,
    pub(super) environment: Environment,
    pub(super) pace: Mutex<Pace>,
    /// Parts delivered, in all.
    pub(super) delivered: AtomicU64,
    /// There is something new to look at.
    pub(super) wake: Arc<Notify>,
    /// One for each request that may be under way.
    pub(super) permits: Semaphore,
    /// Fewer, for the backlog: the newest window always finds one of [`Self::permits`] soon.
    pub(super) backlog_permits: Semaphore,
}

/// A window to ship.
pub(super) struct Job {
    pub(super) window: PendingWindow,
    pub(super) progress: Progress,
    /// Where it is not the usual, the backend failed a moment ago: one part goes first, alone.
    pub(super) patience: Patience,
    /// Newer windows go before it.
    pub(super) backlog: bool,
}

/// How a try of a window ended.
pub(super) enum End {
    Delivered,
    Refused(String),
    Failed(Failure),
    /// The store pushed it out.
    Gone,
    /// The store could not be read.
    Unreadable(String),
}

/// Why a try failed.
pub(super) struct Failure {
    pub(super) reason: String,
    pub(super) after: Option<Duration>,
    /// The backend does not take us.
    pub(super) hold: bool,
    /// It may be the fault of the window.
    pub(super) sent: bool,
}

/// A try of a window, with what is known of it now.
pub(super) struct Done {
    pub(super) window: PendingWindow,
    pub(super) progress: Progress,
    pub(super) end: End,
}

/// Calls the store on a thread for blocking work.
pub(super) async fn ask<B: Backend, T: Send + 'static>(
    context: &Arc<Context<B>>,
    question: impl FnOnce(&dyn Source) -> Result<T, SourceError> + Send + 'static,
) -> Result<T, String> {
    let source = Arc::clone(&context.source);
    match tokio::task::spawn_blocking(move || question(source.as_ref())).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Ships what is left of a window.
pub(super) async fn ship<B: Backend>(context: Arc<Context<B>>, mut job: Job) -> Done {
    let id = job.window.id;
    let end = match ask(&context, move |source| source.window(id)).await {
        Err(error) => End::Unreadable(error),
        Ok(None) => End::Gone,
        Ok(Some(finished)) => match prepare(&context, finished).await {
            Err(reason) => End::Refused(reason),
            Ok(prepared) => send_all(&context, Arc::new(prepared), &mut job).await,
        },
    };
    Done { window: job.window, progress: job.progress, end }
}

async fn prepare<B: Backend>(
    context: &Arc<Context<B>>,
    finished: Finished,
) -> Result<Prepared<B::Part>, String> {
    // The semaphore is never closed.
    let _room = context.environment.preparing.acquire().await;
    let worker = Arc::clone(context);
    let prepared = tokio::task::spawn_blocking(move || worker.backend.prepare(&finished)).await;
    prepared.unwrap_or_else(|error| Err(format!("it could not be split: {error}")))
}

/// Sends all parts that the backend does not have; stops at the first that fails.
async fn send_all<B: Backend>(
    context: &Arc<Context<B>>,
    prepared: Arc<Prepared<B::Part>>,
    job: &mut Job,
) -> End {
    let is_left = |n: &usize| !job.progress.done.contains(n) && !job.progress.refused.contains(n);
    let left: Vec<usize> = (0..prepared.parts.len()).filter(is_left).collect();
    let first_try = left.len() == prepared.parts.len() && job.progress.strikes == 0;
    if first_try && job.progress.unanswered.is_empty() {
        let out = prepared.left_out;
        context.shared.update(|status| {
            status.dropped_samples += out.samples;
            status.cut_stacks += out.cut_stacks;
            status.malformed += out.malformed;
        });
    }
    let mut left = left.into_iter();
    let stopped = Arc::new(AtomicBool::new(false));
    let mut alone = job.patience != Patience::Usual;
    let mut failure = None;
    let mut running = JoinSet::new();
    loop {
        let width = if alone { 1 } else { context.backend.in_flight().max(1) };
        while failure.is_none() && running.len() < width {
            let Some(number) = left.next() else { break };
            note_sent_again(context, &mut job.progress, number);
            let (context, prepared) = (Arc::clone(context), Arc::clone(&prepared));
            let stopped = Arc::clone(&stopped);
            let backlog = job.backlog;
            let patience = if alone { job.patience } else { Patience::Usual };
            running.spawn(async move {
                (number, send(&context, &prepared, number, patience, backlog, &stopped).await)
            });
        }
        let Some(answer) = running.join_next().await else { break };
        let Ok((number, Some(outcome))) = answer else { continue };
        if let Some(new) = note(context, &mut job.progress, number, outcome) {
            stopped.store(true, Ordering::Relaxed);
            failure = Some(worse(failure, new));
        } else {
            alone = false;
        }
    }
    end(failure, &job.progress)
}

fn end(failure: Option<Failure>, progress: &Progress) -> End {
    match (failure, &progress.refusal) {
        (Some(failure), _) => End::Failed(failure),
        (None, Some(refusal)) => End::Refused(refusal.clone()),
        (None, None) => End::Delivered,
    }
}

/// Sends one part when there is room for it; `None` when another part has failed meanwhile.
async fn send<B: Backend>(
    context: &Context<B>,
    prepared: &Prepared<B::Part>,
    number: usize,
    patience: Patience,
    backlog: bool,
    stopped: &AtomicBool,
) -> Option<Outcome> {
    let part = prepared.parts.get(number)?;
    let _of_backlog = if backlog { Some(context.backlog_permits.acquire().await) } else { None };
    let _permit = context.permits.acquire().await;
    if stopped.load(Ordering::Relaxed) {
        return None;
    }
    let deadline = context.pace.lock().unwrap_or_else(PoisonError::into_inner).deadline(patience);
    let _request = Request::begin(&context.shared, part.bytes);
    let begun = Instant::now();
    let outcome = context.backend.send(part, deadline).await;
    if outcome == Outcome::Delivered {
        let mut pace = context.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.answered(begun.elapsed());
    }
    Some(outcome)
}

/// A request under way: counted as such until it is dropped, however it ends.
struct Request<'a>(&'a Shared);

impl<'a> Request<'a> {
    fn begin(shared: &'a Shared, bytes: usize) -> Self {
        shared.update(|status| {
            status.requests += 1;
            status.bytes += bytes as u64;
            status.in_flight += 1;
        });
        Self(shared)
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.0.update(|status| status.in_flight = status.in_flight.saturating_sub(1));
    }
}

fn note_sent_again<B>(context: &Context<B>, progress: &mut Progress, number: usize) {
    if progress.unanswered.contains(&number) && !progress.sent_again {
        progress.sent_again = true;
        context.shared.update(|status| status.sent_again += 1);
    }
}

/// Writes down what became of a part; a failure ends the try.
fn note<B: Backend>(
    context: &Context<B>,
    progress: &mut Progress,
    number: usize,
    outcome: Outcome,
) -> Option<Failure> {
    match outcome {
        Outcome::Delivered => {
            progress.done.insert(number);
            progress.unanswered.remove(&number);
            context.delivered.fetch_add(1, Ordering::Relaxed);
            context.wake.notify_one();
            None
        }
        Outcome::Final { reason } => {
            progress.refused.insert(number);
            progress.refusal = Some(reason);
            context.shared.update(|status| status.refused_parts += 1);
            None
        }
        Outcome::Hold { reason } => Some(Failure { reason, after: None, hold: true, sent: false }),
        Outcome::Retry { reason, after, sent } => {
            if sent == Sent::AnswerLost {
                progress.unanswered.insert(number);
            }
            Some(Failure { reason, after, hold: false, sent: sent != Sent::No })
        }
    }
}

/// Of two failures of one try, the one that puts off the next for longer.
fn worse(old: Option<Failure>, new: Failure) -> Failure {
    let Some(old) = old else { return new };
    let weight = |failure: &Failure| (failure.hold, failure.after);
    if weight(&new) > weight(&old) { new } else { old }
}

/// Whether a window has failed too often by its own fault.
pub(super) fn is_hopeless(progress: &Progress) -> bool {
    progress.strikes >= MAX_STRIKES
}
