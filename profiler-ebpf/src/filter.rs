//! Which threads a recording wants: by process, by cgroup, by name.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::task_struct,
    helpers::generated::{bpf_get_current_ancestor_cgroup_id, bpf_get_current_comm},
};
use profiler_common::record::COMM_LEN;

use crate::{maps::TARGETS, opaque::clear, regs::read_kernel, settings};

/// Whether the current thread, of process `pid`, is wanted.
#[inline(always)]
pub fn wants_current(pid: u32) -> bool {
    wants_process(pid) && wants_cgroup() && wants_comm()
}

/// Whether a process is wanted, as far as its number says.
#[inline(always)]
pub fn wants_process(pid: u32) -> bool {
    !settings::filter_pids() || TARGETS.get_ptr(pid).is_some()
}

/// `test::<0>() || … test::<7>()`, of as many tests as are set.
macro_rules! any_filter {
    ($count:expr, $test:ident($($arg:expr),*)) => {{
        let count = $count;
        any_filter!(@ count $test ($($arg),*) 0 1 2 3 4 5 6 7)
    }};
    (@ $count:ident $test:ident $args:tt $($index:literal)+) => {
        $(($count > $index && any_filter!(@@ $test $index $args)) ||)+ false
    };
    (@@ $test:ident $index:literal ($($arg:expr),*)) => { $test::<$index>($($arg),*) };
}

#[inline(always)]
fn wants_cgroup() -> bool {
    let count = settings::cgroup_count();
    count == 0 || any_filter!(count, in_cgroup())
}

#[inline(always)]
fn in_cgroup<const INDEX: usize>() -> bool {
    let (level, id) = settings::cgroup::<INDEX>();
    // SAFETY: the helper takes any level, and answers 0 where there is none.
    unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) == id }
}

#[inline(always)]
fn wants_comm() -> bool {
    let count = settings::comm_count();
    if count == 0 {
        return true;
    }
    let mut comm = MaybeUninit::<[u64; 2]>::uninit();
    clear(comm.as_mut_ptr());
    // SAFETY: room for the 16 bytes of a name, which are zero.
    let comm = unsafe {
        bpf_get_current_comm(comm.as_mut_ptr().cast(), COMM_LEN as u32);
        comm.assume_init()
    };
    any_filter!(count, has_comm(comm))
}

#[inline(always)]
fn has_comm<const INDEX: usize>(comm: [u64; 2]) -> bool {
    settings::comm::<INDEX>() == comm
}

/// Whether a thread's name is wanted.
#[inline(always)]
pub fn wants_comm_in(comm: &[u8; COMM_LEN]) -> bool {
    let count = settings::comm_count();
    // SAFETY: as long as two words; it lies at a multiple of 8 in the record.
    let comm = unsafe { core::ptr::from_ref(comm).cast::<[u64; 2]>().read_unaligned() };
    count == 0 || any_filter!(count, has_comm(comm))
}

/// The id of the cgroup (v2) of any thread; 0 where it cannot be read.
#[inline(always)]
pub fn cgroup_of(task: *mut task_struct) -> u64 {
    id_of(group_of(task))
}

/// Whether any thread's cgroup is wanted.
#[inline(always)]
pub fn wants_cgroup_of(task: *mut task_struct) -> bool {
    let count = settings::cgroup_count();
    if count == 0 {
        return true;
    }
    let group = group_of(task);
    let mut level = 0u32;
    read_kernel(&raw mut level, 4, group.wrapping_add(settings::cgroup_level().into()));
    any_filter!(count, is_below(group, level))
}

/// Whether a `struct cgroup`, `depth` levels below the root, lies in a wanted one.
#[inline(always)]
fn is_below<const INDEX: usize>(group: u64, depth: u32) -> bool {
    let (level, id) = settings::cgroup::<INDEX>();
    if level > depth {
        return false;
    }
    let entry = u64::from(level) * 8;
    let ancestors = settings::cgroup_ancestors();
    if ancestors != 0 {
        return id_of(pointer(group.wrapping_add(entry), ancestors)) == id;
    }
    let ids = settings::cgroup_ancestor_ids();
    ids != 0 && pointer(group.wrapping_add(entry), ids) == id
}

#[inline(always)]
fn group_of(task: *mut task_struct) -> u64 {
    pointer(pointer(task as u64, settings::task_cgroups()), settings::css_set_cgroup())
}

#[inline(always)]
fn id_of(group: u64) -> u64 {
    pointer(pointer(group, settings::cgroup_kn()), settings::kernfs_id())
}

/// A word of a kernel structure; 0 where it cannot be read.
#[inline(always)]
fn pointer(structure: u64, offset: u32) -> u64 {
    let mut word = 0u64;
    if read_kernel(&raw mut word, 8, structure.wrapping_add(offset.into())) { word } else { 0 }
}
