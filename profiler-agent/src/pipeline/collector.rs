//! The collector: kernel → processes → windows, until it is over.

use std::collections::{HashSet, VecDeque};
use std::sync::mpsc::TryRecvError;
use std::thread::Scope;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::control::{Command, Control, Recorded};
use super::line::{Closed, Line};
use super::namer::Offers;
use super::preparer::{Desk, Preparer};
use super::steering::Steering;
use super::wanted::Wanted;
use super::windows::{Clocks, Windows};
use super::{Config, RecordError, join, spawn};
use crate::kernel::error::KernelError;
use crate::kernel::opening::Opening;
use crate::kernel::session::{SETTLED, Session};
use crate::kernel::system::{self, run_soon};
use crate::model::event::{Event, ROOM};
use crate::process::Processes;
use crate::profile::Boundary;

/// Longest wait for the kernel; the timer on which the ring is read.
const ROUND: Duration = Duration::from_millis(100);

/// What the kernel side has turned away is asked for so often: each time is a few system calls.
const LOSSES: Duration = Duration::from_millis(500);

/// Programs are attached this long after the beginning at the latest: a moment before, the tables of all
/// processes that run are mostly there.
const START: Duration = Duration::from_millis(230);

/// Where windows go that nothing more is added to; those that find no room come back.
pub(super) trait Outlet {
    /// Takes a window, without waiting.
    fn hand_over(&mut self, window: Closed) -> Result<(), Box<Closed>>;

    /// Takes the last one, however long that takes.
    fn finish(&mut self, window: Closed);
}

/// How the recording is cut.
#[derive(Clone, Debug, Default)]
pub(super) struct Cutting {
    /// Length of a window; `None`: one window, as long as the recording.
    pub(super) length: Option<Duration>,
    /// Patterns of the names of services that are left out.
    pub(super) excluded: Vec<String>,
}

/// Collects until the duration is over or the control says stop.
pub(super) fn collect<'scope>(
    config: &Config,
    Cutting { length, excluded }: Cutting,
    control: &Control,
    (scope, desk): (&'scope Scope<'scope, '_>, &'scope Desk),
    names: Offers,
    outlet: &mut impl Outlet,
) -> Result<(), RecordError> {
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
    let session = opening.start()?;
    control.progress.send_modify(|p| p.attached = true);

    let facts = session.facts();
    let now = Clocks { monotonic_ns: facts.started_at_ns, unix_ns: facts.started_at_unix_ns };
    let windows = length.map_or_else(|| Windows::one(now), |length| Windows::of(length, now));
    let mut line = Line::new(config, facts, names, preparer, processes, wanted);
    line.exclude_services(excluded);
    let collector = Collector {
        off_cpu: config.plan.event.off_cpu(),
        session,
        line,
        windows,
        queue: VecDeque::new(),
        asked: Vec::new(),
        steering: Steering::new(&config.plan, config.budget),
        began: Instant::now(),
        lost: (Instant::now(), 0),
    };
    collector.run(config.duration, control, outlet)
}

/// A running recording.
struct Collector<'scope> {
    session: Session,
    line: Line<'scope>,
    windows: Windows,
    /// Events that belong to the window that is next.
    queue: VecDeque<Event>,
    /// Who waits for a window to end, and not before which moment.
    asked: Vec<(u64, oneshot::Sender<u64>)>,
    off_cpu: bool,
    steering: Steering,
    began: Instant,
    /// What was lost, and when that was asked for.
    lost: (Instant, u64),
}

