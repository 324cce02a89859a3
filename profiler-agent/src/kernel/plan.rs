//! What one recording asks of the kernel, and whether that can be asked at all.

use std::path::PathBuf;
use std::time::Duration;

use profiler_common::record::COMM_LEN;
use profiler_common::settings::MAX_FILTERS;

use crate::model::choice::EventChoice;

/// Samples per second and CPU that a recording may ask for.
pub const MAX_FREQUENCY: u32 = 10_000;

/// A feature of newer kernels or better hardware that has a fallback. A plan may do without one that
/// is there, so that tests reach every fallback on one kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feature {
    /// The hardware event `cycles`; without it, the software clock `cpu-clock`.
    HardwareCycles,
    /// The helper `bpf_task_pt_regs` (5.15); without it, the registers at the top of the kernel stack.
    TaskPtRegs,
    /// Type information of the kernel (`/sys/kernel/btf/vmlinux`) and all that stands on it.
    Btf,
    /// BTF tracepoints; without them, classic tracepoints, which need tracefs.
    BtfTracepoints,
    /// Stacks of 512 frames (6.1); without it, 120.
    DeepStacks,
    /// The task iterator with `bpf_copy_from_user_task` (5.18); without it, sleeping threads are read
    /// from `/proc`, without a stack.
    SleepersIterator,
    /// Build IDs in mapping records (5.12); without it, device and inode.
    MmapBuildId,
}

/// What one recording asks of the kernel side.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is recorded.
    pub event: EventChoice,
    /// Samples per second and CPU, 1 to [`MAX_FREQUENCY`].
    pub frequency: u32,
    /// Shorter blocks are only counted.
    pub min_block: Duration,
    /// Blocks per second of which a CPU keeps the stack; the time of the rest is carried and scaled.
    pub blocks_per_second: u32,
    /// Processes that are wanted; empty for all.
    pub pids: Vec<u32>,
    /// Directories of cgroups of the v2 hierarchy that are wanted, with all below them; empty for all.
    pub cgroups: Vec<PathBuf>,
    /// Thread names that are wanted, as the kernel keeps them (15 bytes); empty for all.
    pub comms: Vec<String>,
    /// Users that are wanted, by their number in the initial user namespace; empty for all.
    pub users: Vec<u32>,
    /// What is not recorded although it is wanted.
    pub exclude: Exclude,
    /// Children that a process starts from now on are wanted, or excluded, as their parent is.
    pub follow_forks: bool,
    /// Forward what the BPF programs have to say to `tracing`.
    pub bpf_log: bool,
    /// Features to do without although the kernel has them.
    pub without: Vec<Feature>,
}

/// What is not recorded. The programs drop it before anything is walked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exclude {
    /// Processes.
    pub pids: Vec<u32>,
    /// Directories of cgroups of the v2 hierarchy, with all below them.
    pub cgroups: Vec<PathBuf>,
    /// Thread names, as the kernel keeps them (15 bytes).
    pub comms: Vec<String>,
    /// Users, by their number in the initial user namespace.
    pub users: Vec<u32>,
}

impl Feature {
    /// Every feature, with its name on the command line.
    const NAMES: &[(Self, &str)] = &[
        (Self::HardwareCycles, "hardware-cycles"),
        (Self::TaskPtRegs, "task-pt-regs"),
        (Self::Btf, "btf"),
        (Self::BtfTracepoints, "btf-tracepoints"),
        (Self::DeepStacks, "deep-stacks"),
        (Self::SleepersIterator, "sleepers-iterator"),
        (Self::MmapBuildId, "mmap-build-id"),
    ];
}

impl std::str::FromStr for Feature {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(_, name)| *name == text);
        found.map(|(feature, _)| *feature).ok_or_else(|| {
            let names: Vec<_> = Self::NAMES.iter().map(|(_, name)| *name).collect();
            format!("no such feature; there are {}", names.join(", "))
        })
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            event: EventChoice::OnCpu,
            frequency: 99,
            min_block: Duration::from_micros(1),
            blocks_per_second: 2_000,
            pids: Vec::new(),
            cgroups: Vec::new(),
            comms: Vec::new(),
            users: Vec::new(),
            exclude: Exclude::default(),
            follow_forks: true,
            bpf_log: false,
            without: Vec::new(),
        }
    }
}

