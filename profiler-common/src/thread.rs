//! A thread that is off the CPU: its state, and what the kernel side remembers until it returns.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::wire_enum;

wire_enum! {
    /// What a thread was when it left the CPU (`task_struct.__state` of include/linux/sched.h).
    ThreadState {
        /// Ready, but preempted or yielding: it waits for a CPU.
        Runnable = 0, "runnable";
        /// Interruptible sleep: waits for a lock, a pipe, a timer, the network; idle kernel workers too.
        Sleeping = 1, "sleeping";
        /// Uninterruptible sleep: mostly waits for a disk or a lock of the kernel.
        Uninterruptible = 2, "uninterruptible";
        /// Stopped by a signal, a tracer, or parked.
        Stopped = 3, "stopped";
    }
}

/// How many [`ThreadState`]s there are: the length of arrays indexed by one.
pub const THREAD_STATES: usize = 4;

/// Time off the CPU for which no stack was kept.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Skipped {
    /// How many times the thread left the CPU.
    pub blocks: u64,
    /// For how long, in nanoseconds.
    pub ns: u64,
}

/// What the kernel side keeps of a thread that has left a CPU at least once. It lies in the array `SLOTS`, at
/// the lower bits of the thread id, or, where another thread was there first, in the hash map `THREADS` by its
/// thread id (`u32`): a look into the array costs a twentieth.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct ThreadEntry {
    /// When it left the CPU (CLOCK_MONOTONIC, ns); 0 while it runs.
    pub blocked_at_ns: u64,
    /// Process id (thread group).
    pub pid: u32,
    /// A [`ThreadState`].
    pub state: u32,
    /// 1 when a [`crate::record::StackRecord`] with its stack went up, 0 when none did.
    pub kept: u32,
    /// In `SLOTS`, the thread id; 0 in one that is free, which is all zero.
    pub tid: u32,
    /// Time since the last [`crate::record::ResumeRecord`] for which no stack was kept, by state.
    pub skipped: [Skipped; THREAD_STATES],
}

const _: () = assert!(size_of::<ThreadEntry>() == 24 + 16 * THREAD_STATES);
const _: () = assert!(ThreadState::ALL.len() == THREAD_STATES);

#[cfg(feature = "user")]
// SAFETY: repr(C), no implicit padding (asserted above), any bits are valid.
unsafe impl aya::Pod for ThreadEntry {}
