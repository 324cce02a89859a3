//! The programs on the scheduler's tracepoints: a thread leaves a CPU, a process is born, and the
//! iterator that finds the threads that sleep already.
//!
//! Each comes twice: for a BTF tracepoint and, where the kernel has no types, for the classic one.

use std::io::{self, Read as _};

use aya::programs::links::LinkError;
use aya::programs::tp_btf::BtfTracePointLink;
use aya::programs::trace_point::TracePointLink;
use aya::programs::{Program, ProgramError};

use super::error::KernelError;
use super::features::Features;
use super::load::{Chain, Kind, Object, Wanted, words};
use super::{privileges, tracefs};

const SWITCH: &str = "sched_switch";
const FORK: &str = "sched_process_fork";
const EXEC: &str = "sched_process_exec";

const SWITCH_BTF: Chain = Chain {
    entry: "switch_btf",
    tail: "switch_btf_tail",
    deep: "switch_btf_deep",
    array: "TAIL_BTF",
    kind: Kind::Btf(SWITCH),
};
const SWITCH_CLASSIC: Chain = Chain {
    entry: "switch_tp",
    tail: "switch_tp_tail",
    deep: "switch_tp_deep",
    array: "TAIL_TP",
    kind: Kind::Classic,
};
const NOTHING_BTF: &str = "nothing_btf";
const NOTHING_CLASSIC: &str = "nothing_tp";
const FORK_BTF: &str = "fork_btf";
const FORK_CLASSIC: &str = "fork_tp";
const EXEC_BTF: &str = "exec_btf";

/// An attached program. Dropping it detaches the program.
#[expect(dead_code, reason = "held, not read")]
pub enum Link {
    /// To a BTF tracepoint.
    Btf(BtfTracePointLink),
    /// To a classic tracepoint.
    Classic(TracePointLink),
}

/// The programs that follow the threads on and off the CPUs.
pub const fn switch(features: &Features) -> Chain {
    if features.btf_tracepoints { SWITCH_BTF } else { SWITCH_CLASSIC }
}

/// Attaches [`switch`].
pub fn attach_switch(object: &mut Object, features: &Features) -> Result<Link, KernelError> {
    attach(object, switch(features).entry, SWITCH)
}

/// A program at the same place as [`switch`] that does nothing.
pub const fn nothing(features: &Features) -> Wanted {
    let (name, kind) = if features.btf_tracepoints {
        (NOTHING_BTF, Kind::Btf(SWITCH))
    } else {
        (NOTHING_CLASSIC, Kind::Classic)
    };
    Wanted { name, kind, without: Some("the time in BPF programs includes what counting it takes") }
}

/// Attaches [`nothing`].
pub fn attach_nothing(object: &mut Object, name: &'static str) -> Result<Link, KernelError> {
    attach(object, name, SWITCH)
}

/// The programs that follow the lives of processes: births, so that a child has its parent's mappings
/// and the children of a wanted process are wanted (`follows_forks`); and other programs that a process
/// runs. Without BTF tracepoints the user side alone keeps up with the mappings.
pub fn lives(features: &Features, follows_forks: bool) -> Vec<Wanted> {
    let wanted = |name, kind| Wanted { name, kind, without: None };
    if features.btf_tracepoints {
        vec![wanted(FORK_BTF, Kind::Btf(FORK)), wanted(EXEC_BTF, Kind::Btf(EXEC))]
    } else if follows_forks {
        vec![wanted(FORK_CLASSIC, Kind::Classic)]
    } else {
        Vec::new()
    }
}

/// Attaches [`lives`].
pub fn attach_lives(
    object: &mut Object,
    features: &Features,
    follows_forks: bool,
) -> Result<Vec<Link>, KernelError> {
    let programs = lives(features, follows_forks);
    // A BTF tracepoint is known from the load.
    programs.iter().map(|program| attach(object, program.name, FORK)).collect()
}

/// The iterator that [`visit_sleepers`] runs; `/proc` stands in for one that this kernel refuses.
pub const SLEEPERS: Wanted = Wanted {
    name: "sleepers",
    kind: Kind::TaskIterator,
    without: Some("threads asleep at the start have no stacks"),
};

/// Runs the iterator over all threads, once: it writes those that are off the CPU to the ring.
pub fn visit_sleepers(object: &mut Object) -> Result<(), KernelError> {
    let Program::Iter(iterator) = object.program_mut(SLEEPERS.name)? else {
        return Err(unexpected(SLEEPERS.name));
    };
    let link = iterator.attach().and_then(|id| iterator.take_link(id));
    let link = link.map_err(|e| failed(SLEEPERS.name, e))?;
    let mut tasks = link.into_file().map_err(|e| match e {
        LinkError::SyscallError(e) => failed(SLEEPERS.name, ProgramError::SyscallError(e)),
        other => attach_error(SLEEPERS.name, words(&other), ""),
    })?;
    // The program prints nothing: reading is what drives it, and the end of the file is its end.
    let mut nothing = [0; 64];
    loop {
        match tasks.read(&mut nothing) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(e)
                if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(source) => {
                return Err(KernelError::System { call: "read of a BPF iterator", source });
            }
        }
    }
}

fn attach(
    object: &mut Object,
    name: &'static str,
    tracepoint: &'static str,
) -> Result<Link, KernelError> {
    match object.program_mut(name)? {
        Program::BtfTracePoint(p) => p.attach().and_then(|id| p.take_link(id)).map(Link::Btf),
        Program::TracePoint(p) => {
            p.attach("sched", tracepoint).and_then(|id| p.take_link(id)).map(Link::Classic)
        }
        _ => return Err(unexpected(name)),
    }
    .map_err(|e| failed(name, e))
}

fn unexpected(name: &'static str) -> KernelError {
    KernelError::Mismatch { kind: "program", name, reason: ": it is of another type".to_owned() }
}

fn failed(program: &'static str, error: ProgramError) -> KernelError {
    match error {
        ProgramError::SyscallError(e) if privileges::is_refusal(&e.io_error) => {
            privileges::denied(format!("attaching the BPF program `{program}`"), e.io_error)
        }
        // Without tracefs the loader says so, by one of several errors.
        other if tracefs::events().is_none() => attach_error(
            program,
            words(&other),
            "; without BTF this needs tracefs: mount -t tracefs tracefs /sys/kernel/tracing",
        ),
        other => attach_error(program, words(&other), ""),
    }
}

fn attach_error(program: &'static str, reason: String, remedy: &'static str) -> KernelError {
    KernelError::Attach { program, reason, remedy }
}
