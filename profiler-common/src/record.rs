//! What the kernel side sends up the ring buffer: one record per sample, two per block.
//!
//! A record begins with its kind (a `u32`). A stack follows its header as `user_frames` and then
//! `kernel_frames` words of 8 bytes, innermost frame first; behind them a [`Rest`] where the flags say so.
//! Times are CLOCK_MONOTONIC nanoseconds.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::native::step::Registers;
use crate::thread::{Skipped, THREAD_STATES};
use crate::wire_enum;

wire_enum! {
    /// Which record it is.
    RecordKind {
        /// A [`StackRecord`] of a thread that was on the CPU when the clock hit.
        OnCpu = 1, "on_cpu";
        /// A [`StackRecord`] of a thread that leaves the CPU, or was found off it at the start.
        Block = 2, "block";
        /// A [`ResumeRecord`]: that thread is back.
        Resume = 3, "resume";
    }
}

/// Length of a thread's name with its terminating zero (`TASK_COMM_LEN`).
pub const COMM_LEN: usize = 16;

/// A stack and whose it is.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct StackRecord {
    /// [`RecordKind::OnCpu`] or [`RecordKind::Block`].
    pub kind: u32,
    /// The CPU that it happened on.
    pub cpu: u32,
    /// Process id (thread group), in the initial pid namespace.
    pub pid: u32,
    /// Thread id, in the initial pid namespace.
    pub tid: u32,
    /// When it happened: of a block, when the thread left the CPU.
    pub time_ns: u64,
    /// Id of the thread's cgroup in the v2 hierarchy.
    pub cgroup_id: u64,
    /// The thread's name, padded with zeros.
    pub comm: [u8; COMM_LEN],
    /// User frames that follow.
    pub user_frames: u16,
    /// Kernel frames that follow the user frames.
    pub kernel_frames: u16,
    /// A [`crate::walk::WalkEnd`] of the user stack.
    pub user_end: u8,
    /// A [`crate::walk::WalkEnd`] of the kernel stack.
    pub kernel_end: u8,
    /// Of a block: a [`crate::thread::ThreadState`]; 0 otherwise.
    pub state: u8,
    /// Bits of [`flags`].
    pub flags: u8,
}

/// Bits of [`StackRecord::flags`].
pub mod flags {
    /// A block that was found at the start of the recording, not seen to begin.
    pub const SINCE_BEFORE: u8 = 1;
    /// A [`super::Rest`] follows the frames.
    pub const REST: u8 = 2;
}

/// Where the walk of a user stack stopped because the rows for that place were not ready, so that the user
/// side can go on from the last user frame. The next bytes of the stack follow, from `sp` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Rest {
    /// Where the walk stands: at the last user frame of the record.
    pub at: Registers,
    /// How many bytes of the stack follow.
    pub bytes: u64,
}

/// Bytes of stack behind a [`Rest`] at most: up to the end of the page of the stack pointer, and two more
/// pages.
pub const REST_BYTES: u64 = 3 * 4096;

/// A thread is back on a CPU after a block whose [`StackRecord`] went up.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ResumeRecord {
    /// [`RecordKind::Resume`].
    pub kind: u32,
    /// The CPU that it came back on.
    pub cpu: u32,
    /// Process id (thread group).
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// `time_ns` of the block that ends here; 0 where none does: the thread dies, and this is what it
    /// carried.
    pub blocked_at_ns: u64,
    /// When the thread came back.
    pub resumed_at_ns: u64,
    /// What this thread spent off the CPU without a kept stack since its previous resume record.
    pub skipped: [Skipped; THREAD_STATES],
}

const _: () = assert!(size_of::<StackRecord>() == 56);
const _: () = assert!(size_of::<Rest>() == 48);
const _: () = assert!(size_of::<ResumeRecord>() == 32 + 16 * THREAD_STATES);
