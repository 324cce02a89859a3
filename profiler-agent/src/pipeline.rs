//! The only wiring: one recording, from the kernel's events to a finished profile.
//!
//! The **collector** takes events from the kernel in the order of time, attributes them and counts them;
//! it never waits for anything else. The **namer** turns frames that the collector meets for the first
//! time into names, beside it, over a bounded channel: when that is full, the collector keeps the frames
//! and offers them again a round later. The **preparer** gets the kernel side ready for what processes
//! map, with threads of its own that read binaries: the collector tells it of every change, and keeps
//! what it has no time for.

mod inbox;
mod preparer;
mod reading;

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

use profiler_common::record::COMM_LEN;
use profiler_common::walk::WalkEnd;
use tokio::sync::watch;

use self::preparer::{Desk, Preparer};
use crate::kernel::error::KernelError;
use crate::kernel::plan::Plan;
use crate::kernel::session::{Ending, Facts, Session};
use crate::model::event::{Event, RawStack};
use crate::model::frame::Frame;
use crate::model::losses::Losses;
use crate::model::names::Names;
use crate::model::observation::{Activity, Observation};
use crate::model::space::SpaceChange;
use crate::process::{self, Processes, ScanError};
use crate::profile::{Block, Limits, OffCpu, Window};
use crate::symbolize::{self, Symbolizer};

/// Longest wait for the kernel; the timer on which the ring is read.
const ROUND: Duration = Duration::from_millis(100);

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
    let desk = Desk::new(config.unwind_memory);
    std::thread::scope(|scope| {
        let (to_namer, from_collector) = sync_channel(NAMER_QUEUE);
        let namer = scope.spawn(|| name_frames(config.symbolize.clone(), from_collector));
        let collected = collect(config, stop, progress, (scope, &desk), to_namer);
        let named = match namer.join() {
            Ok(named) => named,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let mut recording = collected?;
        recording.names = named.names;
        recording.losses.merge(&named.losses);
        recording.problems = named.problems;
        Ok(recording)
    })
}

