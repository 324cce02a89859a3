//! What the programs are told before the verifier sees them: the plan, translated for this kernel.

use profiler_common::record::COMM_LEN;
use profiler_common::settings::{Arch, CgroupFilter, MAX_FILTERS, Settings, TICK_NS};
use profiler_common::walk::{USER_FRAMES_BASE, USER_FRAMES_DEEP};

use super::error::KernelError;
use super::features::Features;
use super::plan::Plan;
use super::{cgroup, tracefs};

const NS_PER_SECOND: u64 = 1_000_000_000;

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
        filter_pids: (!plan.pids.is_empty()).into(),
        follow_forks: plan.follow_forks.into(),
        cgroup_count: plan.cgroups.len().min(MAX_FILTERS) as u32,
        comm_count: plan.comms.len().min(MAX_FILTERS) as u32,
        blocks_per_tick: blocks_per_tick(plan.blocks_per_second),
        task_mm: layout.mm,
        // Known with the sizes of the maps.
        ring_bytes: 0,
        _pad: 0,
        min_block_ns: u64::try_from(plan.min_block.as_nanos()).unwrap_or(u64::MAX),
        cgroups: cgroups(plan)?,
        comms: comms(plan),
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

/// At least one, so that a low rate is not none.
fn blocks_per_tick(per_second: u32) -> u32 {
    let per_tick = u64::from(per_second) * TICK_NS / NS_PER_SECOND;
    u32::try_from(per_tick).unwrap_or(u32::MAX).max(1)
}

fn cgroups(plan: &Plan) -> Result<[CgroupFilter; MAX_FILTERS], KernelError> {
    let mut filters = [CgroupFilter::default(); MAX_FILTERS];
    for (filter, path) in filters.iter_mut().zip(&plan.cgroups) {
        *filter = cgroup::filter(path)?;
    }
    Ok(filters)
}

fn comms(plan: &Plan) -> [[u8; COMM_LEN]; MAX_FILTERS] {
    let mut filters = [[0; COMM_LEN]; MAX_FILTERS];
    for (filter, comm) in filters.iter_mut().zip(&plan.comms) {
        filter.iter_mut().zip(comm.bytes()).for_each(|(to, from)| *to = from);
    }
    filters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_rate_is_not_none() {
        for (per_second, per_tick) in [(1, 1), (10, 1), (2_000, 200), (u32::MAX, 429_496_729)] {
            assert_eq!(blocks_per_tick(per_second), per_tick);
        }
    }

    #[test]
    fn names_are_padded_with_zeros() {
        let plan = Plan { comms: vec!["redis".to_owned(), "x".to_owned()], ..Plan::default() };
        let filters = comms(&plan);
        assert_eq!(&filters[0], b"redis\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!((filters[1][0], filters[1][1], filters[2]), (b'x', 0, [0; COMM_LEN]));
    }
}
