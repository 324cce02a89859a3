//! The line that every event passes: whose it is, what time it stands for, where it is counted.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use super::Config;
use super::control::Services;
use super::governor::Memory;
use super::heat::Heat;
use super::namer::Offers;
use super::preparer::Preparer;
use super::unfinished::{Begun, Stacks};
use super::wanted::Wanted;
use super::windows::Span;
use crate::kernel::control::Processes as Chosen;
use crate::kernel::session::{Ending, Facts};
use crate::model::event::{Event, RawStack, Rest};
use crate::model::frame::{Frame, Stack};
use crate::model::losses::Losses;
use crate::model::observation::{Activity, Observation};
use crate::model::rates::{Rates, period_of};
use crate::model::space::{Finished, SpaceChange};
use crate::process::Processes;
use crate::process::service;
use crate::profile::{Block, Boundary, Limits, OffCpu, Window};

/// A window that nothing more is added to, not yet named.
#[derive(Debug)]
pub(super) struct Closed {
    /// What was counted.
    pub(super) window: Window,
    /// When.
    pub(super) span: Span,
    /// How it was taken.
    pub(super) facts: Facts,
    /// What was turned away in its time.
    pub(super) losses: Losses,
    /// Processes of which a stack was taken, since the recording began.
    pub(super) processes: usize,
    /// What its reader should know.
    pub(super) notes: Vec<String>,
    /// Number of the list of frames that its last are in.
    pub(super) named_by: u64,
    /// How tight memory was at its end.
    pub(super) memory: Memory,
}

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
    limits: Limits,
    tight: Memory,
    /// Patterns of the names of services that are left out.
    excluded: Vec<String>,
    facts: Facts,
    /// What holds now: by it, a sample stands for its time.
    rates: Rates,
    /// What the reader of this window should know.
    notes: Vec<String>,
    pub(super) taken: u64,
    names: Offers,
    /// Windows that found no room to be encoded, and what else the line itself turned away.
    own_losses: Losses,
    /// All losses up to the beginning of this window.
    losses_before: Losses,
}

