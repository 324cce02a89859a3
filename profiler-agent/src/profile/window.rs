//! Samples and blocked time of one stretch of time, added up by thread, activity and stack.
//!
//! Stacks are interned: a stack that comes a thousand times is kept once, and a sample refers to it by
//! number. Every table is bounded. What comes when a table is full is still counted, in full, under a
//! marker that says so: the sum over a window is the sum of what was added, always.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use ahash::RandomState;
use indexmap::{IndexMap, IndexSet};
use profiler_common::thread::{Skipped, ThreadState};

use super::share;
use crate::model::frame::{Frame, FrameKey, Marker, Stack};
use crate::model::losses::Losses;
use crate::model::observation::{Activity, Observation, ThreadInfo};

/// How much a window holds before it counts under a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Different stacks.
    pub stacks: usize,
    /// Frames in all the stacks together: what the memory goes to.
    pub frames: usize,
    /// Different combinations of thread, activity and stack.
    pub samples: usize,
}

impl Default for Limits {
    /// Room for a busy host of some hundred processes; at the most some 50 MB.
    fn default() -> Self {
        Self { stacks: 50_000, frames: 1_000_000, samples: 100_000 }
    }
}

/// What a sample is of: numbers into the tables of threads and stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct SampleKey {
    thread: usize,
    stack: usize,
    activity: Activity,
}

/// How often, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Samples, or blocks.
    pub count: u64,
    /// Time that they stand for, ns.
    pub ns: u64,
}

impl Tally {
    fn add(&mut self, count: u64, ns: u64) {
        self.count = self.count.saturating_add(count);
        self.ns = self.ns.saturating_add(ns);
    }
}

/// One line of a window.
#[derive(Clone, Copy, Debug)]
pub struct WindowSample<'a> {
    /// Whose.
    pub thread: &'a Arc<ThreadInfo>,
    /// Where.
    pub stack: &'a Stack,
    /// On what.
    pub activity: Activity,
    /// How much.
    pub tally: Tally,
}

/// Time off the CPU of one thread in one state, of which no stack was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedTime {
    /// Whose.
    pub thread: Arc<ThreadInfo>,
    /// In which state.
    pub state: ThreadState,
    /// How much.
    pub skipped: Skipped,
}

/// The table. See the [module](self).
#[derive(Debug)]
pub struct Window {
    limits: Limits,
    threads: IndexSet<Arc<ThreadInfo>, RandomState>,
    stacks: IndexSet<Stack, RandomState>,
    samples: IndexMap<SampleKey, Tally, RandomState>,
    frames_held: usize,
    known_frames: IndexSet<FrameKey, RandomState>,
    new_frames: Vec<Frame>,
    losses: Losses,
}