/// A plan that no kernel can follow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The frequency is out of range.
    #[error("a frequency of {0} Hz cannot be sampled: choose 1 to {MAX_FREQUENCY}")]
    Frequency(u32),
    /// No block would keep its stack.
    #[error("a rate of 0 blocks per second keeps no stack: choose at least 1")]
    NoBlocks,
    /// More filters of a kind than the kernel side compares.
    #[error("{count} {kind} are too many to filter by: at most {MAX_FILTERS}")]
    TooManyFilters {
        /// Of what.
        kind: &'static str,
        /// How many were asked for.
        count: usize,
    },
    /// A thread name that no thread can have.
    #[error(
        "no thread can be named {0:?}: the kernel keeps 1 to {max} bytes, so give the first {max} of a longer name",
        max = COMM_LEN - 1
    )]
    Comm(String),
}

impl Plan {
    /// Checks what can be checked without asking the kernel.
    pub fn validate(&self) -> Result<(), PlanError> {
        if !(1..=MAX_FREQUENCY).contains(&self.frequency) {
            return Err(PlanError::Frequency(self.frequency));
        }
        if self.event.off_cpu() && self.blocks_per_second == 0 {
            return Err(PlanError::NoBlocks);
        }
        let Self { exclude, .. } = self;
        for (kind, count) in [
            ("cgroups", self.cgroups.len()),
            ("thread names", self.comms.len()),
            ("users", self.users.len()),
            ("excluded cgroups", exclude.cgroups.len()),
            ("excluded thread names", exclude.comms.len()),
            ("excluded users", exclude.users.len()),
        ] {
            if count > MAX_FILTERS {
                return Err(PlanError::TooManyFilters { kind, count });
            }
        }
        let impossible = |c: &&String| c.is_empty() || c.len() >= COMM_LEN || c.contains('\0');
        let found = self.comms.iter().chain(&exclude.comms).find(impossible);
        found.map_or(Ok(()), |c| Err(PlanError::Comm(c.clone())))
    }

    /// Whether a feature may be used if the kernel has it.
    pub fn allows(&self, feature: Feature) -> bool {
        !self.without.contains(&feature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_no_kernel_can_follow_is_refused() {
        let names = |n: usize| vec!["x".to_owned(); n];
        let many = PlanError::TooManyFilters { kind: "thread names", count: 9 };
        let plan = Plan::default;
        for (plan, expected) in [
            (plan(), Ok(())),
            (Plan { frequency: 0, ..plan() }, Err(PlanError::Frequency(0))),
            (Plan { frequency: 10_001, ..plan() }, Err(PlanError::Frequency(10_001))),
            (Plan { frequency: 10_000, comms: names(8), ..plan() }, Ok(())),
            (Plan { comms: names(9), ..plan() }, Err(many)),
            (
                Plan { exclude: Exclude { users: vec![0; 9], ..Exclude::default() }, ..plan() },
                Err(PlanError::TooManyFilters { kind: "excluded users", count: 9 }),
            ),
            (Plan { comms: vec!["fifteen-bytes-x".into()], ..plan() }, Ok(())),
            (Plan { comms: vec![String::new()], ..plan() }, Err(PlanError::Comm(String::new()))),
            (
                Plan { comms: vec!["sixteen-bytes-xx".into()], ..plan() },
                Err(PlanError::Comm("sixteen-bytes-xx".into())),
            ),
            (Plan { blocks_per_second: 0, ..plan() }, Ok(())),
            (
                Plan { blocks_per_second: 0, event: EventChoice::Wall, ..plan() },
                Err(PlanError::NoBlocks),
            ),
        ] {
            assert_eq!(plan.validate(), expected, "{plan:?}");
        }
    }
}
