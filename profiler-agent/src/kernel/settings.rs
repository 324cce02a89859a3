//! What the programs are told before the verifier sees them: the plan, translated for this kernel.

use std::path::PathBuf;

use profiler_common::record::COMM_LEN;
use profiler_common::settings::{Arch, Filters, MAX_FILTERS, Settings};
use profiler_common::walk::{USER_FRAMES_BASE, USER_FRAMES_DEEP};

use super::error::KernelError;
use super::features::Features;
use super::plan::Plan;
use super::{cgroup, tracefs};

/// Translates a plan.
pub fn settings(plan: &Plan, features: &Features) -> Result<Settings, KernelError> {
    let layout = features.layout.unwrap_or_default();
    Ok(Settings {
        arch: arch().raw(),
        task_regs: features.task_regs.raw(),
        task_stack: layout.stack,
        stack_regs: layout.stack_regs,
        task_state: layout.state,
        task_pid: layout.pid,
        task_tgid: layout.tgid,
        task_comm: layout.comm,
        task_on_cpu: layout.on_cpu,
        task_cgroups: layout.cgroup.task_cgroups,
        css_set_cgroup: layout.cgroup.css_set_cgroup,
        cgroup_kn: layout.cgroup.cgroup_kn,
        kernfs_id: layout.cgroup.kernfs_id,
        cgroup_level: layout.cgroup.cgroup_level,
        cgroup_ancestors: layout.cgroup.ancestors,
        cgroup_ancestor_ids: layout.cgroup.ancestor_ids,
        fork_child_pid: fork_child_pid(features),
        switch_has_state: features.switch_has_state.into(),
        max_user_frames: if features.deep_stacks { USER_FRAMES_DEEP } else { USER_FRAMES_BASE },
        block_kernel_stacks: 1,
        follow_forks: plan.follow_forks.into(),
        task_cred: layout.cred,
        cred_uid: layout.cred_uid,
        task_mm: layout.mm,
        // Known with the sizes of the maps.
        ring_bytes: 0,
        slot_mask: 0,
        wanted: filters(&plan.cgroups, &plan.comms, &plan.users)?,
        excluded: filters(&plan.exclude.cgroups, &plan.exclude.comms, &plan.exclude.users)?,
    })
}

const fn arch() -> Arch {
    if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86_64 }
}

/// Where the classic tracepoint says who was born. Without tracefs that does not matter: the program
/// cannot be attached, which says so.
fn fork_child_pid(features: &Features) -> u32 {
    if features.btf_tracepoints {
        return 0;
    }
    tracefs::field_offset("sched/sched_process_fork", "child_pid")
        .unwrap_or(Settings::NEUTRAL.fork_child_pid)
}

fn filters(cgroups: &[PathBuf], comms: &[String], users: &[u32]) -> Result<Filters, KernelError> {
    let count = |len: usize| len.min(MAX_FILTERS) as u32;
    let mut filters = Filters {
        cgroup_count: count(cgroups.len()),
        comm_count: count(comms.len()),
        user_count: count(users.len()),
        comms: padded(comms),
        ..Filters::NONE
    };
    for (filter, path) in filters.cgroups.iter_mut().zip(cgroups) {
        *filter = cgroup::filter(path)?;
    }
    filters.users.iter_mut().zip(users).for_each(|(to, from)| *to = *from);
    Ok(filters)
}

fn padded(comms: &[String]) -> [[u8; COMM_LEN]; MAX_FILTERS] {
    let mut filters = [[0; COMM_LEN]; MAX_FILTERS];
    for (filter, comm) in filters.iter_mut().zip(comms) {
        filter.iter_mut().zip(comm.bytes()).for_each(|(to, from)| *to = from);
    }
    filters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_padded_with_zeros() {
        let filters = padded(&["redis".to_owned(), "x".to_owned()]);
        assert_eq!(&filters[0], b"redis\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!((filters[1][0], filters[1][1], filters[2]), (b'x', 0, [0; COMM_LEN]));
    }
}
