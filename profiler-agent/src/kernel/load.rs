//! The BPF object: its maps are created, and the programs that a plan needs are loaded and wired.
//! Nothing is pinned, so that the kernel takes all of it back when the agent is gone, however it went.

use std::collections::{HashMap, HashSet};
use std::error::Error;

use aya::maps::ProgramArray;
use aya::programs::{Program, ProgramError, ProgramFd};
use aya::{Btf, Ebpf, EbpfLoader, VerifierLogLevel, include_bytes_aligned};
use profiler_common::settings::Settings;

use super::error::KernelError;
use super::features::{Features, KernelVersion};
use super::limits;
use super::maps::{self, MapSizes, Maps};
use super::privileges;
use super::ring::Ring;
use super::tables::Tables;

/// Built by `cargo xtask build-ebpf`.
static OBJECT: &[u8] = include_bytes_aligned!("../../bpf/profiler.bpf.o");

/// Lines of the verifier's log that an error shows: the reason stands at the end.
const LOG_LINES: usize = 12;

/// Levels of aya-log: nothing, and all up to `debug`.
const LOG_OFF: u8 = 0;
const LOG_DEBUG: u8 = 4;
/// Where the level is, and the messages.
const LOG_LEVEL: &str = "AYA_LOG_LEVEL";
const LOG_MESSAGES: &str = "AYA_LOGS";

/// How a program is loaded.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// For a perf event.
    PerfEvent,
    /// For the BTF tracepoint of this name.
    Btf(&'static str),
    /// For a classic tracepoint.
    Classic,
    /// For the iterator over all tasks.
    TaskIterator,
}

/// Three programs that follow each other on one stack, since a tail call needs programs of one type.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    /// What fires.
    pub entry: &'static str,
    /// Four frames at a time.
    pub tail: &'static str,
    /// Beyond the last tail call, where `bpf_loop` is.
    pub deep: &'static str,
    /// The program array that the first two look the others up in.
    pub array: &'static str,
    /// How all three are loaded.
    pub kind: Kind,
}

/// A program that a recording wants.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Which.
    pub name: &'static str,
    /// How it is loaded.
    pub kind: Kind,
    /// How it is without the program, should this kernel refuse it; `None` where nothing is then.
    pub without: Option<&'static str>,
}

impl Chain {
    /// Its programs.
    pub fn programs(self, deep: bool) -> impl Iterator<Item = Wanted> {
        let (needed, kind) = ([self.entry, self.tail], self.kind);
        let needed = needed.map(|name| Wanted { name, kind, without: None });
        let without = Some("stacks end at the base depth");
        needed.into_iter().chain(deep.then_some(Wanted { name: self.deep, kind, without }))
    }
}

/// Runs of programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// What they took together, ns.
    pub ns: u64,
    /// How many there were.
    pub count: u64,
}

/// Slots of the program arrays.
const TAIL_SLOT: u32 = 0;
const DEEP_SLOT: u32 = 1;

/// The loaded object.
pub struct Object {
    ebpf: Ebpf,
    version: KernelVersion,
}

impl Object {
    /// Creates the maps; no program is loaded yet.
    pub fn create(
        settings: &Settings,
        sizes: MapSizes,
        bpf_log: bool,
        features: &Features,
    ) -> Result<(Self, Maps, Ring), KernelError> {
        let level = if bpf_log { LOG_DEBUG } else { LOG_OFF };
        let mut loader = EbpfLoader::new();
        loader
            // Of a program that is refused: it is then loaded again, with a log.
            .verifier_log_level(VerifierLogLevel::DEBUG)
            .override_global("SETTINGS", settings, true)
            .override_global(LOG_LEVEL, &level, false);
        sizes.apply(&mut loader);
        if !bpf_log {
            // A ring of one page, since nothing is written to it.
            loader.map_max_entries(LOG_MESSAGES, 1);
        }
        let mut ebpf = loader.load(OBJECT).map_err(|e| not_created(&e, features.version))?;
        let (maps, ring) = Maps::take(&mut ebpf, sizes)?;
        Ok((Self { ebpf, version: features.version }, maps, ring))
    }

