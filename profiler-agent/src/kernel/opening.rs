//! The beginning of a recording, in three steps: the maps and the side-band are there; the programs are
//! loaded; they are attached. Between the first and the last, the user side can fill the tables by which
//! the very first stack is walked.

use std::time::Instant;

use profiler_common::settings::Settings;

use super::clock::Sampling;
use super::control::Control;
use super::error::KernelError;
use super::facts::Facts;
use super::features::Features;
use super::load::{Chain, Kind, Object, Wanted};
use super::maps::{MapSizes, Maps};
use super::merge::Merge;
use super::own_usage::BpfTime;
use super::pace::Pace;
use super::plan::Plan;
use super::ring::Ring;
use super::scheduler_text::SchedulerText;
use super::session::{SETTLED, Session};
use super::settings::settings;
use super::sideband::Sideband;
use super::tables::Tables;
use super::tracepoints;
use super::waiter::Waiter;
use super::{limits, proc_sleepers, system};

/// The programs of the sampling clock.
const ON_CPU: Chain = Chain {
    entry: "on_cpu",
    tail: "on_cpu_tail",
    deep: "on_cpu_deep",
    array: "TAIL_PERF",
    kind: Kind::PerfEvent,
};

/// A recording of which nothing fires yet. Dropping it gives everything back.
pub struct Opening {
    plan: Plan,
    features: Features,
    settings: Settings,
    cpus: Vec<u32>,
    sideband: Sideband,
    waiter: Waiter,
    ring: Ring,
    maps: Maps,
    scheduler: Option<SchedulerText>,
    flush_log: Option<Box<dyn FnMut() + Send>>,
    control: Control,
    loaded: Loaded,
    object: Object,
    phases: Phases,
}

impl Opening {
    /// Opens the side-band, so that no sample can arrive from a process that nobody knows, and makes the
    /// maps.
    ///
    /// Returns the door to the tables by which stacks are walked as well.
    pub fn begin(plan: &Plan) -> Result<(Self, Tables), KernelError> {
        plan.validate()?;
        plan.pids.iter().try_for_each(|pid| check_process(*pid))?;
        // Takes as long as all the rest, so it goes on beside it.
        let scheduler = plan.event.off_cpu().then(SchedulerText::read);
        let mut phases = Phases::begin();
        let features = Features::probe(plan)?;
        tracing::debug!(?features);
        limits::raise(features.version);
        let mut settings = settings(plan, &features)?;
        phases.end("features");

        let cpus = system::online_cpus()?;
        let sideband = Sideband::open(features.mmap_build_id, &cpus)?;
        let waiter = Waiter::new()?;
        sideband.descriptors().try_for_each(|fd| waiter.add(fd))?;
        phases.end("side-band");

        let (threads, processes) = (system::thread_count()?, system::process_count()?);
        let sizes = MapSizes::new(plan.event, cpus.len(), threads, processes);
        (settings.ring_bytes, settings.slot_mask) = (sizes.ring_bytes(), sizes.slot_mask());
        let (mut object, maps, ring) = Object::create(&settings, sizes, plan.bpf_log, &features)?;
        waiter.add(ring.descriptor())?;
        let tables = object.take_tables(sizes)?;
        let flush_log = if plan.bpf_log { Some(object.logger()?) } else { None };
        phases.end("maps");
        let opening = Self {
            plan: plan.clone(),
            features,
            settings,
            cpus,
            sideband,
            waiter,
            ring,
            maps,
            scheduler,
            flush_log,
            control: Control::new(plan),
            loaded: Loaded::default(),
            object,
            phases,
        };
        Ok((opening, tables))
    }

    /// Loads the programs, which takes most of a start.
    pub fn load(&mut self) -> Result<(), KernelError> {
        self.loaded = load(&self.plan, &self.features, &mut self.object)?;
        self.control.write(&mut self.maps)?;
        self.phases.end("programs");
        Ok(())
    }

    /// Attaches the programs, the clock first, so that both kinds of time begin at once.
    pub fn start(self) -> Result<Session, KernelError> {
        let Self { plan, features, settings, loaded, mut phases, .. } = self;
        phases.end("tables");
        let facts = Facts::new(&plan, &features, loaded.deep, self.cpus.len())?;
        let mut session = Session {
            sampling: None,
            links: Vec::new(),
            pace: Pace::new(facts.started_at_ns, SETTLED),
            merge: Merge::default(),
            facts,
            sideband: self.sideband,
            ring: self.ring,
            scheduler: self.scheduler,
            control: self.control,
            bpf_time: BpfTime::new(loaded.nothing),
            maps: self.maps,
            waiter: self.waiter,
            cpus: self.cpus,
            cpus_missed: 0,
            flush_log: self.flush_log,
            object: self.object,
        };
        attach(&mut session, &plan, &features, &settings, loaded.sleepers)?;
        phases.end("attaching");
        Ok(session)
    }
}

fn attach(
    session: &mut Session,
    plan: &Plan,
    features: &Features,
    settings: &Settings,
    sleepers: bool,
) -> Result<(), KernelError> {
    let Session { object, links, sampling, merge, maps, cpus, .. } = session;
    links.extend(tracepoints::attach_lives(object, features, follows_forks(plan))?);
    if plan.event.on_cpu() {
        let program = object.program_fd(ON_CPU.entry)?;
        *sampling = Some(Sampling::start(features.clock, plan.frequency, program, cpus)?);
    }
    if plan.event.off_cpu() {
        links.push(tracepoints::attach_switch(object, features)?);
        if sleepers {
            tracepoints::visit_sleepers(object)?;
        } else {
            proc_sleepers::visit(settings, plan, maps, |e| merge.push(e))?;
        }
    }
    Ok(())
}

/// What of the optional programs is there.
#[derive(Default)]
struct Loaded {
    /// Every stack may be deep.
    deep: bool,
    /// The iterator over the threads that sleep at the start.
    sleepers: bool,
    /// The program that does nothing.
    nothing: Option<&'static str>,
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
    wanted.extend(switch.is_some().then(|| tracepoints::nothing(features)));
    let there = object.load(&wanted)?;

    let mut deep = true;
    for chain in chains {
        deep &= object.wire(chain, &there)?;
    }
    let nothing = Some(tracepoints::nothing(features).name).filter(|name| there.contains(name));
    Ok(Loaded { deep, sleepers: there.contains(tracepoints::SLEEPERS.name), nothing })
}

const fn follows_forks(plan: &Plan) -> bool {
    plan.follow_forks && !(plan.pids.is_empty() && plan.exclude.pids.is_empty())
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
