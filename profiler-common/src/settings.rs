//! What the loader tells the programs before the verifier sees them: the read-only global `SETTINGS`.
//!
//! The verifier knows these values as constants, so code that a kernel or a recording does not need
//! is not even verified. Offsets are bytes, read from the running kernel's BTF.

use zerocopy::{Immutable, IntoBytes};

use crate::record::COMM_LEN;
use crate::walk::USER_FRAMES_BASE;
use crate::wire_enum;

/// Cgroups, thread names and users that one list of a recording may have.
pub const MAX_FILTERS: usize = 8;

wire_enum! {
    /// The processor that the programs run on: where its registers are in `pt_regs`.
    Arch {
        /// x86-64.
        X86_64 = 0, "x86_64";
        /// arm64.
        Aarch64 = 1, "aarch64";
    }
}

wire_enum! {
    /// How to find the user registers of a thread that is inside the kernel.
    TaskRegs {
        /// Not at all: the kernel has neither the helper nor BTF. Its stacks come from the helper
        /// `bpf_get_stack`.
        Unknown = 0, "unknown";
        /// `bpf_task_pt_regs` (5.15 and later).
        Helper = 1, "bpf_task_pt_regs";
        /// At the top of the task's kernel stack, at offsets from BTF.
        StackTop = 2, "task_stack_offset";
    }
}

/// One cgroup of the v2 hierarchy, with everything below it.
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
pub struct CgroupFilter {
    /// Its id (the inode number of its directory).
    pub id: u64,
    /// Its depth: 0 for the root.
    pub level: u32,
    /// Padding.
    pub _pad: u32,
}

/// What threads are chosen by: a thread is in the list of a kind when one of its entries fits.
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
pub struct Filters {
    /// How many of `cgroups` are set.
    pub cgroup_count: u32,
    /// How many of `comms` are set.
    pub comm_count: u32,
    /// How many of `users` are set.
    pub user_count: u32,
    /// Padding.
    pub _pad: u32,
    /// Cgroups.
    pub cgroups: [CgroupFilter; MAX_FILTERS],
    /// Thread names, padded with zeros.
    pub comms: [[u8; COMM_LEN]; MAX_FILTERS],
    /// Users by their number in the initial user namespace (the real user id).
    pub users: [u32; MAX_FILTERS],
}

impl Filters {
    /// Empty lists.
    pub const NONE: Self = Self {
        cgroup_count: 0,
        comm_count: 0,
        user_count: 0,
        _pad: 0,
        cgroups: [CgroupFilter { id: 0, level: 0, _pad: 0 }; MAX_FILTERS],
        comms: [[0; COMM_LEN]; MAX_FILTERS],
        users: [0; MAX_FILTERS],
    };
}

/// All that the loader decides.
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
pub struct Settings {
    /// An [`Arch`].
    pub arch: u32,
    /// A [`TaskRegs`].
    pub task_regs: u32,
    /// `task_struct.stack`.
    pub task_stack: u32,
    /// Where the user's `pt_regs` begin in the kernel stack of a task.
    pub stack_regs: u32,
    /// `task_struct.__state` (5.14 and later) or `task_struct.state`.
    pub task_state: u32,
    /// `task_struct.pid`: the thread id.
    pub task_pid: u32,
    /// `task_struct.tgid`: the process id.
    pub task_tgid: u32,
    /// `task_struct.comm`.
    pub task_comm: u32,
    /// `task_struct.on_cpu`, 0 where the kernel has none.
    pub task_on_cpu: u32,
    /// `task_struct.cgroups`, for threads that sleep when a recording begins; likewise those below.
    pub task_cgroups: u32,
    /// `css_set.dfl_cgrp`.
    pub css_set_cgroup: u32,
    /// `cgroup.kn`.
    pub cgroup_kn: u32,
    /// `kernfs_node.id`.
    pub kernfs_id: u32,
    /// `cgroup.level`.
    pub cgroup_level: u32,
    /// `cgroup.ancestors` (6.1 and later), 0 where the kernel has none.
    pub cgroup_ancestors: u32,
    /// `cgroup.ancestor_ids` (before 6.1), 0 where the kernel has none.
    pub cgroup_ancestor_ids: u32,
    /// Field `child_pid` of the classic tracepoint `sched_process_fork`, from its format file: 44, or
    /// 20 on newer kernels.
    pub fork_child_pid: u32,
    /// 1 when the BTF tracepoint `sched_switch` carries the previous state as its fourth argument (5.18).
    pub switch_has_state: u32,
    /// Deepest user stack: [`crate::walk::USER_FRAMES_BASE`] or [`crate::walk::USER_FRAMES_DEEP`].
    pub max_user_frames: u32,
    /// 1 to keep the kernel stack of a block (a runnable thread has none worth its cost).
    pub block_kernel_stacks: u32,
    /// 1 when the children of a marked process have its marks (see [`crate::live::marks`]).
    pub follow_forks: u32,
    /// `task_struct.cred`, 0 where it is not known.
    pub task_cred: u32,
    /// `cred.uid`.
    pub cred_uid: u32,
    /// `task_struct.mm`, 0 where it is not known.
    pub task_mm: u32,
    /// Bytes of the ring, so that the programs need not ask for it.
    pub ring_bytes: u32,
    /// Which bits of a thread id are its place in `SLOTS`.
    pub slot_mask: u32,
    /// Threads that are wanted; an empty list is no condition.
    pub wanted: Filters,
    /// Threads that are not, whatever else is wanted.
    pub excluded: Filters,
}

impl Settings {
    /// What the object holds before a loader has written its own: no filter, no offsets.
    pub const NEUTRAL: Self = Self {
        arch: Arch::X86_64.raw(),
        task_regs: TaskRegs::Unknown.raw(),
        task_stack: 0,
        stack_regs: 0,
        task_state: 0,
        task_pid: 0,
        task_tgid: 0,
        task_comm: 0,
        task_on_cpu: 0,
        task_cgroups: 0,
        css_set_cgroup: 0,
        cgroup_kn: 0,
        kernfs_id: 0,
        cgroup_level: 0,
        cgroup_ancestors: 0,
        cgroup_ancestor_ids: 0,
        fork_child_pid: 44,
        switch_has_state: 0,
        max_user_frames: USER_FRAMES_BASE,
        block_kernel_stacks: 1,
        follow_forks: 0,
        task_cred: 0,
        cred_uid: 0,
        task_mm: 0,
        ring_bytes: 0,
        slot_mask: 0,
        wanted: Filters::NONE,
        excluded: Filters::NONE,
    };
}

/// Length of the rate limit's tick: 100 ms, in nanoseconds.
pub const TICK_NS: u64 = 100_000_000;

const _: () = assert!(size_of::<Filters>() == 16 + MAX_FILTERS * (16 + COMM_LEN + 4));
const _: () = assert!(size_of::<Settings>() == 26 * 4 + 2 * size_of::<Filters>());

#[cfg(feature = "user")]
// SAFETY: repr(C), no implicit padding (asserted above), any bits are valid.
unsafe impl aya::Pod for Settings {}
