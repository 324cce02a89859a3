//! The BPF object: its maps are created, and the programs that a plan needs are loaded and wired.
//! Nothing is pinned, so that the kernel takes all of it back when the agent is gone, however it went.

use std::error::Error;

use aya::maps::ProgramArray;
use aya::programs::{Program, ProgramError, ProgramFd};
use aya::{Btf, Ebpf, EbpfLoader, VerifierLogLevel, include_bytes_aligned};
use profiler_common::settings::Settings;

use super::error::KernelError;
use super::features::{Features, KernelVersion};
use super::limits;
use super::maps::{MapSizes, Maps};
use super::privileges;
use super::ring::Ring;

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

/// Slots of the program arrays.
const TAIL_SLOT: u32 = 0;
const DEEP_SLOT: u32 = 1;

/// The loaded object.
pub struct Object {
    ebpf: Ebpf,
    /// The kernel's types; read once, when the first program asks for them.
    btf: Option<Btf>,
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
            // A log is asked for again when a program is refused.
            .verifier_log_level(VerifierLogLevel::DISABLE)
            .override_global("SETTINGS", settings, true)
            .override_global(LOG_LEVEL, &level, false);
        sizes.apply(&mut loader);
        if !bpf_log {
            // A ring of one page, since nothing is written to it.
            loader.map_max_entries(LOG_MESSAGES, 1);
        }
        let mut ebpf = loader.load(OBJECT).map_err(|e| not_created(&e, features.version))?;
        let (maps, ring) = Maps::take(&mut ebpf, sizes)?;
        Ok((Self { ebpf, btf: None, version: features.version }, maps, ring))
    }

    /// Loads a chain and registers its tails, before anything can fire. Returns whether its deep end
    /// is there: a kernel that refuses that program still gets stacks of the base depth.
    pub fn load_chain(&mut self, chain: Chain, deep: bool) -> Result<bool, KernelError> {
        self.load(chain.entry, chain.kind)?;
        self.load(chain.tail, chain.kind)?;
        self.register(chain.array, TAIL_SLOT, chain.tail)?;
        if !deep {
            return Ok(false);
        }
        let deep = self.load_optional(chain.deep, chain.kind, "stacks end at the base depth")?;
        if deep {
            self.register(chain.array, DEEP_SLOT, chain.deep)?;
        }
        Ok(deep)
    }

    /// Loads a program that a recording can do without, should this kernel refuse it: `without` says
    /// how it is then. Returns whether it is there.
    pub fn load_optional(
        &mut self,
        name: &'static str,
        kind: Kind,
        without: &str,
    ) -> Result<bool, KernelError> {
        match self.load(name, kind) {
            Ok(()) => Ok(true),
            Err(KernelError::Refused { program, reason }) => {
                tracing::warn!("{without}: this kernel refused `{program}`: {reason}");
                Ok(false)
            }
            Err(e) => Err(e),
        }
    }

    /// Loads one program.
    pub fn load(&mut self, name: &'static str, kind: Kind) -> Result<(), KernelError> {
        if self.btf.is_none() && matches!(kind, Kind::Btf(_) | Kind::TaskIterator) {
            let btf = Btf::from_sys_fs().map_err(|e| refused(name, words(&e)))?;
            self.btf = Some(btf);
        }
        let version = self.version;
        let btf = self.btf.as_ref();
        let program = self.ebpf.program_mut(name).ok_or_else(|| mismatch(name))?;
        match (program, kind, btf) {
            (Program::PerfEvent(p), Kind::PerfEvent, _) => p.load(),
            (Program::TracePoint(p), Kind::Classic, _) => p.load(),
            (Program::BtfTracePoint(p), Kind::Btf(point), Some(btf)) => p.load(point, btf),
            (Program::Iter(p), Kind::TaskIterator, Some(btf)) => p.load("task", btf),
            _ => return Err(mismatch(name)),
        }
        .map_err(|e| not_loaded(name, e, version))
    }

    /// Gives up the memory of the kernel's types, when everything is loaded.
    pub fn forget_types(&mut self) {
        self.btf = None;
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