    /// Loads programs, all at once: the verifier takes most of a start, and each one has a thread to
    /// itself. Returns the names of those that are there: all, but for optional ones that this kernel
    /// refused.
    pub fn load(&mut self, wanted: &[Wanted]) -> Result<HashSet<&'static str>, KernelError> {
        let typed = |w: &Wanted| matches!(w.kind, Kind::Btf(_) | Kind::TaskIterator);
        let btf = match wanted.iter().find(|w| typed(w)) {
            Some(first) => Some(Btf::from_sys_fs().map_err(|e| refused(first.name, words(&e)))?),
            None => None,
        };
        let (btf, version) = (btf.as_ref(), self.version);
        let mut programs: HashMap<&str, &mut Program> = self.ebpf.programs_mut().collect();
        std::thread::scope(|scope| {
            let mut loading = Vec::new();
            for wanted in wanted {
                let program = programs.remove(wanted.name).ok_or_else(|| mismatch(wanted.name))?;
                loading.push(scope.spawn(move || (wanted, load(wanted, program, btf, version))));
            }
            let mut there = HashSet::new();
            for thread in loading {
                match thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
                    (wanted, Ok(())) => {
                        there.insert(wanted.name);
                    }
                    (Wanted { without: Some(without), .. }, Err(e)) => {
                        let KernelError::Refused { program, reason } = e else { return Err(e) };
                        tracing::warn!("{without}: this kernel refused `{program}`: {reason}");
                    }
                    (_, Err(e)) => return Err(e),
                }
            }
            Ok(there)
        })
    }

    /// Registers the tails of a chain that was loaded, before anything can fire. Returns whether its
    /// deep end is there: a kernel that refused that program still gives stacks of the base depth.
    pub fn wire(
        &mut self,
        chain: Chain,
        loaded: &HashSet<&'static str>,
    ) -> Result<bool, KernelError> {
        self.register(chain.array, TAIL_SLOT, chain.tail)?;
        let deep = loaded.contains(chain.deep);
        if deep {
            self.register(chain.array, DEEP_SLOT, chain.deep)?;
        }
        Ok(deep)
    }

    /// A program that [`Object::load`] loaded.
    pub fn program_mut(&mut self, name: &'static str) -> Result<&mut Program, KernelError> {
        self.ebpf.program_mut(name).ok_or_else(|| mismatch(name))
    }

    /// A descriptor of a loaded program.
    pub fn program_fd(&self, name: &'static str) -> Result<ProgramFd, KernelError> {
        let program = self.ebpf.program(name).ok_or_else(|| mismatch(name))?;
        let fd = program.fd().map_err(|e| refused(name, words(&e)))?;
        fd.try_clone().map_err(|source| KernelError::System { call: "dup", source })
    }

    /// How long each loaded program has run, by name, as far as the kernel counted.
    pub fn runs(&self) -> impl Iterator<Item = (&str, Runs)> {
        self.ebpf.programs().filter_map(|(name, program)| {
            // One that is not loaded has no descriptor to ask about.
            let info = program.info().ok()?;
            let ns = u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX);
            Some((name, Runs { ns, count: info.run_count() }))
        })
    }

    /// The tables of the preparation line.
    pub fn take_tables(&mut self, sizes: MapSizes) -> Result<Tables, KernelError> {
        let regions = maps::take(&mut self.ebpf, "ARENA")?;
        let processes = maps::take(&mut self.ebpf, "PROCESSES")?;
        Ok(Tables::new(regions, processes, sizes.processes_bytes()))
    }

    /// A closure that passes on what the programs have said since it was last called.
    pub fn logger(&mut self) -> Result<Box<dyn FnMut() + Send>, KernelError> {
        let mut logger =
            aya_log::EbpfLogger::init(&mut self.ebpf).map_err(|e| KernelError::Mismatch {
                kind: "map",
                name: LOG_MESSAGES,
                reason: format!(": {}", words(&e)),
            })?;
        Ok(Box::new(move || logger.flush()))
    }

    fn register(
        &mut self,
        array: &'static str,
        slot: u32,
        program: &'static str,
    ) -> Result<(), KernelError> {
        let fd = self.program_fd(program)?;
        let wrong = |reason: String| KernelError::Mismatch { kind: "map", name: array, reason };
        let map = self.ebpf.map_mut(array).ok_or_else(|| wrong(String::new()))?;
        let mut programs =
            ProgramArray::try_from(map).map_err(|e| wrong(format!(": {}", words(&e))))?;
        programs.set(slot, &fd, 0).map_err(|e| wrong(format!(": {}", words(&e))))
    }
}

fn load(
    wanted: &Wanted,
    program: &mut Program,
    btf: Option<&Btf>,
    version: KernelVersion,
) -> Result<(), KernelError> {
    match (program, wanted.kind, btf) {
        (Program::PerfEvent(p), Kind::PerfEvent, _) => p.load(),
        (Program::TracePoint(p), Kind::Classic, _) => p.load(),
        (Program::BtfTracePoint(p), Kind::Btf(point), Some(btf)) => p.load(point, btf),
        (Program::Iter(p), Kind::TaskIterator, Some(btf)) => p.load("task", btf),
        _ => return Err(mismatch(wanted.name)),
    }
    .map_err(|e| not_loaded(wanted.name, e, version))
}

fn mismatch(name: &'static str) -> KernelError {
    KernelError::Mismatch { kind: "program", name, reason: String::new() }
}

fn refused(program: &'static str, reason: String) -> KernelError {
    KernelError::Refused { program, reason }
}

fn not_loaded(name: &'static str, error: ProgramError, version: KernelVersion) -> KernelError {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            if privileges::is_refusal(&io_error) && log.is_empty() {
                if limits::is_memlock_limited(version) {
                    return KernelError::Object { reason: io_error.to_string(), remedy: MEMLOCK };
                }
                return privileges::denied(format!("loading the BPF program `{name}`"), io_error);
            }
            refused(name, format!("{io_error}\n{}", last_lines(&log)))
        }
        other => refused(name, words(&other)),
    }
}

const MEMLOCK: &str = "before kernel 5.11 BPF needs locked memory: raise the limit (ulimit -l \
                       unlimited, or LimitMEMLOCK=infinity), or grant CAP_SYS_RESOURCE";

fn not_created(error: &aya::EbpfError, version: KernelVersion) -> KernelError {
    let remedy = if limits::is_memlock_limited(version) {
        MEMLOCK
    } else {
        "see `profiler-agent doctor`; free some memory if it was short"
    };
    KernelError::Object { reason: words(error), remedy }
}

/// An error with its causes.
pub fn words(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default().join("\n")
}
