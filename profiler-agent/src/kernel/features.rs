//! What the running kernel can do. Everything that a probe can tell is probed; the release decides
//! only where a feature works from some version on although an older kernel has its parts.

use std::io;

use aya::maps::MapType;
use aya::programs::{ProgramError, ProgramType};
use aya::sys::{BpfHelper, is_helper_supported, is_map_supported};
use profiler_common::settings::TaskRegs;

use super::btf::{self, Btf};
use super::clock::Clock;
use super::error::KernelError;
use super::plan::{Feature, Plan};
use super::{privileges, sideband, system};

/// The kernel's stack of a task where BTF does not tell its size: 16 KiB on x86-64 and, with pages of
/// 4 KiB, on arm64. The programs check what they find there.
const THREAD_SIZE: u32 = 16 << 10;

/// Major and minor number of a kernel release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion(pub u32, pub u32);

impl KernelVersion {
    /// From `uname -r`; 0.0 where it does not begin with two numbers.
    pub fn parse(release: &str) -> Self {
        let mut numbers =
            release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
        Self(numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }
}

/// Offsets and sizes of the kernel's own structures, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskLayout {
    /// `task_struct.stack`.
    pub stack: u32,
    /// `task_struct.__state` (5.14 and later) or `state`.
    pub state: u32,
    /// `task_struct.pid`.
    pub pid: u32,
    /// `task_struct.tgid`.
    pub tgid: u32,
    /// `task_struct.comm`.
    pub comm: u32,
    /// `task_struct.on_cpu`; 0 where the kernel has none (a kernel without SMP).
    pub on_cpu: u32,
    /// `task_struct.mm`.
    pub mm: u32,
    /// `task_struct.cred`.
    pub cred: u32,
    /// `cred.uid`.
    pub cred_uid: u32,
    /// Where the user's registers begin in a task's kernel stack.
    pub stack_regs: u32,
    /// The way from a task to its cgroup.
    pub cgroup: CgroupLayout,
}

/// Offsets on the way from a task to its cgroup in the v2 hierarchy, in bytes; all 0 where the kernel
/// has no cgroups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupLayout {
    /// `task_struct.cgroups`.
    pub task_cgroups: u32,
    /// `css_set.dfl_cgrp`.
    pub css_set_cgroup: u32,
    /// `cgroup.kn`.
    pub cgroup_kn: u32,
    /// `kernfs_node.id`.
    pub kernfs_id: u32,
    /// `cgroup.level`.
    pub cgroup_level: u32,
    /// `cgroup.ancestors` (6.1 and later), or 0.
    pub ancestors: u32,
    /// `cgroup.ancestor_ids` (before 6.1), or 0.
    pub ancestor_ids: u32,
}

/// What a recording can build on.
#[derive(Clone, Debug)]
pub struct Features {
    /// `uname -r`.
    pub release: String,
    /// The same as numbers.
    pub version: KernelVersion,
    /// The sampling clock.
    pub clock: Clock,
    /// How the user's registers of a thread inside the kernel are found.
    pub task_regs: TaskRegs,
    /// Layout of the kernel's structures; `None` without BTF.
    pub layout: Option<TaskLayout>,
    /// Programs may stand on BTF tracepoints.
    pub btf_tracepoints: bool,
    /// `sched_switch` hands over the previous state.
    pub switch_has_state: bool,
    /// Stacks of 512 frames.
    pub deep_stacks: bool,
    /// The task iterator can read the user stacks of sleeping threads.
    pub sleepers: bool,
    /// Mapping records carry build IDs.
    pub mmap_build_id: bool,
}

impl Features {
    /// Asks the kernel. A refusal for lack of privileges is an error; everything else has a fallback,
    /// except the ring buffer.
    pub fn probe(plan: &Plan) -> Result<Self, KernelError> {
        let release = system::kernel_release()?;
        let version = KernelVersion::parse(&release);
        if !is_map_supported(MapType::RingBuf).map_err(|e| refused(e.io_error))? {
            return Err(KernelError::TooOld { release, feature: "BPF ring buffer" });
        }
        let btf = if plan.allows(Feature::Btf) { read_btf()? } else { None };
        let layout = btf.as_ref().and_then(TaskLayout::read);
        let switch_arguments = btf.as_ref().and_then(|b| b.tracepoint_arguments("sched_switch"));
        let btf_tracepoints =
            layout.is_some() && switch_arguments.is_some() && plan.allows(Feature::BtfTracepoints);
        Ok(Self {
            task_regs: task_regs(plan, layout.is_some())?,
            btf_tracepoints,
            switch_has_state: switch_arguments == Some(4),
            // bpf_loop came in 5.17, but its callbacks take the programs' way through the verifier
            // only from 6.1 on.
            deep_stacks: plan.allows(Feature::DeepStacks)
                && version >= KernelVersion(6, 1)
                && has_helper(BpfHelper::BPF_FUNC_loop)?,
            sleepers: btf_tracepoints
                && plan.allows(Feature::SleepersIterator)
                && btf.as_ref().is_some_and(has_sleepers),
            clock: Clock::probe(plan.allows(Feature::HardwareCycles))?,
            mmap_build_id: plan.allows(Feature::MmapBuildId) && sideband::build_ids_supported(),
            layout,
            version,
            release,
        })
    }
}

