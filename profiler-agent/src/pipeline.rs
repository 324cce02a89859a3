//! The only wiring: one recording, from the kernel's events to a finished profile.
//!
//! The **collector** takes events from the kernel in the order of time, attributes them and counts them;
//! it never waits for anything else. The **namer** turns frames that the collector meets for the first
//! time into names, beside it, over a bounded channel: when that is full, the collector keeps the frames
//! and offers them again a round later. The **preparer** gets the kernel side ready for what processes
//! map, with threads of its own that read binaries: the collector tells it of every change, and keeps
//! what it has no time for. It also goes on with the walk of stacks that came before it was ready.

mod heat;
mod inbox;
mod line;
mod preparer;
mod reading;
mod shares;
mod unfinished;
mod wanted;

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use self::line::Line;
use self::preparer::{Desk, Preparer};
pub use self::shares::table_limits;
use self::wanted::Wanted;
use crate::kernel::error::KernelError;
use crate::kernel::opening::Opening;
use crate::kernel::plan::Plan;
use crate::kernel::session::Facts;
use crate::kernel::system::run_soon;
use crate::model::frame::Frame;
use crate::model::losses::Losses;
use crate::model::names::Names;
use crate::process::{self, Processes, ScanError};
use crate::profile::{Limits, Window};
use crate::runtime::native::CacheConfig;
use crate::symbolize::{self, Symbolizer};

/// Longest wait for the kernel; the timer on which the ring is read.
const ROUND: Duration = Duration::from_millis(100);

/// Programs are attached this long after the beginning at the latest: a moment before, the tables of all
/// processes that run are mostly there.
const START: Duration = Duration::from_millis(230);

/// Frames gather this long before they are named: each binary is then read once for many of them.
const GATHER: Duration = Duration::from_secs(2);

/// Lists of frames that may wait for the namer.
const NAMER_QUEUE: usize = 64;

/// What the stages of one recording need.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// What the kernel side records.
    pub plan: Plan,
    /// Limits of the process table.
    pub process: process::Config,
    /// Limits of the namer.
    pub symbolize: symbolize::Config,
    /// Bytes that unwinding may take, in the kernel and here.
    pub unwind_memory: u64,
    /// Where unwind tables are kept for the next recording, if they are.
    pub unwind_cache: Option<CacheConfig>,
    /// Limits of the window.
    pub window: Limits,
    /// End by itself after this time; `None`: only when told to.
    pub duration: Option<Duration>,
}

/// Why a recording came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The kernel refused something.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Processes could not be listed.
    #[error(transparent)]
    Processes(#[from] ScanError),
    /// There are no more threads to be had.
    #[error("a thread could not be started: {0}; raise the limit of processes (ulimit -u)")]
    Threads(std::io::Error),
}

/// How a recording is doing, for whoever shows it.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Samples and blocks so far.
    pub samples: u64,
    /// Lost so far.
    pub lost: u64,
    /// Time since the first instant.
    pub elapsed: Duration,
    /// The kernel side is attached: what starts now is seen.
    pub attached: bool,
}

/// A finished recording, not yet written in any format.
#[derive(Debug)]
pub struct Recording {
    /// What was counted.
    pub window: Window,
    /// What the frames are called.
    pub names: Names,
    /// How it was taken.
    pub facts: Facts,
    /// Processes that at least one stack belongs to.
    pub processes: usize,
    /// How long it took.
    pub duration: Duration,
    /// Everything that was turned away.
    pub losses: Losses,
    /// One line each: what works less well than it could, and why.
    pub problems: Vec<String>,
}

