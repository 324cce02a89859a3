//! The line that every event passes: whose it is, what time it stands for, where it is counted.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

use profiler_common::record::COMM_LEN;
use profiler_common::walk::WalkEnd;

use super::heat::Heat;
use super::preparer::Preparer;
use super::unfinished::{Begun, Stacks};
use super::wanted::Wanted;
use super::{Config, Recording};
use crate::kernel::session::{Ending, Facts};
use crate::model::event::{Event, RawStack, Rest};
use crate::model::frame::{Frame, Stack};
use crate::model::names::Names;
use crate::model::observation::{Activity, Observation};
use crate::model::space::{Finished, SpaceChange};
use crate::process::Processes;
use crate::profile::{Block, OffCpu, Window};

/// The stages that one event passes, in order.
pub(super) struct Line<'scope> {
    processes: Processes,
    preparer: Preparer<'scope>,
    wanted: Wanted,
    /// What the preparer had no time for.
    unprepared: Vec<SpaceChange>,
    /// Stacks that are not whole yet.
    unfinished: Stacks,
    heat: Heat,
    off_cpu: OffCpu,
    window: Window,
    period_ns: u64,
    pub(super) taken: u64,
    namer: SyncSender<Vec<Frame>>,
    unnamed: Vec<Frame>,
}

impl<'scope> Line<'scope> {
    pub(super) fn new(
        config: &Config,
        facts: &Facts,
        namer: SyncSender<Vec<Frame>>,
        preparer: Preparer<'scope>,
        processes: Processes,
        wanted: Wanted,
    ) -> Self {
        Self {
            processes,
            preparer,
            wanted,
            unprepared: Vec::new(),
            unfinished: Stacks::default(),
            heat: Heat::new(Instant::now()),
            off_cpu: OffCpu::new(facts.started_at_ns),
            window: Window::new(config.window),
            period_ns: facts.period_ns,
            taken: 0,
            namer,
            unnamed: Vec::new(),
        }
    }

    /// One event, on its way into the window.
    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::OnCpu(raw) => {
                self.taken += 1;
                let at = self.processes.attribute(raw);
                let stack = self.whole_or_later(raw, at.stack);
                let (count, ns) = (1, self.period_ns);
                let activity = Activity::OnCpu;
                self.count(Observation { thread: at.thread, stack, activity, count, ns });
            }
            Event::Block(raw) => {
                self.taken += 1;
                let at = self.processes.attribute(&raw.stack);
                let stack = self.whole_or_later(&raw.stack, at.stack);
                self.off_cpu.block(Block {
                    thread: at.thread,
                    stack,
                    state: raw.state,
                    time_ns: raw.stack.time_ns,
                    since_before: raw.since_before,
                });
            }
            Event::Resume(resume) => {
                let observation = self.off_cpu.resume(resume);
                observation.into_iter().for_each(|observation| self.count(observation));
            }
            Event::Exit(exit) => {
                self.off_cpu.exit(exit);
                self.processes.apply(event);
            }
            Event::Mmap(_) | Event::Comm(_) | Event::Fork(_) | Event::SidebandLost(_) => {
                self.wanted.apply(event);
                self.processes.apply(event);
            }
        }
    }

    fn count(&mut self, observation: Observation) {
        if let Some(whole) = self.unfinished.pass(observation) {
            self.window.add(whole);
        }
    }

    /// The stack of an event; where its walk has to go on, it is handed to the preparer, and what is
    /// known of it stands for it until then.
    fn whole_or_later(&mut self, raw: &RawStack, known: Stack) -> Stack {
        self.heat.add(&known);
        let Some(rest) = &raw.rest else { return known };
        let begun = Begun {
            raw: RawStack { rest: None, ..raw.clone() },
            space: self.processes.space(raw.pid),
            // Not shared with another stack: by it, this one is known.
            stack: known.iter().cloned().collect(),
        };
        let stack = Arc::clone(&begun.stack);
        let question = self.unfinished.keep(begun, Rest::clone(rest));
        if let Err(refused) = self.preparer.ask(question) {
            self.unfinished.finish(refused.ticket);
        }
        stack
    }

    /// Counts what waited for the stacks whose walk has come to its end.
    pub(super) fn take_finished(&mut self) {
        self.finish_stacks(self.preparer.take_finished());
    }

    fn finish_stacks(&mut self, answers: Vec<Finished>) {
        for Finished { ticket, frames, end } in answers {
            let Some((mut begun, waiting)) = self.unfinished.finish(ticket) else { continue };
            begun.raw.user.extend(frames);
            begun.raw.user_end = end;
            let stack = self.processes.attribute_in(&begun.raw, &begun.space);
            self.heat.add(&stack);
            self.off_cpu.replace_stack(begun.raw.tid, &begun.stack, &stack);
            for observation in waiting {
                self.window.add(Observation { stack: Arc::clone(&stack), ..observation });
            }
        }
    }

    /// Tells the preparer what changed. While it is busy, changes wait, and later ones take the place of
    /// earlier ones.
    pub(super) fn offer_changes(&mut self) {
        if let Some(touched) = self.heat.take(Instant::now()) {
            self.preparer.tell(touched);
        }
        if self.unprepared.is_empty() {
            self.unprepared = self.wanted.of(self.processes.take_changed());
        }
        if self.unprepared.is_empty() {
            return;
        }
        if let Err(busy) = self.preparer.offer(std::mem::take(&mut self.unprepared)) {
            self.unprepared = busy;
        }
    }

    /// Gives the namer what is new, if it has room; what it has not room for waits.
    pub(super) fn offer_frames(&mut self) {
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
    pub(super) fn finish(mut self, facts: Facts, ending: Ending) -> Recording {
        ending.events.iter().for_each(|event| self.take(event));
        let mut losses = ending.losses;
        let (prepared, answers) = self.preparer.finish();
        losses.merge(&prepared);
        self.finish_stacks(answers);
        self.unfinished.give_up().for_each(|observation| self.window.add(observation));
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
pub(super) fn nameless(pid: u32, tid: u32) -> RawStack {
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