impl Collector<'_> {
    fn run(
        mut self,
        duration: Option<Duration>,
        control: &Control,
        outlet: &mut impl Outlet,
    ) -> Result<(), RecordError> {
        let mut batch = Vec::new();
        loop {
            let left = duration.map(|d| d.saturating_sub(self.began.elapsed()));
            if *control.stop.borrow() || left.is_some_and(|left| left.is_zero()) {
                break;
            }
            self.obey(control);
            self.session.poll(self.patience(left), &mut batch)?;
            self.queue.extend(batch.drain(..));
            batch.shrink_to(ROOM);
            self.take(outlet)?;
            self.queue.shrink_to(ROOM);
            self.line.tend(self.session.released_until_ns());
            self.line.offer_changes();
            self.line.take_finished();
            self.line.offer_frames();
            self.steer();
            self.report(control);
        }
        self.finish(outlet)
    }

    /// How long the next round may wait.
    fn patience(&self, left: Option<Duration>) -> Duration {
        let now = system::monotonic_ns();
        let end = Duration::from_nanos(self.windows.end_ns().saturating_sub(now));
        // The events of a moment are there when it has settled.
        let end = end.saturating_add(SETTLED);
        left.unwrap_or(ROUND).min(ROUND).min(end)
    }

    fn obey(&mut self, control: &Control) {
        loop {
            match control.commands.try_recv() {
                Ok(Command::Cut(asked)) => {
                    let now_ns = system::monotonic_ns();
                    self.windows.end_soon(now_ns);
                    self.asked.push((now_ns, asked));
                }
                Ok(Command::Burst(wish, answer)) => {
                    // Nobody waits any more: so be it, here and below.
                    let _ = answer.send(self.steering.burst(&wish, &mut self.session));
                }
                Ok(Command::Configure(recorded, answer)) => {
                    let _ = answer.send(self.configure(*recorded).map_err(|e| e.to_string()));
                }
                Ok(Command::Services(services)) => self.line.name_services(services),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            }
        }
    }

    /// Looks at what the agent takes, and gives way where that is too much.
    fn steer(&mut self) {
        let notes = self.steering.tick(&mut self.session);
        notes.into_iter().for_each(|note| self.line.note(note));
        self.line.tighten(self.steering.told.tight);
    }

    fn configure(&mut self, recorded: Recorded) -> Result<(), KernelError> {
        let Recorded { rates, processes, budget } = recorded;
        self.steering.configure(rates, budget, &mut self.session)?;
        if self.session.choose(&processes)? {
            self.line.choose(&processes);
        }
        Ok(())
    }

    /// Takes the events that are there, each in its window.
    fn take(&mut self, outlet: &mut impl Outlet) -> Result<(), KernelError> {
        loop {
            let end_ns = self.windows.end_ns();
            while let Some(event) = self.queue.pop_front_if(|event| event.time_ns() <= end_ns) {
                self.line.take(&event);
                self.session.reuse(event);
            }
            if self.session.released_until_ns() < end_ns {
                return Ok(());
            }
            self.end_window(outlet)?;
        }
    }

    /// Ends the window: all of its events were taken.
    fn end_window(&mut self, outlet: &mut impl Outlet) -> Result<(), KernelError> {
        let now = clocks();
        let at_ns = self.windows.end_ns();
        // Where nobody read events for long, what the kernel's table says is of now, and not of then.
        let is_late = self.windows.behind(now.monotonic_ns) > 0;
        let span = self.windows.end(now);
        for (_, asked) in self.asked.extract_if(.., |(since_ns, _)| *since_ns <= at_ns) {
            // Nobody waits any more: so be it.
            let _ = asked.send(self.windows.start_unix_ns());
        }
        let mut batch = Vec::new();
        let threads = if self.off_cpu { self.session.threads(&mut batch)? } else { Vec::new() };
        self.queue.extend(batch);
        let ended_since: HashSet<_> = self.queue.iter().filter_map(ended_block).collect();
        let boundary = Boundary {
            at_ns,
            threads: &threads,
            ended_since: &ended_since,
            min_block_ns: nanos(self.session.rates().min_block),
            counts_carried: !is_late,
        };
        let kernel = self.session.losses()?;
        let closed = self.line.end_window(span, self.off_cpu.then_some(&boundary), kernel);
        if is_late && closed.window.is_empty() {
            self.line.add_losses("windows_skipped_agent_stopped", 1);
            self.line.pass_on(&closed.losses);
            return Ok(());
        }
        if let Err(closed) = outlet.hand_over(closed) {
            tracing::warn!("a window is lost: those before it are not encoded yet");
            self.line.add_losses("windows_lost_not_encoded", 1);
            self.line.add_losses("samples_lost_with_windows", closed.window.on_cpu().count);
            self.line.add_losses("blocks_lost_with_windows", closed.window.off_cpu().count);
            self.line.pass_on(&closed.losses);
        }
        Ok(())
    }

    fn report(&mut self, control: &Control) {
        if self.lost.0.elapsed() >= LOSSES {
            let lost = self.session.losses().map(|losses| losses.lost());
            self.lost = (Instant::now(), lost.unwrap_or_default());
        }
        let lost = self.lost.1;
        control.progress.send_modify(|p| {
            (p.samples, p.lost, p.elapsed) = (self.line.taken, lost, self.began.elapsed());
            p.rounds += 1;
            p.steered.clone_from(&self.steering.told);
        });
    }

    /// Detaches everything, and hands over the last window.
    fn finish(mut self, outlet: &mut impl Outlet) -> Result<(), RecordError> {
        let fill = self.session.ring_fill();
        tracing::info!(
            peak_bytes = fill.peak_bytes,
            capacity_bytes = fill.capacity_bytes,
            "ring buffer"
        );
        let mut ending = self.session.stop()?;
        self.queue.extend(std::mem::take(&mut ending.events));
        ending.events = self.queue.into();
        let span = self.windows.end_at(ending.stopped_at_ns, clocks());
        let (closed, names) = self.line.finish(span, ending);
        // First the window: it has a patience of its own for names, and the namer may be busy for long.
        outlet.finish(closed);
        names.finish();
        Ok(())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Both clocks now.
fn clocks() -> Clocks {
    let (monotonic_ns, unix_ns) = system::clocks();
    Clocks { monotonic_ns, unix_ns }
}

/// The block that an event ends: its thread, and when it began.
fn ended_block(event: &Event) -> Option<(u32, u64)> {
    match event {
        Event::Resume(resume) if resume.blocked_at_ns != 0 => {
            Some((resume.tid, resume.blocked_at_ns))
        }
        _ => None,
    }
}
