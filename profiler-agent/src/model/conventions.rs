//! Names inside a profile by which its encoder and its readers understand each other: pprof leaves
//! them to its users.

/// Name of the frame of a stack that has none. Nothing is cut there: there was nothing.
pub const NO_STACK: &str = "[no stack]";

/// Labels of a sample.
pub mod label {
    /// Process id, a number.
    pub const PID: &str = "pid";
    /// Thread id, a number.
    pub const TID: &str = "tid";
    /// Name of the process.
    pub const COMM: &str = "comm";
    /// Name of the thread.
    pub const THREAD: &str = "thread";
    /// What a thread was while it was off the CPU: a [`profiler_common::thread::ThreadState::name`].
    pub const STATE: &str = "state";
    /// Name of the service that the process belongs to.
    pub const SERVICE: &str = "service";
    /// Path of the cgroup.
    pub const CGROUP: &str = "cgroup";
}

/// Types of values. Counts have the unit [`value::COUNT`], times [`value::NANOSECONDS`].
pub mod value {
    /// On-CPU samples.
    pub const SAMPLES: &str = "samples";
    /// CPU time.
    pub const CPU: &str = "cpu";
    /// Blocks.
    pub const BLOCKS: &str = "blocks";
    /// Blocked time.
    pub const OFF_CPU: &str = "off_cpu";
    /// Unit of counts.
    pub const COUNT: &str = "count";
    /// Unit of times.
    pub const NANOSECONDS: &str = "nanoseconds";
}

/// Mappings that are no file.
pub mod mapping {
    /// The kernel, its modules and BPF programs.
    pub const KERNEL: &str = "[kernel.kallsyms]";
    /// Code that a process made at run time.
    pub const JIT: &str = "[jit]";
    /// Addresses that no known mapping holds.
    pub const UNKNOWN: &str = "[unknown]";
    /// Frames that say where something is missing.
    pub const MARKER: &str = "[profiler-agent]";
}

/// Keys of the comments, `key: value` each.
pub mod comment {
    /// Version of the agent.
    pub const AGENT: &str = "profiler-agent";
    /// Host name.
    pub const HOST: &str = "host";
    /// Kernel release and architecture.
    pub const KERNEL: &str = "kernel";
    /// What was asked for.
    pub const SCOPE: &str = "scope";
    /// Kind of event.
    pub const EVENT: &str = "event";
    /// On-CPU clock.
    pub const CLOCK: &str = "clock";
    /// Sampling frequency.
    pub const FREQUENCY: &str = "frequency";
    /// Shortest block that was recorded.
    pub const MIN_BLOCK: &str = "min_block";
    /// Prefix of a counter's name.
    pub const COUNTER: &str = "count.";
    /// Whether a counter of this name counts what was lost (and not what was filtered out, or seen).
    pub fn is_loss(counter: &str) -> bool {
        counter.contains("_lost")
    }

    /// Something that the reader should know.
    pub const NOTE: &str = "note";
}