/// Records until the duration is over or `stop` becomes true. Blocks its thread.
pub fn record(
    config: &Config,
    stop: &watch::Receiver<bool>,
    progress: &watch::Sender<Progress>,
) -> Result<Recording, RecordError> {
    let debug_dirs = &config.symbolize.debug_dirs;
    let desk = Desk::new(config.unwind_memory, config.unwind_cache.as_ref(), debug_dirs);
    std::thread::scope(|scope| {
        let (to_namer, from_collector) = sync_channel(NAMER_QUEUE);
        let namer = spawn(scope, "name", || name_frames(config.symbolize.clone(), from_collector))?;
        let desk = &desk;
        let collect = move || collect(config, stop, progress, (scope, desk), to_namer);
        let collected = join(spawn(scope, "collect", collect)?);
        let named = join(namer);
        let mut recording = collected?;
        recording.names = named.names;
        recording.losses.merge(&named.losses);
        recording.problems = named.problems;
        Ok(recording)
    })
}

/// Starts a thread whose name tools such as top show.
fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, RecordError> {
    let builder = Builder::new().name(name.to_owned());
    builder.spawn_scoped(scope, work).map_err(RecordError::Threads)
}

/// What a thread came to; its panic goes on here.
fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The collector: kernel → processes → window, until it is over.
fn collect<'scope>(
    config: &Config,
    stop: &watch::Receiver<bool>,
    progress: &watch::Sender<Progress>,
    (scope, desk): (&'scope Scope<'scope, '_>, &'scope Desk),
    namer: SyncSender<Vec<Frame>>,
) -> Result<Recording, RecordError> {
    let began = Instant::now();
    let (mut opening, tables) = Opening::begin(&config.plan)?;
    let preparer = Preparer::start(scope, desk, tables).map_err(RecordError::Threads)?;
    let mut processes = Processes::new(config.process.clone());
    let mut wanted = Wanted::new(&config.plan);
    std::thread::scope(|beside| {
        let loading = spawn(beside, "load", || opening.load())?;
        processes.scan()?;
        // An empty inbox takes what it is offered.
        let _ = preparer.offer(wanted.of(processes.take_changed()));
        Ok::<_, RecordError>(join(loading)?)
    })?;
    run_soon();
    preparer.wait_until_settled(START.saturating_sub(began.elapsed()));
    let mut session = opening.start()?;
    let began = Instant::now();
    progress.send_modify(|p| p.attached = true);

    let mut line = Line::new(config, session.facts(), namer, preparer, processes, wanted);
    let mut events = Vec::new();
    loop {
        let left = config.duration.map(|d| d.saturating_sub(began.elapsed()));
        if *stop.borrow() || left.is_some_and(|left| left.is_zero()) {
            break;
        }
        session.poll(left.map_or(ROUND, |left| left.min(ROUND)), &mut events)?;
        events.drain(..).for_each(|event| line.take(&event));
        line.offer_changes();
        line.take_finished();
        line.offer_frames();
        let lost = session.losses().map(|losses| losses.lost()).unwrap_or_default();
        progress.send_modify(|p| {
            (p.samples, p.lost, p.elapsed) = (line.taken, lost, began.elapsed());
        });
    }
    let fill = session.ring_fill();
    tracing::info!(
        peak_bytes = fill.peak_bytes,
        capacity_bytes = fill.capacity_bytes,
        "ring buffer"
    );
    let facts = session.facts().clone();
    let ending = session.stop()?;
    Ok(line.finish(facts, ending))
}

/// What the namer leaves.
struct Named {
    names: Names,
    losses: Losses,
    problems: Vec<String>,
}

/// The namer: names lists of frames until the collector hangs up.
fn name_frames(config: symbolize::Config, frames: Receiver<Vec<Frame>>) -> Named {
    let mut symbolizer = Symbolizer::new(config);
    let mut names = Names::new();
    let mut waiting = Vec::new();
    let mut since = Instant::now();
    for list in frames {
        waiting.extend(list);
        if since.elapsed() >= GATHER {
            symbolizer.symbolize(&waiting, &mut names);
            waiting.clear();
            since = Instant::now();
        }
    }
    symbolizer.symbolize(&waiting, &mut names);
    Named { names, losses: symbolizer.losses(), problems: symbolizer.problems() }
}
