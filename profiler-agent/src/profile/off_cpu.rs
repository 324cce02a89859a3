//! Pairs the moments at which threads leave the CPU and come back into blocked time.
//!
//! A block that was seen to begin waits here, with its stack, for the [`Resume`] that names it. What
//! never gets one is sorted out at the end: the kernel's table says which threads are still off the
//! CPU. All times are clamped to the recording.

use std::collections::HashMap;
use std::sync::Arc;

use profiler_common::thread::{Skipped, THREAD_STATES, ThreadEntry, ThreadState};

use super::window::{SkippedTime, Window};
use crate::model::event::{Exit, Resume};
use crate::model::frame::Stack;
use crate::model::losses::Losses;
use crate::model::observation::{Activity, Observation, ThreadInfo};

/// Threads of which an open block, or skipped time, is remembered. A host has some thousands.
pub const MAX_THREADS: usize = 65_536;

/// A thread that left the CPU, attributed.
#[derive(Clone, Debug)]
pub struct Block {
    /// Whose.
    pub thread: Arc<ThreadInfo>,
    /// Where it was.
    pub stack: Stack,
    /// What it was from then on.
    pub state: ThreadState,
    /// When it left; the [`Resume`] that ends the block repeats it (CLOCK_MONOTONIC, ns).
    pub time_ns: u64,
    /// It was found off the CPU when the recording began: it counts from there.
    pub since_before: bool,
}

/// Skipped time of one thread, by state.
#[derive(Debug, Default)]
struct SkippedThread {
    /// Its labels, where a block of it was seen.
    thread: Option<Arc<ThreadInfo>>,
    by_state: [Skipped; THREAD_STATES],
}

/// The pairing. See the [module](self).
#[derive(Debug)]
pub struct OffCpu {
    started_at_ns: u64,
    max_threads: usize,
    open: HashMap<u32, Block>,
    skipped: HashMap<(u32, u32), SkippedThread>,
    losses: Losses,
}

impl OffCpu {
    /// For a recording that began then (CLOCK_MONOTONIC, ns).
    pub fn new(started_at_ns: u64) -> Self {
        Self {
            started_at_ns,
            max_threads: MAX_THREADS,
            open: HashMap::new(),
            skipped: HashMap::new(),
            losses: Losses::default(),
        }
    }

    /// A thread left the CPU. An older block of the same thread that is still open was shorter than
    /// the minimum, or its end was lost and its time is carried by the kernel: it counts for nothing.
    pub fn block(&mut self, block: Block) {
        let tid = block.thread.tid;
        if self.open.len() >= self.max_threads && !self.open.contains_key(&tid) {
            self.losses.add("blocks_lost_open_table_full", 1);
            return;
        }
        self.open.insert(tid, block);
    }

    /// A thread is back: what its block amounts to, if it was seen to begin.
    pub fn resume(&mut self, resume: &Resume) -> Option<Observation> {
        let open = self.open.get(&resume.tid);
        let block = open.filter(|b| b.time_ns == resume.blocked_at_ns).cloned();
        let thread = block.as_ref().map(|b| &b.thread);
        self.add_skipped((resume.pid, resume.tid), thread, &resume.skipped);
        let Some(block) = block else {
            // Without a block, a thread that died has told what it carried.
            let lost = (resume.blocked_at_ns != 0).into();
            self.losses.add("blocks_lost_without_begin", lost);
            return None;
        };
        self.open.remove(&resume.tid);
        self.observation(block, resume.resumed_at_ns)
    }

    /// The stack of a thread's block has become whole.
    pub fn replace_stack(&mut self, tid: u32, begun: &Stack, whole: &Stack) {
        if let Some(block) = self.open.get_mut(&tid)
            && Arc::ptr_eq(&block.stack, begun)
        {
            block.stack = Arc::clone(whole);
        }
    }

    /// A thread ended: its open block will not be resumed.
    pub fn exit(&mut self, exit: &Exit) {
        self.open.remove(&exit.tid);
    }

