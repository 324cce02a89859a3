//! One recording: from the first attached program to the last drained record.

use std::time::Duration;

use super::clock::Sampling;
use super::control::Control;
pub use super::ending::Ending;
use super::ending::cut_off;
use super::error::KernelError;
pub use super::facts::Facts;
use super::features::Features;
use super::load::Object;
use super::maps::Maps;
use super::merge::Merge;
use super::opening::Opening;
use super::own_usage::BpfTime;
use super::pace::Pace;
use super::plan::Plan;
use super::ring::Ring;
pub use super::ring::RingFill;
use super::scheduler_text::SchedulerText;
use super::sideband::Sideband;
use super::system;
use super::tracepoints::Link;
use super::waiter::Waiter;
use profiler_common::thread::ThreadEntry;

use crate::model::event::Event;
use crate::model::losses::Losses;

/// So long a record may take from its time stamp to its place in a buffer.
pub const SETTLED: Duration = Duration::from_millis(1);

/// A running recording. Dropping it detaches everything; nothing is pinned, so nothing stays behind
/// either when the agent is killed.
pub struct Session {
    pub(super) facts: Facts,
    pub(super) sampling: Option<Sampling>,
    pub(super) links: Vec<Link>,
    pub(super) sideband: Sideband,
    pub(super) ring: Ring,
    pub(super) scheduler: Option<SchedulerText>,
    pub(super) control: Control,
    pub(super) bpf_time: BpfTime,
    pub(super) maps: Maps,
    pub(super) merge: Merge,
    pub(super) waiter: Waiter,
    pub(super) pace: Pace,
    pub(super) cpus: Vec<u32>,
    pub(super) cpus_missed: u64,
    pub(super) flush_log: Option<Box<dyn FnMut() + Send>>,
    /// Holds the programs that are reached by tail calls.
    pub(super) object: Object,
}

impl Session {
    /// Whether the kernel would let this be recorded, as far as that shows before anything is opened.
    ///
    /// # Errors
    /// What is missing, and the way out.
    pub fn check(plan: &Plan) -> Result<(), KernelError> {
        Features::probe(plan).map(drop)
    }

    /// Loads and attaches all that the plan needs, at once: nobody will fill the tables by which stacks are
    /// walked.
    pub fn start(plan: &Plan) -> Result<Self, KernelError> {
        // The maps must live until the programs are loaded, which then hold them.
        let (mut opening, _tables) = Opening::begin(plan)?;
        opening.load()?;
        opening.start()
    }

    /// Waits up to `timeout` for something to read and appends it to `events`, in the order of time.
    /// What is younger than a millisecond stays for the next round, since a record of another CPU may
    /// still be under way.
    pub fn poll(&mut self, timeout: Duration, events: &mut Vec<Event>) -> Result<(), KernelError> {
        let wait = self.pace.wait(system::monotonic_ns(), timeout);
        std::thread::sleep(wait.pause);
        if self.waiter.wait(wait.listen)? {
            std::thread::sleep(wait.settle);
        }

        let now = system::monotonic_ns();
        self.pace.round(now);
        self.drain();
        if self.pace.hotplug_is_due(now) {
            if let Err(error) = self.follow_cpus() {
                // What is recorded so far, and on the other CPUs, is worth more than this one.
                tracing::warn!("a CPU that came or went is not followed: {error}");
                self.cpus_missed += 1;
            }
            self.control.sweep(&mut self.maps)?;
        }
        self.release(now.saturating_sub(SETTLED.as_nanos() as u64), events)
    }

    /// Takes back an event that was taken: its memory is for the next ones.
    pub fn reuse(&mut self, event: Event) {
        self.ring.reuse(event);
    }

    /// Up to this moment all events were handed over, unless they came too late (CLOCK_MONOTONIC, ns).
    pub fn released_until_ns(&self) -> u64 {
        self.merge.released_until_ns()
    }

    /// Every thread that left a CPU at least once and still lives, as it is now; what happened until now
    /// is appended to `events`.
    pub fn threads(
        &mut self,
        events: &mut Vec<Event>,
    ) -> Result<Vec<(u32, ThreadEntry)>, KernelError> {
        let threads = self.maps.threads();
        let read_at = system::monotonic_ns();
        std::thread::sleep(SETTLED);
        self.drain();
        self.release(read_at, events)?;
        Ok(threads)
    }

    /// Hands over the events up to this moment.
    fn release(&mut self, until_ns: u64, events: &mut Vec<Event>) -> Result<(), KernelError> {
        let known = events.len();
        self.merge.release(until_ns, events);
        let Self { control, maps, .. } = self;
        events.iter().skip(known).try_for_each(|event| control.follow(event, maps))
    }

    /// Detaches everything and hands over what is left.
    pub fn stop(mut self) -> Result<Ending, KernelError> {
        // The time is taken first: detaching may take long, and what happens meanwhile is cut off.
        let stopped_at_ns = system::monotonic_ns();
        self.sampling = None;
        self.links.clear();
        self.drain();
        let mut events = Vec::new();
        self.merge.release_all(&mut events);
        let mut threads = self.maps.threads();
        cut_off(stopped_at_ns, &mut events, &mut threads);
        Ok(Ending { events, stopped_at_ns, threads, losses: self.losses()? })
    }

    /// CPUs that are online.
    pub fn cpus(&self) -> usize {
        self.cpus.len()
    }

    /// What stays true for the whole recording.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// How full the ring buffer gets.
    pub fn ring_fill(&self) -> RingFill {
        self.ring.fill()
    }

    /// All that was turned away so far.
    pub fn losses(&self) -> Result<Losses, KernelError> {
        let mut losses = self.maps.losses()?;
        losses.add("ring_records_malformed", self.ring.malformed());
        losses.add("sideband_records_malformed", self.sideband.malformed());
        losses.add("sideband_records_lost", self.sideband.lost());
        losses.add("events_out_of_order", self.merge.late());
        losses.add("cpus_not_followed", self.cpus_missed);
        Ok(losses)
    }

    /// The ring before the side-band: what a sample's process did before it is then there as well.
    fn drain(&mut self) {
        let Self { ring, scheduler, sideband, merge, flush_log, .. } = self;
        ring.drain(|mut event| {
            if let (Event::Block(block), Some(scheduler)) = (&mut event, scheduler.as_mut()) {
                scheduler.cut(&mut block.stack.kernel);
            }
            merge.push(event);
        });
        sideband.drain(|event| merge.push(event));
        if let Some(flush) = flush_log {
            flush();
        }
    }

    fn follow_cpus(&mut self) -> Result<(), KernelError> {
        let cpus = system::online_cpus()?;
        let stopped = self.sideband.stopped();
        if cpus == self.cpus && stopped.is_empty() {
            return Ok(());
        }
        self.cpus = cpus;
        let lasting: Vec<u32> =
            self.cpus.iter().copied().filter(|cpu| !stopped.contains(cpu)).collect();
        self.sideband.follow(&lasting)?;
        if let Some(sampling) = &mut self.sampling {
            sampling.follow(&lasting)?;
        }
        for descriptor in self.sideband.follow(&self.cpus)? {
            self.waiter.add(descriptor)?;
        }
        self.sampling.as_mut().map_or(Ok(()), |sampling| sampling.follow(&self.cpus))
    }
}

#[cfg(test)]
mod root_tests;
