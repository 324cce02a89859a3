//! What the kernel told: samples and blocks (from the BPF programs), and the life of processes (from
//! perf side-band records). One enumeration, since the pipeline handles both in the order of time.

use profiler_common::native::step::Registers;
use profiler_common::thread::{Skipped, THREAD_STATES, ThreadState};
use profiler_common::walk::WalkEnd;

use super::rates::RatesChange;

/// A thread's name as the kernel keeps it: at most 15 bytes, any bytes.
pub type Comm = [u8; profiler_common::record::COMM_LEN];

/// Events for which whoever holds some keeps room, also while there are none: more than a round brings, but for
/// a burst.
pub const ROOM: usize = 8192;

/// One thing that happened, with the moment at which it did (CLOCK_MONOTONIC, ns).
#[derive(Clone, Debug)]
pub enum Event {
    /// A thread was on the CPU when the clock hit.
    OnCpu(RawStack),
    /// A thread left the CPU.
    Block(RawBlock),
    /// A thread came back.
    Resume(Resume),
    /// A process mapped a file, or memory, that it may execute.
    Mmap(Mmap),
    /// A thread got a new name; of a process's first thread, with `exec`, it runs a new program.
    Comm(CommChange),
    /// A process or thread was born.
    Fork(Fork),
    /// A process or thread ended.
    Exit(Exit),
    /// Side-band records were lost: mappings may be missing.
    SidebandLost(SidebandLost),
    /// So much is recorded from here on.
    Rates(RatesChange),
}

impl Event {
    /// When it happened.
    pub fn time_ns(&self) -> u64 {
        match self {
            Self::OnCpu(e) => e.time_ns,
            Self::Block(e) => e.stack.time_ns,
            Self::Resume(e) => e.resumed_at_ns,
            Self::Mmap(e) => e.time_ns,
            Self::Comm(e) => e.time_ns,
            Self::Fork(e) => e.time_ns,
            Self::Exit(e) => e.time_ns,
            Self::SidebandLost(e) => e.time_ns,
            Self::Rates(e) => e.time_ns,
        }
    }
}

/// A stack as the kernel saw it: addresses, innermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawStack {
    /// When.
    pub time_ns: u64,
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// CPU number.
    pub cpu: u32,
    /// Id of the cgroup in the v2 hierarchy.
    pub cgroup_id: u64,
    /// The thread's name.
    pub comm: Comm,
    /// User addresses: first the program counter, then return addresses, each with what
    /// [`profiler_common::walk`] says of it in its upper bits.
    pub user: Vec<u64>,
    /// Kernel addresses, likewise.
    pub kernel: Vec<u64>,
    /// Why the user stack ends where it does.
    pub user_end: WalkEnd,
    /// Why the kernel stack ends where it does.
    pub kernel_end: WalkEnd,
    /// What the walk of the user stack needs to go on, where it ended as [`WalkEnd::NotReady`].
    pub rest: Option<Box<Rest>>,
}

#[cfg(test)]
impl RawStack {
    /// A whole stack of these addresses, of nobody in particular.
    pub(crate) fn of(user: &[u64], kernel: &[u64]) -> Self {
        Self {
            time_ns: 1,
            pid: 1,
            tid: 1,
            cpu: 0,
            cgroup_id: 0,
            comm: Comm::default(),
            user: user.to_vec(),
            kernel: kernel.to_vec(),
            user_end: WalkEnd::Complete,
            kernel_end: WalkEnd::Complete,
            rest: None,
        }
    }
}

/// A user stack from where the kernel side stopped walking it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// The registers at the last user frame.
    pub at: Registers,
    /// The bytes of the stack, from the stack pointer on.
    pub stack: Box<[u8]>,
}

/// A thread that leaves the CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawBlock {
    /// Where it was; `time_ns` is when it left.
    pub stack: RawStack,
    /// What it was from then on.
    pub state: ThreadState,
    /// It was found off the CPU at the start of the recording.
    pub since_before: bool,
}

/// A thread is back on a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// `time_ns` of the block that ends.
    pub blocked_at_ns: u64,
    /// When it came back.
    pub resumed_at_ns: u64,
    /// Time off the CPU, by [`ThreadState`], of which no stack was kept.
    pub skipped: [Skipped; THREAD_STATES],
}

/// An executable mapping (`PERF_RECORD_MMAP2`, or a line of `/proc/PID/maps`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mmap {
    /// When.
    pub time_ns: u64,
    /// Process id.
    pub pid: u32,
    /// First address.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
    /// Offset in the file.
    pub file_offset: u64,
    /// The file's identity, as far as the kernel told it.
    pub id: MmapId,
    /// Path as the kernel wrote it: in the process's own root, or a name such as `[vdso]`, `//anon`,
    /// `/memfd:x (deleted)`.
    pub path: Vec<u8>,
}

/// What the kernel told of the identity of a mapped file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MmapId {
    /// The ELF build ID (kernel 5.12 and later, where the file has one).
    BuildId(Vec<u8>),
    /// Device and inode.
    Inode {
        /// Device number, major.
        major: u32,
        /// Device number, minor.
        minor: u32,
        /// Inode number; 0 for memory without a file.
        inode: u64,
        /// Inode generation (0 where `/proc` was the source, which does not know it).
        generation: u64,
    },
}

/// A thread's new name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommChange {
    /// When.
    pub time_ns: u64,
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// The name.
    pub comm: Comm,
    /// The process runs a new program from here on: its old mappings are gone.
    pub exec: bool,
}

/// A new process (`pid != parent_pid`) or thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fork {
    /// When.
    pub time_ns: u64,
    /// Process id of the child.
    pub pid: u32,
    /// Thread id of the child.
    pub tid: u32,
    /// Process id of the parent.
    pub parent_pid: u32,
    /// Thread id of the parent.
    pub parent_tid: u32,
}

/// The end of a thread; of its process when `pid == tid` was the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// When.
    pub time_ns: u64,
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
}

/// Side-band records that a full buffer swallowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SidebandLost {
    /// When it was noticed.
    pub time_ns: u64,
    /// How many.
    pub records: u64,
}
