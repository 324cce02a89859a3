//! Why the walk of a stack ended, and how deep one may go.

use crate::wire_enum;

wire_enum! {
    /// Why the walk of one stack ended. Only [`WalkEnd::Complete`] and [`WalkEnd::Absent`] mean that
    /// nothing is missing.
    WalkEnd {
        /// The outermost frame was reached: a return address or a frame pointer of zero, the caller of
        /// `main`, or the end of the kernel's own walk.
        Complete = 0, "complete";
        /// There was no stack of this kind: a kernel thread has no user stack, a sample that hit
        /// user code has no kernel stack.
        Absent = 1, "absent";
        /// The depth limit was reached: outer frames are missing.
        DepthLimit = 2, "depth_limit";
        /// A word of the stack could not be read: its page is not resident, or not mapped.
        Unreadable = 3, "stack_unreadable";
        /// The chain of frame pointers left the stack or turned back: the code at this point keeps
        /// no frame pointer.
        BrokenChain = 4, "broken_frame_pointer_chain";
        /// The user's registers are not known on this kernel for a thread inside the kernel.
        NoRegisters = 5, "no_user_registers";
        /// The kernel's helper refused to walk the stack.
        HelperFailed = 6, "helper_failed";
        /// The thread slept since before the recording began and this kernel (before 5.18) cannot
        /// read its user stack.
        AsleepSinceBefore = 7, "asleep_since_before_recording";
        /// The code at this point has no unwind rows, and keeps no frame pointer either.
        NoRows = 8, "no_unwind_rows";
        /// The mapping at this point, or its unwind table, was not known yet when the stack was walked.
        NotReady = 9, "unwind_rows_not_ready";
        /// The unwind rows at this point led off the stack.
        BadRow = 10, "bad_unwind_row";
        /// The process ends, and its memory is gone already.
        MemoryGone = 11, "memory_gone";
    }
}

impl WalkEnd {
    /// Whether every frame of the stack is there.
    pub const fn is_whole(self) -> bool {
        matches!(self, Self::Complete | Self::Absent)
    }
}

/// User frames that every supported kernel walks: 30 tail calls of 4 frames.
pub const USER_FRAMES_BASE: u32 = 120;

/// User frames where `bpf_loop` continues after the last tail call (used from kernel 6.1 on).
pub const USER_FRAMES_DEEP: u32 = 512;

/// Bits of a user frame's word that are its address.
pub const FRAME_ADDRESS: u64 = (1 << 56) - 1;

/// Bit of a user frame's word: the address is where the thread was, not where it would return to. So is
/// that of the innermost frame, unless it made a system call, and of one that a signal interrupted.
pub const FRAME_EXACT: u64 = 1 << 63;

/// Bit of a user frame's word: it was found by a frame pointer where there were no unwind rows.
pub const FRAME_GUESSED: u64 = 1 << 62;

/// Kernel frames at most (`PERF_MAX_STACK_DEPTH` of include/uapi/linux/perf_event.h).
pub const KERNEL_FRAMES: u32 = 127;
