//! One recording: from the first attached program to the last drained record.

use std::time::{Duration, Instant};

use profiler_common::settings::Settings;

use super::clock::Sampling;
pub use super::ending::Ending;
use super::ending::cut_off;
use super::error::KernelError;
pub use super::facts::Facts;
use super::features::Features;
use super::followed::Followed;
use super::load::{Chain, Kind, Object, Wanted};
use super::maps::{MapSizes, Maps};
use super::merge::Merge;
use super::pace::Pace;
use super::plan::Plan;
use super::ring::Ring;
pub use super::ring::RingFill;
use super::scheduler_text::SchedulerText;
use super::settings::settings;
use super::sideband::Sideband;
use super::tables::Tables;
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
const SETTLED: Duration = Duration::from_millis(1);

/// A running recording. Dropping it detaches everything; nothing is pinned, so nothing stays behind
/// either when the agent is killed.
pub struct Session {
    facts: Facts,
    sampling: Option<Sampling>,
    links: Vec<Link>,
    sideband: Sideband,
    ring: Ring,
    scheduler: Option<SchedulerText>,
    followed: Option<Followed>,
    maps: Maps,
    merge: Merge,
    waiter: Waiter,
    pace: Pace,
    cpus: Vec<u32>,
    cpus_missed: u64,
    flush_log: Option<Box<dyn FnMut() + Send>>,
    tables: Option<Tables>,
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
        // Takes as long as all the rest, so it goes on beside it.
        let scheduler = plan.event.off_cpu().then(SchedulerText::read);
        let mut phases = Phases::begin();
        let features = Features::probe(plan)?;
        tracing::debug!(?features);
        limits::raise(features.version);
        let settings = settings(plan, &features)?;
        phases.end("features");

        let cpus = system::online_cpus()?;
        let sideband = Sideband::open(features.mmap_build_id, &cpus)?;
        let waiter = Waiter::new()?;
        sideband.descriptors().try_for_each(|fd| waiter.add(fd))?;
        phases.end("side-band");

        let (threads, processes) = (system::thread_count()?, system::process_count()?);
        let sizes = MapSizes::new(plan.event, cpus.len(), threads, processes);
        let (mut object, mut maps, ring) =
            Object::create(&settings, sizes, plan.bpf_log, &features)?;
        waiter.add(ring.descriptor())?;
        let tables = object.take_tables()?;
        let flush_log = if plan.bpf_log { Some(object.logger()?) } else { None };
        phases.end("maps");
        let loaded = load(plan, &features, &mut object)?;
        maps.want(&plan.pids)?;
        phases.end("programs");

        let facts = Facts::new(plan, &features, loaded.deep, cpus.len())?;
        let mut session = Self {
            sampling: None,
            links: Vec::new(),
            pace: Pace::new(facts.started_at_ns, SETTLED),
            merge: Merge::default(),
            facts,
            sideband,
            ring,
            scheduler,
            followed: follows_forks(plan).then(|| Followed::new(&plan.pids)),
            maps,
            waiter,
            cpus,
            cpus_missed: 0,
            flush_log,
            tables: Some(tables),
            object,
        };
        session.attach(plan, &features, &settings, loaded.sleepers)?;
        phases.end("attaching");
        Ok(session)
    }

    fn attach(
        &mut self,
        plan: &Plan,
        features: &Features,
        settings: &Settings,
        sleepers: bool,
    ) -> Result<(), KernelError> {
        let object = &mut self.object;
        self.links.extend(tracepoints::attach_lives(object, features, follows_forks(plan))?);
        if plan.event.on_cpu() {
            let program = object.program_fd(ON_CPU.entry)?;
            let sampling = Sampling::start(features.clock, plan.frequency, program, &self.cpus)?;
            self.sampling = Some(sampling);
        }
        if plan.event.off_cpu() {
            self.links.push(tracepoints::attach_switch(object, features)?);
            if sleepers {
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
        if self.waiter.wait(wait.listen)? {
            std::thread::sleep(wait.settle);
        }

        let now = system::monotonic_ns();
        self.pace.round(now);
        self.drain();
        if self.pace.hotplug_is_due(now)
            && let Err(error) = self.follow_cpus()
        {
            // What is recorded so far, and on the other CPUs, is worth more than this one.
            tracing::warn!("a CPU that came or went is not followed: {error}");
            self.cpus_missed += 1;
        }
        let known = events.len();
        self.merge.release(now.saturating_sub(SETTLED.as_nanos() as u64), events);
        if let Some(followed) = &mut self.followed {
            let changes = events.iter().skip(known).filter_map(|event| followed.apply(event));
            changes.into_iter().try_for_each(|change| self.maps.follow(change))?;
        }
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

    /// The tables that tell the programs how to unwind, to the one who writes them from now on.
    pub fn take_tables(&mut self) -> Option<Tables> {
        self.tables.take()
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
        if cpus == self.cpus {
            return Ok(());
        }
        self.cpus = cpus;
        for descriptor in self.sideband.follow(&self.cpus)? {
            self.waiter.add(descriptor)?;
        }
        self.sampling.as_mut().map_or(Ok(()), |sampling| sampling.follow(&self.cpus))
    }
}

/// What of the optional programs is there.
struct Loaded {
    /// Every stack may be deep.
    deep: bool,
    /// The iterator over the threads that sleep at the start.
    sleepers: bool,
}

/// Loads the programs that the plan needs.
fn load(plan: &Plan, features: &Features, object: &mut Object) -> Result<Loaded, KernelError> {
    let on_cpu = plan.event.on_cpu().then_some(ON_CPU);
    let switch = plan.event.off_cpu().then(|| tracepoints::switch(features));
    let chains = [on_cpu, switch].into_iter().flatten();

    let mut wanted: Vec<Wanted> =
        chains.clone().flat_map(|chain| chain.programs(features.deep_stacks)).collect();
    wanted.extend(tracepoints::lives(features, follows_forks(plan)));
    wanted.extend((switch.is_some() && features.sleepers).then_some(tracepoints::SLEEPERS));
    let there = object.load(&wanted)?;

    let mut deep = true;
    for chain in chains {
        deep &= object.wire(chain, &there)?;
    }
    Ok(Loaded { deep, sleepers: there.contains(tracepoints::SLEEPERS.name) })
}

const fn follows_forks(plan: &Plan) -> bool {
    plan.follow_forks && !plan.pids.is_empty()
}

/// A process, and not a thread, of this id must exist.
fn check_process(pid: u32) -> Result<(), KernelError> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.map_err(|_| KernelError::NoProcess(pid))?;
    let leader = status.lines().find_map(|l| l.strip_prefix("Tgid:")?.trim().parse().ok());
    match leader {
        Some(leader) if leader != pid => Err(KernelError::NotAProcess { tid: pid, pid: leader }),
        _ => Ok(()),
    }
}

/// Tells the log how long each phase of the start took.
struct Phases(Instant);

impl Phases {
    fn begin() -> Self {
        Self(Instant::now())
    }

    fn end(&mut self, phase: &'static str) {
        tracing::debug!(phase, took = ?self.0.elapsed(), "starting");
        self.0 = Instant::now();
    }
}

#[cfg(test)]
mod root_tests;
