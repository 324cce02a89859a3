//! What stays true for a whole recording, for titles and for the comments of profiles.

use profiler_common::walk::{USER_FRAMES_BASE, USER_FRAMES_DEEP};

use super::error::KernelError;
use super::features::Features;
use super::plan::Plan;
use super::system;
use crate::model::choice::EventChoice;
use crate::model::rates::period_of;

/// See the module.
#[derive(Clone, Debug)]
pub struct Facts {
    /// When the recording began (CLOCK_MONOTONIC, ns).
    pub started_at_ns: u64,
    /// The same moment since the Unix epoch, in ns.
    pub started_at_unix_ns: u64,
    /// What is recorded.
    pub event: EventChoice,
    /// The sampling clock: `cycles` or `cpu-clock`.
    pub clock: &'static str,
    /// Samples per second and CPU.
    pub frequency: u32,
    /// What one on-CPU sample stands for, in ns.
    pub period_ns: u64,
    /// Shorter blocks are not in the recording, in ns.
    pub min_block_ns: u64,
    /// Deepest user stack.
    pub max_user_frames: u32,
    /// `uname -r`.
    pub kernel_release: String,
    /// `uname -n`.
    pub hostname: String,
    /// `uname -m`.
    pub arch: &'static str,
    /// CPUs that were online at the start.
    pub cpus: usize,
}

impl Facts {
    /// Of a recording that begins now; `deep` says whether its stacks may be.
    pub(super) fn new(
        plan: &Plan,
        features: &Features,
        deep: bool,
        cpus: usize,
    ) -> Result<Self, KernelError> {
        Ok(Self {
            event: plan.event,
            clock: features.clock.name(),
            frequency: plan.frequency,
            period_ns: period_of(plan.frequency),
            min_block_ns: u64::try_from(plan.min_block.as_nanos()).unwrap_or(u64::MAX),
            max_user_frames: if deep { USER_FRAMES_DEEP } else { USER_FRAMES_BASE },
            kernel_release: features.release.clone(),
            hostname: system::hostname()?,
            arch: system::ARCH,
            cpus,
            started_at_ns: system::monotonic_ns(),
            started_at_unix_ns: system::unix_ns(),
        })
    }
}