impl<'scope> Line<'scope> {
    pub(super) fn new(
        config: &Config,
        facts: &Facts,
        names: Offers,
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
            limits: config.window,
            tight: Memory::Free,
            excluded: Vec::new(),
            facts: facts.clone(),
            rates: (&config.plan).into(),
            notes: Vec::new(),
            taken: 0,
            names,
            own_losses: Losses::default(),
            losses_before: Losses::default(),
        }
    }

    /// One event, on its way into the window.
    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::OnCpu(raw) => {
                self.taken += 1;
                let at = self.processes.attribute(raw);
                let stack = self.whole_or_later(raw, at.stack);
                let (count, ns) = (1, self.rates.period_ns(raw.pid));
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
            Event::Rates(change) => self.change_rates(&change.rates),
        }
    }

    /// So much is recorded from here on.
    fn change_rates(&mut self, rates: &Rates) {
        self.rates.clone_from(rates);
        self.facts.frequency = rates.usual_frequency();
        self.facts.period_ns = period_of(rates.usual_frequency());
        self.facts.min_block_ns = u64::try_from(rates.min_block.as_nanos()).unwrap_or(u64::MAX);
    }

    /// Other processes are wanted from now on: their tables are prepared.
    pub(super) fn choose(&mut self, chosen: &Chosen) {
        self.wanted.choose(chosen);
        self.processes.tell_all_again();
    }

    /// How much memory there is from now on. Names that no window needs go at once; a window that begins
    /// later holds less.
    pub(super) fn tighten(&mut self, memory: Memory) {
        self.names.tighten(memory != Memory::Free);
        self.tight = memory;
    }

    /// Limits of the next window.
    fn next_limits(&self) -> Limits {
        let Limits { stacks, frames, samples } = self.limits;
        match self.tight {
            Memory::Free | Memory::Caches => self.limits,
            Memory::Windows => {
                Limits { stacks: stacks / 4, frames: frames / 4, samples: samples / 4 }
            }
        }
    }

    /// Tells the reader of the running window something. A window has room for a few notes.
    pub(super) fn note(&mut self, note: String) {
        const MOST: usize = 16;
        if self.notes.len() < MOST {
            self.notes.push(note);
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

    /// All events up to this moment were taken.
    pub(super) fn tend(&mut self, until_ns: u64) {
        self.processes.forget_gone(until_ns);
    }

    /// Gives the namer what is new, if it has room; what it has not room for waits.
    pub(super) fn offer_frames(&mut self) {
        let new = self.window.take_new_frames();
        self.names.offer(new);
    }

    /// Names services otherwise from now on.
    pub(super) fn name_services(&mut self, services: Services) {
        self.processes.set_services(services.rules);
        self.excluded = services.excluded;
    }

    /// Leaves services out whose names fit one of these patterns.
    pub(super) fn exclude_services(&mut self, patterns: Vec<String>) {
        self.excluded = patterns;
    }

    /// Counts what was turned away elsewhere on the way of a window.
    pub(super) fn add_losses(&mut self, name: &'static str, n: u64) {
        self.own_losses.add(name, n);
    }

    /// What a window had lost that nobody gets is told by the next.
    pub(super) fn pass_on(&mut self, losses: &Losses) {
        self.own_losses.merge(losses);
    }

    /// Ends the window, and begins the next. `kernel` is what the kernel side has turned away so far.
    pub(super) fn end_window(
        &mut self,
        span: Span,
        boundary: Option<&Boundary<'_>>,
        kernel: Losses,
    ) -> Closed {
        self.take_finished();
        // They count as they are; what is observed of them later may have a whole stack.
        self.unfinished.take_waiting().for_each(|observation| self.window.add(observation));
        if let Some(boundary) = boundary {
            let processes = &mut self.processes;
            let describe = |pid, tid| processes.thread(pid, tid);
            self.off_cpu.end_window(boundary, describe, &mut self.window);
        }
        let mut losses = kernel;
        losses.merge(&self.preparer.losses());
        losses.merge(self.off_cpu.losses());
        self.close(span, losses)
    }

    /// The last events and what is still blocked: the last window; and the way to the namer, which has
    /// not seen all of its frames where it was too busy.
    pub(super) fn finish(mut self, span: Span, ending: Ending) -> (Closed, Offers) {
        ending.events.iter().for_each(|event| self.take(event));
        let mut losses = ending.losses;
        let (prepared, answers) = self.preparer.finish();
        losses.merge(&prepared);
        self.finish_stacks(answers);
        self.unfinished.give_up().for_each(|observation| self.window.add(observation));
        let processes = &mut self.processes;
        let describe = |pid, tid| processes.thread(pid, tid);
        let (stopped_at_ns, threads) = (ending.stopped_at_ns, &ending.threads);
        let off_cpu = std::mem::replace(&mut self.off_cpu, OffCpu::new(stopped_at_ns));
        losses.merge(&off_cpu.finish(stopped_at_ns, threads, describe, &mut self.window));
        (self.close(span, losses), self.names)
    }

    /// Takes the window out, with what was turned away in its time: `losses` are those of the stages that
    /// only the caller can ask, since the recording began.
    fn close(&mut self, span: Span, mut losses: Losses) -> Closed {
        let next = Window::new(self.next_limits());
        let mut window = std::mem::replace(&mut self.window, next);
        if !self.excluded.is_empty() {
            let is_excluded =
                |name: &str| self.excluded.iter().any(|glob| service::matches(glob, name));
            window.retain(|thread| !is_excluded(&thread.service));
        }
        self.names.offer(window.take_new_frames());
        // It may have got its name since it was first seen.
        self.names.offer(generated_code(&window));
        losses.merge(&self.processes.losses());
        losses.merge(self.names.losses());
        losses.merge(&self.own_losses);
        let mut since = losses.since(&self.losses_before);
        self.losses_before = losses;
        since.merge(window.losses());
        Closed {
            window,
            span,
            facts: self.facts.clone(),
            notes: std::mem::take(&mut self.notes),
            losses: since,
            processes: self.processes.process_count(),
            named_by: self.names.hurry(),
            memory: self.tight,
        }
    }
}

fn generated_code(window: &Window) -> HashSet<Frame> {
    let frames = window.samples().flat_map(|sample| sample.stack.iter());
    frames.filter(|frame| matches!(frame, Frame::Jit { .. })).cloned().collect()
}
