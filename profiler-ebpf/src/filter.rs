//! Which threads a recording wants: by process, by user, by cgroup, by name. What is excluded is not
//! wanted, whatever else it is.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::task_struct,
    helpers::generated::{
        bpf_get_current_ancestor_cgroup_id, bpf_get_current_comm, bpf_get_current_uid_gid,
    },
};
use profiler_common::{
    live::{Live, marks, select},
    record::COMM_LEN,
};

use crate::{
    maps,
    opaque::clear,
    regs::read_kernel,
    settings::{self, List},
};

/// `test::<0>() || … test::<7>()`, of as many entries as a list has of a kind.
macro_rules! any {
    ($excluded:literal, $count:ident, $test:ident($($arg:expr),*)) => {{
        let count = List::<$excluded>::$count();
        any!(@ count $excluded $test ($($arg),*) 0 1 2 3 4 5 6 7)
    }};
    (@ $count:ident $excluded:literal $test:ident $args:tt $($index:literal)+) => {
        $(($count > $index && any!(@@ $excluded $test $index $args)) ||)+ false
    };
    (@@ $excluded:literal $test:ident $index:literal ($($arg:expr),*)) => {
        $test::<$excluded, $index>($($arg),*)
    };
}

/// Whether a thread is in the list of what is wanted, if that has any of its kind, and not in the list of
/// what is excluded.
macro_rules! chosen {
    ($count:ident, $test:ident($($arg:expr),*)) => {
        (List::<false>::$count() == 0 || any!(false, $count, $test($($arg),*)))
            && !any!(true, $count, $test($($arg),*))
    };
}

/// Whether no list has any of a kind.
macro_rules! nobody_asks {
    ($count:ident) => {
        List::<false>::$count() == 0 && List::<true>::$count() == 0
    };
}

/// Whether the current thread, of process `pid`, is wanted.
#[inline(always)]
pub fn wants_current(pid: u32, live: &Live) -> bool {
    wants_process(pid, live) && wants_current_user() && wants_cgroup() && wants_comm()
}

/// Whether a process is wanted, as far as its number says.
#[inline(always)]
pub fn wants_process(pid: u32, live: &Live) -> bool {
    let select = live.select;
    if select == 0 {
        return true;
    }
    let marks = maps::marks(pid);
    let known = marks & marks::WANTED != 0 || select & select::ONLY_WANTED == 0;
    known && (marks & marks::EXCLUDED == 0 || select & select::SOME_EXCLUDED == 0)
}

#[inline(always)]
fn wants_current_user() -> bool {
    if nobody_asks!(user_count) {
        return true;
    }
    // SAFETY: the helper takes nothing. The lower half is the user, in the initial namespace.
    let user = unsafe { bpf_get_current_uid_gid() } as u32;
    chosen!(user_count, is_user(user))
}

#[inline(always)]
fn is_user<const EXCLUDED: bool, const INDEX: usize>(user: u32) -> bool {
    List::<EXCLUDED>::user::<INDEX>() == user
}

#[inline(always)]
fn wants_cgroup() -> bool {
    chosen!(cgroup_count, in_cgroup())
}

#[inline(always)]
fn in_cgroup<const EXCLUDED: bool, const INDEX: usize>() -> bool {
    let (level, id) = List::<EXCLUDED>::cgroup::<INDEX>();
    // SAFETY: the helper takes any level, and answers 0 where there is none.
    unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) == id }
}

#[inline(always)]
fn wants_comm() -> bool {
    if nobody_asks!(comm_count) {
        return true;
    }
    let mut comm = MaybeUninit::<[u64; 2]>::uninit();
    clear(comm.as_mut_ptr());
    // SAFETY: room for the 16 bytes of a name, which are zero.
    let comm = unsafe {
        bpf_get_current_comm(comm.as_mut_ptr().cast(), COMM_LEN as u32);
        comm.assume_init()
    };
    chosen!(comm_count, has_comm(comm))
}

#[inline(always)]
fn has_comm<const EXCLUDED: bool, const INDEX: usize>(comm: [u64; 2]) -> bool {
    List::<EXCLUDED>::comm::<INDEX>() == comm
}

/// Whether a thread's name is wanted.
#[inline(always)]
pub fn wants_comm_in(comm: &[u8; COMM_LEN]) -> bool {
    // SAFETY: as long as two words; it lies at a multiple of 8 in the record.
    let comm = unsafe { core::ptr::from_ref(comm).cast::<[u64; 2]>().read_unaligned() };
    chosen!(comm_count, has_comm(comm))
}

/// Whether any thread's user is wanted.
#[inline(always)]
pub fn wants_user_of(task: *mut task_struct) -> bool {
    if nobody_asks!(user_count) {
        return true;
    }
    let mut user = u32::MAX;
    let cred = pointer(task as u64, settings::task_cred());
    read_kernel(&raw mut user, 4, cred.wrapping_add(settings::cred_uid().into()));
    chosen!(user_count, is_user(user))
}

/// The id of the cgroup (v2) of any thread; 0 where it cannot be read.
#[inline(always)]
pub fn cgroup_of(task: *mut task_struct) -> u64 {
    id_of(group_of(task))
}

/// Whether any thread's cgroup is wanted.
#[inline(always)]
pub fn wants_cgroup_of(task: *mut task_struct) -> bool {
    if nobody_asks!(cgroup_count) {
        return true;
    }
    let group = group_of(task);
    let mut level = 0u32;
    read_kernel(&raw mut level, 4, group.wrapping_add(settings::cgroup_level().into()));
    chosen!(cgroup_count, is_below(group, level))
}

/// Whether a `struct cgroup`, `depth` levels below the root, lies in one of the list.
#[inline(always)]
fn is_below<const EXCLUDED: bool, const INDEX: usize>(group: u64, depth: u32) -> bool {
    let (level, id) = List::<EXCLUDED>::cgroup::<INDEX>();
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
