//! What the loader decided: the read-only global `SETTINGS`, whose fields the verifier knows as
//! constants. Code behind a setting that is off is not verified, so it may use what the kernel lacks.

use profiler_common::{
    record::COMM_LEN,
    settings::{Arch, MAX_FILTERS, Settings, TaskRegs},
};

/// Written by the loader before the programs are verified.
#[unsafe(no_mangle)]
static SETTINGS: Settings = Settings::NEUTRAL;

/// Reads one field from memory: the compiler must not take the value that it sees above.
macro_rules! read {
    ($($place:tt)+) => {
        // SAFETY: a field of a static; volatile since the loader has changed it.
        unsafe { core::ptr::read_volatile(&raw const SETTINGS.$($place)+) }
    };
}

macro_rules! numbers {
    ($($(#[$meta:meta])* $name:ident: $type:ty;)*) => {
        $($(#[$meta])* #[inline(always)] pub fn $name() -> $type { read!($name) })*
    };
}

macro_rules! switches {
    ($($(#[$meta:meta])* $name:ident;)*) => {
        $($(#[$meta])* #[inline(always)] pub fn $name() -> bool { read!($name) != 0 })*
    };
}

numbers! {
    /// Offset of `task_struct.stack`.
    task_stack: u32;
    /// Offset of the user's registers in a task's kernel stack.
    stack_regs: u32;
    /// Offset of `task_struct.__state`.
    task_state: u32;
    /// Offset of `task_struct.pid`.
    task_pid: u32;
    /// Offset of `task_struct.tgid`.
    task_tgid: u32;
    /// Offset of `task_struct.comm`.
    task_comm: u32;
    /// Offset of `task_struct.on_cpu`.
    task_on_cpu: u32;
    /// Offset of `task_struct.mm`; 0 where it is not known.
    task_mm: u32;
    /// Offset of `task_struct.cgroups`.
    task_cgroups: u32;
    /// Offset of `css_set.dfl_cgrp`.
    css_set_cgroup: u32;
    /// Offset of `cgroup.kn`.
    cgroup_kn: u32;
    /// Offset of `kernfs_node.id`.
    kernfs_id: u32;
    /// Offset of `cgroup.level`.
    cgroup_level: u32;
    /// Offset of `cgroup.ancestors`; 0 where the kernel has none.
    cgroup_ancestors: u32;
    /// Offset of `cgroup.ancestor_ids`; 0 where the kernel has none.
    cgroup_ancestor_ids: u32;
    /// Offset of `child_pid` in the classic tracepoint `sched_process_fork`.
    fork_child_pid: u32;
    /// Deepest user stack.
    max_user_frames: u32;
    /// Bytes of the ring.
    ring_bytes: u32;
    /// Which bits of a thread id are its place in `SLOTS`.
    slot_mask: u32;
    /// Offset of `task_struct.cred`; 0 where it is not known.
    task_cred: u32;
    /// Offset of `cred.uid`.
    cred_uid: u32;
}

switches! {
    /// The BTF tracepoint `sched_switch` tells the previous state.
    switch_has_state;
    /// The kernel stack of a block is wanted.
    block_kernel_stacks;
    /// Children have the marks of their parents.
    follow_forks;
}

/// Whether the programs run on arm64, not x86-64.
#[inline(always)]
pub fn is_arm() -> bool {
    read!(arch) == Arch::Aarch64.raw()
}

/// Whether the kernel has `bpf_task_pt_regs`.
#[inline(always)]
pub fn regs_by_helper() -> bool {
    read!(task_regs) == TaskRegs::Helper.raw()
}

/// Whether a task's user registers lie at a known place of its kernel stack.
#[inline(always)]
pub fn regs_by_offset() -> bool {
    read!(task_regs) == TaskRegs::StackTop.raw()
}

/// One of the two lists by which threads are chosen: of what is excluded, or of what is wanted.
pub struct List<const EXCLUDED: bool>;

/// Reads one field of a list, as above.
macro_rules! listed {
    ($($place:tt)+) => {
        if EXCLUDED { read!(excluded.$($place)+) } else { read!(wanted.$($place)+) }
    };
}

impl<const EXCLUDED: bool> List<EXCLUDED> {
    /// How many cgroups it has.
    #[inline(always)]
    pub fn cgroup_count() -> u32 {
        listed!(cgroup_count)
    }

    /// How many thread names it has.
    #[inline(always)]
    pub fn comm_count() -> u32 {
        listed!(comm_count)
    }

    /// How many users it has.
    #[inline(always)]
    pub fn user_count() -> u32 {
        listed!(user_count)
    }

    /// One cgroup: its depth and id.
    #[inline(always)]
    pub fn cgroup<const INDEX: usize>() -> (u32, u64) {
        const { assert!(INDEX < MAX_FILTERS) };
        (listed!(cgroups[INDEX].level), listed!(cgroups[INDEX].id))
    }

    /// One thread name, as two words.
    #[inline(always)]
    pub fn comm<const INDEX: usize>() -> [u64; 2] {
        const { assert!(INDEX < MAX_FILTERS && COMM_LEN == 16) };
        let lists =
            if EXCLUDED { &raw const SETTINGS.excluded } else { &raw const SETTINGS.wanted };
        // SAFETY: the names are two words each, and lie at a multiple of 8.
        unsafe {
            let words = (&raw const (*lists).comms[INDEX]).cast::<u64>();
            [words.read_volatile(), words.add(1).read_volatile()]
        }
    }

    /// One user.
    #[inline(always)]
    pub fn user<const INDEX: usize>() -> u32 {
        const { assert!(INDEX < MAX_FILTERS) };
        listed!(users[INDEX])
    }
}
