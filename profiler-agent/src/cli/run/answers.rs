//! What the endpoint answers with: the running agent, its store, its numbers.
//!
//! A live profile is what the windows of its time hold: the window that runs is ended when the profile
//! begins and when it ends, so that windows fit it exactly, and they are merged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use profiler_proto::pprof::{Profile, encode_gz};
use tokio::sync::watch;
use tokio::time::timeout;

use super::metrics::Numbers;
use super::recorder::Recorder;
use crate::cli::own_profile;
use crate::cli::stored::{Picked, QueryError, Question, Windows, answer, merged};
use crate::http::{
    Answering, Answers, BurstAsk, BurstStarted, Document, ProfileAsk, QueryAsk, Refusal, TopAsk,
};
use crate::model::hottest::Hottest;
use crate::model::query::{Filter, Range};
use crate::pipeline::{BurstRefused, BurstWish, Ended, Handle};
use crate::profile::merge::Merged;
use crate::view::{self, Format, Options, Root};

/// So long a window may take from its end into the store, before a question gives up.
const HAND_OVER: Duration = Duration::from_secs(20);

/// Threads that merge.
const THREADS: usize = 2;

/// The agent, for those who ask.
pub(super) struct Desk {
    pub(super) recorder: Arc<Recorder>,
    pub(super) handle: Handle,
    pub(super) numbers: Arc<Numbers>,
    /// A burst as it is when the question does not say.
    pub(super) burst: watch::Receiver<BurstWish>,
}

impl Answers for Desk {
    fn profile(&self, ask: ProfileAsk) -> Answering<'_, Bytes> {
        Box::pin(async move {
            let range = self.watch(ask.length).await?;
            let deadline = Instant::now() + HAND_OVER;
            let picked = Picked::Begun(range);
            packed(&self.ask(picked, ask.filter, deadline, merged).await?.profile)
        })
    }

    fn own_profile(&self, length: Duration) -> Answering<'_, Bytes> {
        Box::pin(async move {
            let profile = own_profile::by_signal(length).await;
            profile.map(Bytes::from).map_err(|error| Refusal::Failed(format!("{error:#}")))
        })
    }

    fn query(&self, ask: QueryAsk) -> Answering<'_, Document> {
        Box::pin(async move {
            let QueryAsk { range, filter, format, limit, deadline } = ask;
            let Some(format) = Format::from_name(&format) else {
                let names: Vec<_> = Format::names().collect();
                let why = format!("there is no format {format:?}; there are {}", names.join(", "));
                return Err(Refusal::Bad(why));
            };
            let profile = self.ask(Picked::Touched(range), filter, deadline, answer).await?;
            let options = Options { root: Some(Root::Process), top: limit, ..Options::default() };
            blocking(move || draw(format, &profile, &options)).await
        })
    }

    fn top(&self, ask: TopAsk) -> Answering<'_, Hottest> {
        Box::pin(async move {
            let picked = match ask.length {
                Duration::ZERO => self.newest()?,
                length => Picked::Begun(self.watch(length).await?),
            };
            let deadline = Instant::now() + HAND_OVER;
            let Merged { profile, .. } = self.ask(picked, ask.filter, deadline, merged).await?;
            blocking(move || busiest(&profile, picked.range(), ask.limit)).await
        })
    }

    fn burst(&self, ask: BurstAsk) -> Answering<'_, BurstStarted> {
        Box::pin(async move {
            let usual = self.burst.borrow().clone();
            let wish = BurstWish {
                frequency: ask.frequency.unwrap_or(usual.frequency),
                duration: ask.length.unwrap_or(usual.duration),
                pid: ask.pid,
            };
            match self.handle.burst(wish).await {
                Ok((frequency, length)) => {
                    // What is left of the last second is rounded up.
                    let seconds = length.as_millis().div_ceil(1000) as u64;
                    Ok(BurstStarted { frequency, seconds })
                }
                Err(error @ (BurstRefused::Kernel(_) | BurstRefused::NoClock)) => {
                    Err(Refusal::Conflict(error.to_string()))
                }
                Err(error) => Err(Refusal::Bad(error.to_string())),
            }
        })
    }

    fn metrics(&self) -> String {
        self.numbers.render()
    }

    fn not_ready(&self) -> Vec<String> {
        self.numbers.not_ready()
    }
}

