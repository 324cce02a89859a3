//! Which threads a recording wants: by process, by cgroup, by name.

use aya_ebpf::helpers::generated::{bpf_get_current_ancestor_cgroup_id, bpf_get_current_comm};

use crate::{maps::TARGETS, settings};

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

/// `$found || test::<0>() || … test::<7>()`, of as many tests as are set.
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
    let mut comm = [0u64; 2];
    // SAFETY: room for the 16 bytes of a name.
    unsafe { bpf_get_current_comm((&raw mut comm).cast(), 16) };
    is_wanted_comm(comm)
}

/// Whether a name, padded with zeros, is one of those that are wanted.
#[inline(always)]
pub fn is_wanted_comm(comm: [u64; 2]) -> bool {
    any_filter!(settings::comm_count(), has_comm(comm))
}

#[inline(always)]
fn has_comm<const INDEX: usize>(comm: [u64; 2]) -> bool {
    settings::comm::<INDEX>() == comm
}
