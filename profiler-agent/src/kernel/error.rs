//! What can go wrong at the kernel's door. Every message names the cause and the way out.

use std::io;
use std::path::PathBuf;

use super::plan::PlanError;

/// Why a recording could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The plan itself is impossible.
    #[error(transparent)]
    Plan(#[from] PlanError),

    /// The agent lacks privileges.
    #[error("{action} was refused: {source}; {remedy}")]
    Denied {
        /// What was tried.
        action: String,
        /// Which privileges are missing and how to get them.
        remedy: String,
        /// The kernel's answer.
        source: io::Error,
    },

    /// The kernel is older than everything that this agent can fall back to.
    #[error("kernel {release} is too old: it has no {feature}; 5.10 and later are supported")]
    TooOld {
        /// The running kernel.
        release: String,
        /// What it lacks.
        feature: &'static str,
    },

    /// The kernel's own limit forbids the frequency.
    #[error(
        "the kernel allows at most {limit} samples per second now, and {frequency} were asked for: \
         lower --frequency, or raise kernel.perf_event_max_sample_rate"
    )]
    FrequencyLimit {
        /// What was asked for, in Hz.
        frequency: u32,
        /// `kernel.perf_event_max_sample_rate`.
        limit: u32,
    },

    /// A perf event could not be opened.
    #[error("the perf event {event} could not be opened on CPU {cpu}: {source}; {remedy}")]
    PerfEvent {
        /// Which event.
        event: &'static str,
        /// On which CPU.
        cpu: u32,
        /// What may be done.
        remedy: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },

    /// The BPF object could not be read, or its maps not be made.
    #[error("the BPF maps could not be created: {reason}; {remedy}")]
    Object {
        /// The loader's words.
        reason: String,
        /// What may be done.
        remedy: &'static str,
    },

    /// The embedded object does not contain what the loader expects: a fault of the build.
    #[error(
        "the embedded BPF object has no usable {kind} `{name}`{reason}: it was built from other \
         sources than this agent; run `cargo xtask build-ebpf` and build again"
    )]
    Mismatch {
        /// Program, map or global.
        kind: &'static str,
        /// Its name.
        name: &'static str,
        /// More about it, beginning with a colon, or nothing.
        reason: String,
    },

    /// The kernel refused a program.
    #[error(
        "this kernel refused the BPF program `{program}`; please report it with the kernel's \
         release and this text: {reason}"
    )]
    Refused {
        /// The program.
        program: &'static str,
        /// The end of the verifier's log.
        reason: String,
    },

    /// A program could not be attached.
    #[error("the BPF program `{program}` could not be attached: {reason}{remedy}")]
    Attach {
        /// The program.
        program: &'static str,
        /// The loader's words.
        reason: String,
        /// What may be done.
        remedy: &'static str,
    },

    /// A path that was given as a cgroup is none that can be filtered by.
    #[error("{} is not a cgroup that can be filtered by: {reason}", path.display())]
    Cgroup {
        /// The path as it was given.
        path: PathBuf,
        /// Why, and what to give instead.
        reason: String,
    },

    /// No process has this id.
    #[error("there is no process {0}: it has ended, or its id belongs to another pid namespace")]
    NoProcess(u32),

    /// The id is that of a thread.
    #[error("{tid} is a thread of process {pid}: give the process")]
    NotAProcess {
        /// What was given.
        tid: u32,
        /// Whose thread it is.
        pid: u32,
    },

    /// A file of the kernel could not be read.
    #[error("{} could not be read: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// A system call failed that never does on a healthy system.
    #[error("{call} failed: {source}")]
    System {
        /// Which.
        call: &'static str,
        /// Why.
        source: io::Error,
    },
}
