//! One recording: from the first attached program to the last drained record.

use std::path::PathBuf;
use std::time::Duration;

use profiler_common::settings::Settings;
use profiler_common::thread::ThreadEntry;
use profiler_common::walk::{USER_FRAMES_BASE, USER_FRAMES_DEEP};

use super::clock::Sampling;
use super::error::KernelError;
use super::features::Features;
use super::load::{Chain, Kind, Object};
use super::maps::{MapSizes, Maps};
use super::merge::Merge;
use super::pace::Pace;
use super::plan::{EventChoice, Plan};
use super::ring::Ring;
pub use super::ring::RingFill;
use super::settings::settings;
use super::sideband::Sideband;
use super::tracepoints::{self, Link};
use super::waiter::Waiter;
use super::{limits, proc_sleepers, system};
use crate::model::event::Event;
use crate::model::losses::Losses;

/// The programs of the sampling clock.
const ON_CPU: Chain = Chain {
    entry: "on_cpu",
    tail: "on_cpu_tail",
    deep: "on_cpu_deep",
    array: "TAIL_PERF",
    kind: Kind::PerfEvent,
};

/// So long a record may take from its time stamp to its place in a buffer.
const SETTLED_NS: u64 = 1_000_000;

/// What stays true for the whole recording, for titles and profile comments.
#[derive(Clone, Debug)]
pub struct Facts {
    /// When the recording began (CLOCK_MONOTONIC, ns).
    pub started_at_ns: u64,
    /// The same moment since the Unix epoch, in ns.
    pub started_at_unix_ns: u64,
    /// What is recorded.
    pub event: EventChoice,
    /// The sampling clock: `cycles` or `cpu-clock`.
    pub clock: &'static str,
    /// Samples per second and CPU.
    pub frequency: u32,
    /// What one on-CPU sample stands for, in ns.
    pub period_ns: u64,
    /// Shorter blocks are not in the recording, in ns.
    pub min_block_ns: u64,
    /// Deepest user stack.
    pub max_user_frames: u32,
    /// `uname -r`.
    pub kernel_release: String,
    /// `uname -n`.
    pub hostname: String,
    /// `uname -m`.
    pub arch: &'static str,
    /// CPUs that were online at the start.
    pub cpus: usize,
}

/// What is left when a recording ends.
#[derive(Debug)]
pub struct Ending {
    /// The last events, in the order of time, none later than `stopped_at_ns`.
    pub events: Vec<Event>,
    /// When the recording ended (CLOCK_MONOTONIC, ns).
    pub stopped_at_ns: u64,
    /// Threads that left a CPU at least once, by thread id; `blocked_at_ns` is not 0 where it has not
    /// come back.
    pub threads: Vec<(u32, ThreadEntry)>,
    /// All that was turned away.
    pub losses: Losses,
}

/// A running recording. Dropping it detaches everything; nothing is pinned, so nothing stays behind
/// either when the agent is killed.
pub struct Session {
    facts: Facts,
    sampling: Option<Sampling>,
    links: Vec<Link>,
    sideband: Sideband,
    ring: Ring,
    maps: Maps,
    merge: Merge,
    waiter: Waiter,
    pace: Pace,
    cpus: Vec<u32>,
    flush_log: Option<Box<dyn FnMut() + Send>>,
    /// Holds the programs that are reached by tail calls.
    object: Object,
}

impl Session {
    /// Loads and attaches all that the plan needs. The side-band comes first, so that no sample can
    /// arrive from a process that nobody knows; then everything is loaded, and only then attached, the
    /// clock first, so that both kinds of time begin at once.
    pub fn start(plan: &Plan) -> Result<Self, KernelError> {
        plan.validate()?;
        plan.pids.iter().try_for_each(|pid| check_process(*pid))?;
        let features = Features::probe(plan)?;
        limits::raise(features.version);
        let settings = settings(plan, &features)?;
        let cpus = system::online_cpus()?;
        let sideband = Sideband::open(features.mmap_build_id, &cpus)?;
        let waiter = Waiter::new()?;
        sideband.descriptors().try_for_each(|fd| waiter.add(fd))?;

        let sizes = MapSizes::new(plan.event, cpus.len(), system::thread_count()?);
        let (mut object, mut maps, ring) =
            Object::create(&settings, sizes, plan.bpf_log, &features)?;
        waiter.add(ring.descriptor())?;
        let flush_log = if plan.bpf_log { Some(object.logger()?) } else { None };
        let deep = load(plan, &features, &mut object)?;

        let mut links = Vec::new();
        if settings.filter_pids != 0 && plan.follow_forks {
            links.push(tracepoints::follow_forks(&mut object, &features)?);
        }
        maps.want(&plan.pids)?;
        let facts = facts(plan, &features, deep, cpus.len())?;
        let mut session = Self {
            sampling: None,
            pace: Pace::new(facts.started_at_ns),
            merge: Merge::default(),
            facts,
            links,
            sideband,
            ring,
            maps,
            waiter,
            cpus,
            flush_log,
            object,
        };
        session.attach(plan, &features, &settings)?;
        Ok(session)
    }

    fn attach(
        &mut self,
        plan: &Plan,
        features: &Features,
        settings: &Settings,
    ) -> Result<(), KernelError> {
        let object = &mut self.object;
        if plan.event.on_cpu() {
            let program = object.program_fd(ON_CPU.entry)?;
            let sampling = Sampling::start(features.clock, plan.frequency, program, &self.cpus)?;
            self.sampling = Some(sampling);
        }
        if plan.event.off_cpu() {
            self.links.push(tracepoints::attach_switch(object, features)?);
            if features.sleepers {
                tracepoints::visit_sleepers(object)?;
            } else {
                let merge = &mut self.merge;
                proc_sleepers::visit(settings, &plan.pids, &mut self.maps, |e| merge.push(e))?;
            }
        }
        Ok(())
    }

