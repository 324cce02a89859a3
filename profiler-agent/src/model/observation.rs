//! A sample that is ready to be counted: whose it is, where it was, and how much it stands for.

use std::sync::Arc;

use profiler_common::thread::ThreadState;

use super::frame::Stack;

/// What an amount of time was spent on. The two are never added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Activity {
    /// On a CPU.
    OnCpu,
    /// Off the CPU, in this state.
    OffCpu(ThreadState),
}

/// The thread that a sample belongs to, with what its labels say.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ThreadInfo {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Name of the process (of its first thread), made printable.
    pub process: Arc<str>,
    /// Name of the thread, made printable.
    pub thread: Arc<str>,
    /// Path of the cgroup (`/system.slice/x.service`), or `id:N` where it could not be read.
    pub cgroup: Arc<str>,
    /// Name of the service that the process belongs to; empty where nothing is known.
    pub service: Arc<str>,
}

/// One stack of one thread, with its weight.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Whose.
    pub thread: Arc<ThreadInfo>,
    /// Where.
    pub stack: Stack,
    /// On what.
    pub activity: Activity,
    /// How many samples, or blocks.
    pub count: u64,
    /// How much time they stand for, ns.
    pub ns: u64,
}