/// The collector: kernel → processes → window, until it is over.
fn collect<'scope>(
    config: &Config,
    stop: &watch::Receiver<bool>,
    progress: &watch::Sender<Progress>,
    (scope, desk): (&'scope Scope<'scope, '_>, &'scope Desk),
    namer: SyncSender<Vec<Frame>>,
) -> Result<Recording, RecordError> {
    let mut session = Session::start(&config.plan)?;
    let began = Instant::now();
    progress.send_modify(|p| p.attached = true);

    let tables = session.take_tables();
    let preparer = tables.map(|tables| Preparer::start(scope, desk, tables)).transpose();
    let preparer = preparer.map_err(RecordError::Threads)?;
    let mut line = Line::new(config, session.facts(), namer, preparer);
    let mut events = Vec::new();
    line.processes.scan()?;
    line.offer_changes();
    loop {
        let left = config.duration.map(|d| d.saturating_sub(began.elapsed()));
        if *stop.borrow() || left.is_some_and(|left| left.is_zero()) {
            break;
        }
        session.poll(left.map_or(ROUND, |left| left.min(ROUND)), &mut events)?;
        events.drain(..).for_each(|event| line.take(&event));
        line.offer_changes();
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

/// The stages that one event passes, in order.
struct Line<'scope> {
    processes: Processes,
    preparer: Option<Preparer<'scope>>,
    /// What the preparer had no time for.
    unprepared: Vec<SpaceChange>,
    off_cpu: OffCpu,
    window: Window,
    period_ns: u64,
    taken: u64,
    namer: SyncSender<Vec<Frame>>,
    unnamed: Vec<Frame>,
}

impl<'scope> Line<'scope> {
    fn new(
        config: &Config,
        facts: &Facts,
        namer: SyncSender<Vec<Frame>>,
        preparer: Option<Preparer<'scope>>,
    ) -> Self {
        Self {
            processes: Processes::new(config.process.clone()),
            preparer,
            unprepared: Vec::new(),
            off_cpu: OffCpu::new(facts.started_at_ns),
            window: Window::new(config.window),
            period_ns: facts.period_ns,
            taken: 0,
            namer,
            unnamed: Vec::new(),
        }
    }

    /// One event, on its way into the window.
    fn take(&mut self, event: &Event) {
        match event {
            Event::OnCpu(raw) => {
                self.taken += 1;
                let at = self.processes.attribute(raw);
                self.window.add(Observation {
                    thread: at.thread,
                    stack: at.stack,
                    activity: Activity::OnCpu,
                    count: 1,
                    ns: self.period_ns,
                });
            }
            Event::Block(raw) => {
                self.taken += 1;
                let at = self.processes.attribute(&raw.stack);
                self.off_cpu.block(Block {
                    thread: at.thread,
                    stack: at.stack,
                    state: raw.state,
                    time_ns: raw.stack.time_ns,
                    since_before: raw.since_before,
                });
            }
            Event::Resume(resume) => {
                if let Some(observation) = self.off_cpu.resume(resume) {
                    self.window.add(observation);
                }
            }
            Event::Exit(exit) => {
                self.off_cpu.exit(exit);
                self.processes.apply(event);
            }
            Event::Mmap(_) | Event::Comm(_) | Event::Fork(_) | Event::SidebandLost(_) => {
                self.processes.apply(event);
            }
        }
    }

    /// Tells the preparer what changed. While it is busy, changes wait, and later ones take the place of
    /// earlier ones.
    fn offer_changes(&mut self) {
        let Some(preparer) = &self.preparer else { return };
        if self.unprepared.is_empty() {
            self.unprepared = self.processes.take_changed();
        }
        if self.unprepared.is_empty() {
            return;
        }
        if let Err(busy) = preparer.offer(std::mem::take(&mut self.unprepared)) {
            self.unprepared = busy;
        }
    }

    /// Gives the namer what is new, if it has room; what it has not room for waits.
    fn offer_frames(&mut self) {
        self.unnamed.extend(self.window.take_new_frames());
        if self.unnamed.is_empty() {
            return;
        }
        match self.namer.try_send(std::mem::take(&mut self.unnamed)) {
            Ok(()) => {}
            Err(TrySendError::Full(frames) | TrySendError::Disconnected(frames)) => {
                self.unnamed = frames;
            }
        }
    }

    /// The last events, what is still blocked, and the last frames for the namer.
    fn finish(mut self, facts: Facts, ending: Ending) -> Recording {
        ending.events.iter().for_each(|event| self.take(event));
        let mut losses = ending.losses;
        losses.merge(&self.preparer.take().map(Preparer::finish).unwrap_or_default());
        let processes = &mut self.processes;
        let describe = |pid, tid| processes.attribute(&nameless(pid, tid)).thread;
        losses.merge(&self.off_cpu.finish(
            ending.stopped_at_ns,
            &ending.threads,
            describe,
            &mut self.window,
        ));
        // Generated code may have got its name since it was first seen.
        self.unnamed.extend(self.window.take_new_frames());
        self.unnamed.extend(generated_code(&self.window));
        // A namer that is gone has panicked, and its join tells.
        let _ = self.namer.send(self.unnamed);
        losses.merge(&self.processes.losses());
        losses.merge(self.window.losses());
        Recording {
            window: self.window,
            names: Names::new(),
            processes: self.processes.process_count(),
            duration: Duration::from_nanos(
                ending.stopped_at_ns.saturating_sub(facts.started_at_ns),
            ),
            facts,
            losses,
            problems: Vec::new(),
        }
    }
}

/// A stack without frames, to ask whose a thread is.
fn nameless(pid: u32, tid: u32) -> RawStack {
    RawStack {
        time_ns: 0,
        pid,
        tid,
        cpu: 0,
        cgroup_id: 0,
        comm: [0; COMM_LEN],
        user: Vec::new(),
        kernel: Vec::new(),
        user_end: WalkEnd::Absent,
        kernel_end: WalkEnd::Absent,
        rest: None,
    }
}

fn generated_code(window: &Window) -> HashSet<Frame> {
    let frames = window.samples().flat_map(|sample| sample.stack.iter());
    frames.filter(|frame| matches!(frame, Frame::Jit { .. })).cloned().collect()
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