impl Window {
    /// An empty window.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            threads: IndexSet::default(),
            stacks: IndexSet::default(),
            samples: IndexMap::default(),
            frames_held: 0,
            known_frames: IndexSet::default(),
            new_frames: Vec::new(),
            losses: Losses::default(),
        }
    }

    /// Counts one observation. One that stands for nothing is ignored.
    pub fn add(&mut self, observation: Observation) {
        let Observation { thread, stack, activity, count, ns } = observation;
        if count == 0 && ns == 0 {
            return;
        }
        let stack = self.stack_number(stack);
        let thread = self.thread_number(thread);
        self.tally(SampleKey { thread, stack, activity }).add(count, ns);
    }

    /// Shares time without a stack out over the stacks that were kept of the same thread in the same
    /// state, in proportion to their time. Where there is none, it is counted under
    /// [`Marker::StackNotSampled`]. The sums come out exactly.
    pub fn share_out(&mut self, skipped: &[SkippedTime]) {
        if skipped.is_empty() {
            return;
        }
        let mut kept: HashMap<(u32, u32, ThreadState), Vec<usize>> = HashMap::new();
        for (index, (key, _)) in self.samples.iter().enumerate() {
            let Activity::OffCpu(state) = key.activity else { continue };
            let Some(thread) = self.threads.get_index(key.thread) else { continue };
            kept.entry((thread.pid, thread.tid, state)).or_default().push(index);
        }
        for SkippedTime { thread, state, skipped } in skipped {
            match kept.get(&(thread.pid, thread.tid, *state)) {
                Some(indices) => self.share_over(indices, *skipped),
                None => self.add(Observation {
                    thread: Arc::clone(thread),
                    stack: marker_stack(Marker::StackNotSampled),
                    activity: Activity::OffCpu(*state),
                    count: skipped.blocks,
                    ns: skipped.ns,
                }),
            }
        }
    }

    /// Frames that were not handed out before, for the symbolizer.
    pub fn take_new_frames(&mut self) -> Vec<Frame> {
        mem::take(&mut self.new_frames)
    }

    /// Leaves out the threads that are not wanted.
    pub fn retain(&mut self, is_wanted: impl Fn(&ThreadInfo) -> bool) {
        let Self { threads, samples, .. } = self;
        samples.retain(|key, _| threads.get_index(key.thread).is_some_and(|t| is_wanted(t)));
    }

    /// Every frame of its stacks once.
    pub fn frames(&self) -> impl Iterator<Item = FrameKey> + '_ {
        self.known_frames.iter().copied()
    }

    /// All lines, in the order in which they were first seen.
    pub fn samples(&self) -> impl Iterator<Item = WindowSample<'_>> {
        self.samples.iter().filter_map(|(key, tally)| {
            Some(WindowSample {
                thread: self.threads.get_index(key.thread)?,
                stack: self.stacks.get_index(key.stack)?,
                activity: key.activity,
                tally: *tally,
            })
        })
    }

    /// Sum over all lines of time on the CPU.
    pub fn on_cpu(&self) -> Tally {
        self.sum(|activity| activity == Activity::OnCpu)
    }

    /// Sum over all lines of time off the CPU, in whatever state.
    pub fn off_cpu(&self) -> Tally {
        self.sum(|activity| activity != Activity::OnCpu)
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// What was counted under a marker because a table was full.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    fn sum(&self, wanted: impl Fn(Activity) -> bool) -> Tally {
        let mut sum = Tally::default();
        for (_, tally) in self.samples.iter().filter(|(key, _)| wanted(key.activity)) {
            sum.add(tally.count, tally.ns);
        }
        sum
    }

    fn stack_number(&mut self, stack: Stack) -> usize {
        // A sample without a location is none to the readers of a profile.
        let stack = if stack.is_empty() { marker_stack(Marker::NoStack) } else { stack };
        if let Some(number) = self.stacks.get_index_of(&stack) {
            return number;
        }
        let full = self.stacks.len() >= self.limits.stacks
            || self.frames_held.saturating_add(stack.len()) > self.limits.frames;
        if full {
            self.losses.add("samples_without_stack_table_full", 1);
            return self.stacks.insert_full(marker_stack(Marker::StackTableFull)).0;
        }
        self.frames_held += stack.len();
        for frame in stack.iter() {
            if self.known_frames.insert(frame.key()) {
                self.new_frames.push(frame.clone());
            }
        }
        self.stacks.insert_full(stack).0
    }

    fn thread_number(&mut self, thread: Arc<ThreadInfo>) -> usize {
        if let Some(number) = self.threads.get_index_of(&thread) {
            return number;
        }
        // Of the threads beyond the limit no sample has room either: `tally` counts them.
        let full = self.threads.len() >= self.limits.samples;
        self.threads.insert_full(if full { other_threads() } else { thread }).0
    }

    /// The line of a key; of all lines beyond the limit, one per activity.
    fn tally(&mut self, key: SampleKey) -> &mut Tally {
        let full = self.samples.len() >= self.limits.samples && !self.samples.contains_key(&key);
        let key = if full {
            self.losses.add("samples_without_thread_table_full", 1);
            let stack = self.stacks.insert_full(marker_stack(Marker::StackTableFull)).0;
            let thread = self.threads.insert_full(other_threads()).0;
            SampleKey { thread, stack, ..key }
        } else {
            key
        };
        self.samples.entry(key).or_default()
    }

    fn share_over(&mut self, indices: &[usize], skipped: Skipped) {
        let weights: Vec<u64> = indices
            .iter()
            .map(|i| self.samples.get_index(*i).map_or(0, |(_, tally)| tally.ns))
            .collect();
        let counts = share::in_proportion(skipped.blocks, &weights);
        let times = share::in_proportion(skipped.ns, &weights);
        for ((index, count), ns) in indices.iter().zip(counts).zip(times) {
            if let Some((_, tally)) = self.samples.get_index_mut(*index) {
                tally.add(count, ns);
            }
        }
    }
}

/// A stack that only says why there is none.
fn marker_stack(marker: Marker) -> Stack {
    Arc::from([Frame::Marker(marker)])
}

/// Stands for the threads that had no room of their own.
fn other_threads() -> Arc<ThreadInfo> {
    let name: Arc<str> = Arc::from("[other threads: table full]");
    let (process, cgroup) = (Arc::clone(&name), Arc::from(""));
    let service = Arc::clone(&cgroup);
    Arc::new(ThreadInfo { pid: 0, tid: 0, process, thread: name, cgroup, service })
}

#[cfg(test)]
mod tests;