impl Desk {
    /// Waits for so long, and gives the time of the windows that hold exactly that.
    async fn watch(&self, length: Duration) -> Result<Range, Refusal> {
        let ended = |_: Ended| busy("the agent is ending", Duration::from_secs(10));
        let from_unix_ns = self.handle.cut().await.map_err(ended)?;
        tokio::time::sleep(length).await;
        let mut newest = self.recorder.newest();
        let to_unix_ns = self.handle.cut().await.map_err(ended)?;
        if to_unix_ns <= from_unix_ns {
            let why = "the clock of the host was set back meanwhile; ask again";
            return Err(Refusal::Failed(why.to_owned()));
        }
        let there =
            newest.wait_for(|(_, end)| end.abs_diff(to_unix_ns) < 1_000_000 || *end > to_unix_ns);
        match timeout(HAND_OVER, there).await {
            Ok(_) => Ok(Range { from_unix_ns, to_unix_ns }),
            Err(_) => {
                Err(Refusal::TooLong("windows are not encoded in time; ask again".to_owned()))
            }
        }
    }

    /// The newest window.
    fn newest(&self) -> Result<Picked, Refusal> {
        let newest = self.recorder.store().infos(Range::ALL).pop();
        let Some(info) = newest else {
            return Err(busy("no window is finished yet", Duration::from_secs(10)));
        };
        let from_unix_ns = info.start_unix_ns;
        let to_unix_ns = info.end_unix_ns().max(from_unix_ns + 1);
        Ok(Picked::Begun(Range { from_unix_ns, to_unix_ns }))
    }

    /// Asks the store, on a thread that may take its time.
    async fn ask<T: Send + 'static>(
        &self,
        picked: Picked,
        filter: Filter,
        deadline: Instant,
        ask: impl FnOnce(&dyn Windows, &Question) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let recorder = Arc::clone(&self.recorder);
        let question = Question { picked, filter, deadline: Some(deadline), threads: THREADS };
        blocking(move || ask(recorder.store(), &question).map_err(refusal)).await
    }
}

fn refusal(error: QueryError) -> Refusal {
    let why = error.to_string();
    match error {
        QueryError::NoWindow { .. } | QueryError::NoSample { .. } => Refusal::Missing(why),
        QueryError::TooLong => Refusal::TooLong(why),
        QueryError::Unreadable(_) => Refusal::Failed(why),
        QueryError::Store(_) => Refusal::Failed(format!("the store: {why}")),
    }
}

fn busy(why: &str, after: Duration) -> Refusal {
    Refusal::Busy { why: why.to_owned(), after }
}

/// An agent that records neither kind of time has no such table, but then it has no windows either.
fn busiest(profile: &Profile, range: Range, limit: usize) -> Result<Hottest, Refusal> {
    let top = view::busiest(profile, limit).map_err(|e| Refusal::Failed(e.to_string()))?;
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(Hottest { range: Some(range), cpus: u32::try_from(cpus).unwrap_or(u32::MAX), ..top })
}

fn packed(profile: &Profile) -> Result<Bytes, Refusal> {
    let packed = encode_gz(profile).map_err(|error| Refusal::Failed(error.to_string()))?;
    Ok(packed.into())
}

fn draw(format: Format, profile: &Profile, options: &Options) -> Result<Document, Refusal> {
    let content_type = match format {
        Format::Svg => "image/svg+xml",
        Format::Pprof => "application/octet-stream",
        Format::Folded | Format::Text => "text/plain; charset=utf-8",
    };
    let mut bytes = Vec::new();
    match view::render(format, profile, options, &mut bytes) {
        Ok(()) => Ok(Document { content_type, bytes: bytes.into() }),
        Err(error) => Err(Refusal::Missing(error.to_string())),
    }
}

/// Works on a thread that may take its time.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Refusal::Failed(format!("the agent failed at it: {error}"))))
}