    /// The end of the recording. `threads` is the kernel's table: it tells which open blocks go on,
    /// and the time that threads carry without a stack. Both are counted into the window, the latter
    /// shared out over the thread's kept stacks. `describe` gives the labels of a thread of which no
    /// block was seen, by process and thread id.
    ///
    /// Returns what was turned away.
    pub fn finish(
        mut self,
        stopped_at_ns: u64,
        threads: &[(u32, ThreadEntry)],
        describe: impl FnMut(u32, u32) -> Arc<ThreadInfo>,
        window: &mut Window,
    ) -> Losses {
        for (tid, entry) in threads {
            let key = (entry.pid, *tid);
            let open = self.open.remove(tid).filter(|b| b.time_ns == entry.blocked_at_ns);
            self.add_skipped(key, open.as_ref().map(|b| &b.thread), &entry.skipped);
            match open {
                Some(block) => {
                    if let Some(observation) = self.observation(block, stopped_at_ns) {
                        window.add(observation);
                    }
                }
                None => self.add_skipped(key, None, &self.still_skipped(entry, stopped_at_ns)),
            }
        }
        window.share_out(&self.skipped_times(describe));
        self.losses
    }

    /// What was turned away so far.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    fn observation(&self, block: Block, ended_at_ns: u64) -> Option<Observation> {
        let from = if block.since_before { self.started_at_ns } else { block.time_ns };
        let ns = ended_at_ns.checked_sub(from.max(self.started_at_ns)).filter(|ns| *ns > 0)?;
        Some(Observation {
            thread: block.thread,
            stack: block.stack,
            activity: Activity::OffCpu(block.state),
            count: 1,
            ns,
        })
    }

    /// The block of a thread that is still off the CPU and whose stack is not here.
    fn still_skipped(&self, entry: &ThreadEntry, stopped_at_ns: u64) -> [Skipped; THREAD_STATES] {
        let mut by_state = [Skipped::default(); THREAD_STATES];
        let from = entry.blocked_at_ns.max(self.started_at_ns);
        let ns = stopped_at_ns.saturating_sub(from);
        if entry.blocked_at_ns != 0
            && ns > 0
            && let Some(state) = by_state.get_mut(entry.state as usize)
        {
            *state = Skipped { blocks: 1, ns };
        }
        by_state
    }

    fn add_skipped(
        &mut self,
        key: (u32, u32),
        thread: Option<&Arc<ThreadInfo>>,
        by_state: &[Skipped; THREAD_STATES],
    ) {
        if by_state.iter().all(|s| s.ns == 0 && s.blocks == 0) {
            return;
        }
        if self.skipped.len() >= self.max_threads && !self.skipped.contains_key(&key) {
            let blocks = by_state.iter().map(|s| s.blocks).sum();
            self.losses.add("blocks_lost_skipped_table_full", blocks);
            return;
        }
        let known = self.skipped.entry(key).or_default();
        if let Some(thread) = thread {
            known.thread = Some(Arc::clone(thread));
        }
        for (sum, more) in known.by_state.iter_mut().zip(by_state) {
            sum.blocks = sum.blocks.saturating_add(more.blocks);
            sum.ns = sum.ns.saturating_add(more.ns);
        }
    }

    /// In the order of process and thread id, so that equal recordings give equal profiles.
    fn skipped_times(
        &mut self,
        mut describe: impl FnMut(u32, u32) -> Arc<ThreadInfo>,
    ) -> Vec<SkippedTime> {
        let mut threads: Vec<_> = self.skipped.drain().collect();
        threads.sort_unstable_by_key(|(key, _)| *key);
        let mut times = Vec::with_capacity(threads.len());
        for ((pid, tid), skipped) in threads {
            let thread = skipped.thread.unwrap_or_else(|| describe(pid, tid));
            for (state, skipped) in ThreadState::ALL.iter().zip(skipped.by_state) {
                if skipped.ns > 0 || skipped.blocks > 0 {
                    times.push(SkippedTime { thread: Arc::clone(&thread), state: *state, skipped });
                }
            }
        }
        times
    }
}

#[cfg(test)]
mod tests;