impl TaskLayout {
    fn read(btf: &Btf) -> Option<Self> {
        let task_struct = btf.structure("task_struct")?;
        let task = |member| task_struct.offset_of(member);
        let stack_size = btf.structure("thread_union").map_or(THREAD_SIZE, |s| s.size());
        Some(Self {
            stack: task("stack")?,
            state: task("__state").or_else(|| task("state"))?,
            pid: task("pid")?,
            tgid: task("tgid")?,
            comm: task("comm")?,
            on_cpu: task("on_cpu").unwrap_or(0),
            mm: task("mm").unwrap_or(0),
            cred: task("cred").unwrap_or(0),
            cred_uid: btf.structure("cred").and_then(|s| s.offset_of("uid")).unwrap_or(0),
            cgroup: CgroupLayout::read(btf).unwrap_or_default(),
            stack_regs: stack_size.checked_sub(btf.structure("pt_regs")?.size())?,
        })
    }
}

impl CgroupLayout {
    fn read(btf: &Btf) -> Option<Self> {
        let cgroup = btf.structure("cgroup")?;
        Some(Self {
            task_cgroups: btf.structure("task_struct")?.offset_of("cgroups")?,
            css_set_cgroup: btf.structure("css_set")?.offset_of("dfl_cgrp")?,
            cgroup_kn: cgroup.offset_of("kn")?,
            kernfs_id: btf.structure("kernfs_node")?.offset_of("id")?,
            cgroup_level: cgroup.offset_of("level")?,
            ancestors: cgroup.offset_of("ancestors").unwrap_or(0),
            ancestor_ids: cgroup.offset_of("ancestor_ids").unwrap_or(0),
        })
    }
}

fn read_btf() -> Result<Option<Btf>, KernelError> {
    Btf::of_kernel().map_err(|source| KernelError::Read { path: btf::PATH.into(), source })
}

/// The iterator's programs cannot be probed by loading one (they need a target), but every kernel that
/// has the helper lists it in its types.
fn has_sleepers(btf: &Btf) -> bool {
    btf.has_function("bpf_iter_task")
        && btf.has_enumerator("bpf_func_id", "BPF_FUNC_copy_from_user_task")
}

fn task_regs(plan: &Plan, layout: bool) -> Result<TaskRegs, KernelError> {
    if plan.allows(Feature::TaskPtRegs) && has_helper(BpfHelper::BPF_FUNC_task_pt_regs)? {
        return Ok(TaskRegs::Helper);
    }
    Ok(if layout { TaskRegs::StackTop } else { TaskRegs::Unknown })
}

fn has_helper(helper: BpfHelper) -> Result<bool, KernelError> {
    is_helper_supported(ProgramType::PerfEvent, helper).map_err(|e| match e {
        ProgramError::SyscallError(e) => refused(e.io_error),
        other => refused(io::Error::other(other)),
    })
}

fn refused(source: io::Error) -> KernelError {
    privileges::denied("loading a BPF program", source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_compare_as_numbers() {
        for (release, expected) in [
            ("6.18.44-fc-v669", KernelVersion(6, 18)),
            ("5.10.0-32-cloud-amd64", KernelVersion(5, 10)),
            ("7.3-rc1", KernelVersion(7, 3)),
            ("", KernelVersion(0, 0)),
        ] {
            assert_eq!(KernelVersion::parse(release), expected, "{release}");
        }
        assert!(KernelVersion(5, 10) < KernelVersion(6, 1));
    }

    #[test]
    fn this_kernels_layout_is_plausible() {
        let btf = Btf::of_kernel().unwrap().expect("this machine's kernel has no BTF");
        let layout = TaskLayout::read(&btf).expect("its BTF describes task_struct");
        let size = btf.structure("task_struct").unwrap().size();
        for offset in [layout.stack, layout.state, layout.pid, layout.tgid, layout.comm] {
            assert!(offset < size, "{layout:?}");
        }
        assert_eq!(layout.tgid, layout.pid + 4);
        let cgroup = layout.cgroup;
        assert!(
            cgroup.task_cgroups > 0 && cgroup.ancestors.max(cgroup.ancestor_ids) > 0,
            "{cgroup:?}"
        );
    }
}