    /// Waits up to `timeout` for something to read and appends it to `events`, in the order of time.
    /// What is younger than a millisecond stays for the next round, since a record of another CPU may
    /// still be under way.
    pub fn poll(&mut self, timeout: Duration, events: &mut Vec<Event>) -> Result<(), KernelError> {
        let wait = self.pace.wait(system::monotonic_ns(), timeout);
        std::thread::sleep(wait.pause);
        self.waiter.wait(wait.listen)?;

        let now = system::monotonic_ns();
        self.pace.round(now);
        self.drain();
        if self.pace.hotplug_is_due(now) {
            self.follow_cpus()?;
        }
        self.merge.release(now.saturating_sub(SETTLED_NS), events);
        Ok(())
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
        Ok(losses)
    }

    /// The ring before the side-band: what a sample's process did before it is then there as well.
    fn drain(&mut self) {
        let Self { ring, sideband, merge, flush_log, .. } = self;
        ring.drain(|event| merge.push(event));
        sideband.drain(|event| merge.push(event));
        if let Some(flush) = flush_log {
            flush();
        }
    }

    fn follow_cpus(&mut self) -> Result<(), KernelError> {
        let cpus = system::online_cpus()?;
        if cpus == self.cpus {
            return Ok(());
        }
        for descriptor in self.sideband.follow(&cpus)? {
            self.waiter.add(descriptor)?;
        }
        if let Some(sampling) = &mut self.sampling {
            sampling.follow(&cpus)?;
        }
        self.cpus = cpus;
        Ok(())
    }
}

/// Loads the programs that the plan needs. Returns whether every stack may be deep.
fn load(plan: &Plan, features: &Features, object: &mut Object) -> Result<bool, KernelError> {
    let mut deep = features.deep_stacks;
    if plan.event.on_cpu() {
        deep &= object.load_chain(ON_CPU, features.deep_stacks)?;
    }
    if plan.event.off_cpu() {
        deep &= tracepoints::load_switch(object, features)?;
        if features.sleepers {
            tracepoints::load_sleepers(object)?;
        }
    }
    Ok(deep)
}

fn facts(plan: &Plan, features: &Features, deep: bool, cpus: usize) -> Result<Facts, KernelError> {
    Ok(Facts {
        event: plan.event,
        clock: features.clock.name(),
        frequency: plan.frequency,
        period_ns: 1_000_000_000 / u64::from(plan.frequency.max(1)),
        min_block_ns: u64::try_from(plan.min_block.as_nanos()).unwrap_or(u64::MAX),
        max_user_frames: if deep { USER_FRAMES_DEEP } else { USER_FRAMES_BASE },
        kernel_release: features.release.clone(),
        hostname: system::hostname()?,
        arch: system::ARCH,
        cpus,
        started_at_ns: system::monotonic_ns(),
        started_at_unix_ns: system::unix_ns(),
    })
}

/// A process, and not a thread, of this id must exist.
fn check_process(pid: u32) -> Result<(), KernelError> {
    let status = std::fs::read_to_string(PathBuf::from(format!("/proc/{pid}/status")));
    let status = status.map_err(|_| KernelError::NoProcess(pid))?;
    let leader = status.lines().find_map(|l| l.strip_prefix("Tgid:")?.trim().parse().ok());
    match leader {
        Some(leader) if leader != pid => Err(KernelError::NotAProcess { tid: pid, pid: leader }),
        _ => Ok(()),
    }
}

/// Ends the recording at one moment: what was seen later did not happen, a thread that came back later
/// came back at the end.
fn cut_off(stopped_at_ns: u64, events: &mut Vec<Event>, threads: &mut [(u32, ThreadEntry)]) {
    for event in events.iter_mut() {
        if let Event::Resume(resume) = event {
            resume.resumed_at_ns = resume.resumed_at_ns.min(stopped_at_ns);
        }
    }
    events.retain(|e| match e {
        Event::Resume(resume) => resume.blocked_at_ns <= stopped_at_ns,
        other => other.time_ns() <= stopped_at_ns,
    });
    for (_, entry) in threads {
        if entry.blocked_at_ns > stopped_at_ns {
            entry.blocked_at_ns = 0;
        }
    }
}

#[cfg(test)]
mod root_tests;

#[cfg(test)]
mod tests {
    use profiler_common::thread::{Skipped, THREAD_STATES};

    use super::*;
    use crate::model::event::{Exit, Resume};

    #[test]
    fn a_recording_ends_at_one_moment() {
        let resume = |blocked_at_ns, resumed_at_ns| {
            let skipped = [Skipped::default(); THREAD_STATES];
            Event::Resume(Resume { pid: 1, tid: 1, blocked_at_ns, resumed_at_ns, skipped })
        };
        let exit = |time_ns| Event::Exit(Exit { time_ns, pid: 1, tid: 1 });
        let mut events =
            vec![exit(99), resume(50, 100), resume(60, 130), resume(120, 130), exit(101)];
        let blocked = |blocked_at_ns| (1, ThreadEntry { blocked_at_ns, ..ThreadEntry::default() });
        let mut threads = [blocked(90), blocked(110)];
        cut_off(100, &mut events, &mut threads);
        let ends: Vec<u64> = events.iter().map(Event::time_ns).collect();
        assert_eq!(ends, [99, 100, 100]);
        assert_eq!(threads.map(|(_, t)| t.blocked_at_ns), [90, 0]);
    }
}
