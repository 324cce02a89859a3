//! Pairs the moments at which threads leave the CPU and come back into blocked time.
//!
//! A block that was seen to begin waits here, with its stack, for the [`Resume`] that names it. At the
//! end of a window, the kernel's table says which threads are still off the CPU: each of them counts
//! with its part, and goes on into the next window. Time without a stack is in [`skipped`].

mod skipped;

use std::collections::HashSet;
use std::sync::Arc;

use ahash::AHashMap;
use profiler_common::thread::{Skipped, THREAD_STATES, ThreadEntry, ThreadState};

use self::skipped::{Counted, SkippedThreads};
use super::window::Window;
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

/// The end of a window.
#[derive(Clone, Copy, Debug)]
pub struct Boundary<'a> {
    /// When it is (CLOCK_MONOTONIC, ns).
    pub at_ns: u64,
    /// The kernel's table, as it was then or a little later.
    pub threads: &'a [(u32, ThreadEntry)],
    /// Blocks, by thread id and beginning, that ended between `at_ns` and the reading of the table.
    pub ended_since: &'a HashSet<(u32, u64)>,
    /// A block that is younger may turn out to be none: it waits for the next window.
    pub min_block_ns: u64,
    /// Whether what threads carry belongs to this window: not where the table was read so late that it
    /// belongs to the next.
    pub counts_carried: bool,
}

/// A block that has not ended.
#[derive(Clone, Debug)]
struct Open {
    block: Block,
    /// Up to here windows have counted it; 0 where none has.
    counted_until_ns: u64,
    /// What they have counted.
    counted_ns: u64,
}

/// The pairing. See the [module](self).
#[derive(Debug)]
pub struct OffCpu {
    started_at_ns: u64,
    max_threads: usize,
    open: AHashMap<u32, Open>,
    skipped: SkippedThreads,
    losses: Losses,
}

impl OffCpu {
    /// For a recording that began then (CLOCK_MONOTONIC, ns).
    pub fn new(started_at_ns: u64) -> Self {
        Self {
            started_at_ns,
            max_threads: MAX_THREADS,
            open: AHashMap::new(),
            skipped: SkippedThreads::new(MAX_THREADS),
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
        // A window may have ended before this was known to have a stack.
        let counted = self.skipped.take_block((block.thread.pid, tid), block.time_ns);
        let Counted { until_ns, ns, .. } = counted.unwrap_or_default();
        let open = Open { block, counted_until_ns: until_ns, counted_ns: ns };
        if let Some(older) = self.open.insert(tid, open) {
            self.give_to_carried(&older);
        }
    }

    /// A thread is back: what its block amounts to, if it was seen to begin.
    pub fn resume(&mut self, resume: &Resume) -> Option<Observation> {
        let key = (resume.pid, resume.tid);
        let open = self.open.get(&resume.tid);
        let open = open.filter(|o| o.block.time_ns == resume.blocked_at_ns).cloned();
        let thread = open.as_ref().map(|open| &open.block.thread);
        self.skipped.sent(key, thread, &resume.skipped, &mut self.losses);
        let Some(open) = open else {
            if let Some(counted) = self.skipped.take_block(key, resume.blocked_at_ns) {
                // The record of its beginning was lost, not its time.
                let ns = resume.resumed_at_ns.saturating_sub(counted.until_ns);
                self.skipped.add(key, counted.state, Skipped { blocks: 0, ns });
                return None;
            }
            // Without a block, a thread that died has told what it carried.
            let lost = (resume.blocked_at_ns != 0).into();
            self.losses.add("blocks_lost_without_begin", lost);
            return None;
        };
        self.open.remove(&resume.tid);
        self.observation(&open, resume.resumed_at_ns)
    }

    /// The stack of a thread's block has become whole.
    pub fn replace_stack(&mut self, tid: u32, begun: &Stack, whole: &Stack) {
        if let Some(Open { block, .. }) = self.open.get_mut(&tid)
            && Arc::ptr_eq(&block.stack, begun)
        {
            block.stack = Arc::clone(whole);
        }
    }

    /// A thread ended: its open block will not be resumed.
    pub fn exit(&mut self, exit: &Exit) {
        if let Some(open) = self.open.remove(&exit.tid) {
            self.give_to_carried(&open);
        }
    }

    /// The end of a window, and not of the recording: what is still blocked counts with its part of this
    /// window, and goes on. Time that threads carry without a stack is shared out over the stacks that
    /// the window has of the thread. `describe` gives the labels of a thread of which no block was seen,
    /// by process and thread id.
    ///
    /// All windows together count what one window of their length would have: a block counts as one in
    /// the first window that has a part of it, and with time alone in the others.
    pub fn end_window(
        &mut self,
        boundary: &Boundary<'_>,
        describe: impl FnMut(u32, u32) -> Arc<ThreadInfo>,
        window: &mut Window,
    ) {
        // A map that changes while it is read may say a thread twice: the last word holds.
        let entries: AHashMap<u32, &ThreadEntry> =
            boundary.threads.iter().map(|(tid, entry)| (*tid, entry)).collect();
        self.count_open(boundary, &entries, window);
        for (tid, entry) in &entries {
            let key = (entry.pid, *tid);
            let open = self.open.get(tid).filter(|o| o.block.time_ns == entry.blocked_at_ns);
            if boundary.counts_carried {
                let thread = open.map(|o| &o.block.thread);
                self.skipped.carries(key, thread, &entry.skipped, &mut self.losses);
            }
            if open.is_none() {
                self.count_without_stack(key, entry, boundary);
            }
        }
        let ended: HashSet<u32> = boundary.ended_since.iter().map(|(tid, _)| *tid).collect();
        let lives = |tid: u32| entries.contains_key(&tid) || ended.contains(&tid);
        window.share_out(&self.skipped.take(describe, lives));
    }

    /// The end of the recording: of its last window, where nothing waits for a next one.
    ///
    /// Returns what was turned away.
    pub fn finish(
        mut self,
        stopped_at_ns: u64,
        threads: &[(u32, ThreadEntry)],
        describe: impl FnMut(u32, u32) -> Arc<ThreadInfo>,
        window: &mut Window,
    ) -> Losses {
        let boundary = Boundary {
            at_ns: stopped_at_ns,
            threads,
            ended_since: &HashSet::new(),
            min_block_ns: 0,
            counts_carried: true,
        };
        self.end_window(&boundary, describe, window);
        self.losses
    }

    /// What was turned away so far.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// When a block began, as far as the recording knows of it.
    fn began_at(&self, block: &Block) -> u64 {
        if block.since_before { self.started_at_ns } else { block.time_ns.max(self.started_at_ns) }
    }

    /// What of a block no window has counted yet.
    fn observation(&self, open: &Open, ended_at_ns: u64) -> Option<Observation> {
        let from = self.began_at(&open.block).max(open.counted_until_ns);
        let ns = ended_at_ns.checked_sub(from).filter(|ns| *ns > 0)?;
        Some(Observation {
            thread: Arc::clone(&open.block.thread),
            stack: Arc::clone(&open.block.stack),
            activity: Activity::OffCpu(open.block.state),
            count: (open.counted_until_ns == 0).into(),
            ns,
        })
    }

    /// Counts the parts of open blocks, and forgets those that are not open any more.
    fn count_open(
        &mut self,
        boundary: &Boundary<'_>,
        entries: &AHashMap<u32, &ThreadEntry>,
        window: &mut Window,
    ) {
        // In this order, so that equal recordings give equal profiles.
        let mut tids: Vec<u32> = self.open.keys().copied().collect();
        tids.sort_unstable();
        for tid in tids {
            let Some(mut open) = self.open.remove(&tid) else { continue };
            let time_ns = open.block.time_ns;
            let lasts = entries.get(&tid).is_some_and(|entry| entry.blocked_at_ns == time_ns)
                || boundary.ended_since.contains(&(tid, time_ns));
            if !lasts {
                self.give_to_carried(&open);
                continue;
            }
            let age = boundary.at_ns.saturating_sub(self.began_at(&open.block));
            if age >= boundary.min_block_ns
                && let Some(part) = self.observation(&open, boundary.at_ns)
            {
                open.counted_until_ns = boundary.at_ns;
                open.counted_ns = open.counted_ns.saturating_add(part.ns);
                window.add(part);
            }
            self.open.insert(tid, open);
        }
    }

    /// Counts the part of a block that goes on and whose stack is not here.
    fn count_without_stack(
        &mut self,
        key: (u32, u32),
        entry: &ThreadEntry,
        boundary: &Boundary<'_>,
    ) {
        let from = entry.blocked_at_ns.max(self.started_at_ns);
        let age = boundary.at_ns.saturating_sub(from);
        if entry.blocked_at_ns == 0 || age == 0 || age < boundary.min_block_ns {
            return;
        }
        let state = entry.state as usize;
        if state < THREAD_STATES {
            let block = (entry.blocked_at_ns, state, from);
            self.skipped.goes_on(key, block, boundary.at_ns, &mut self.losses);
        }
    }

    /// The end of a block was lost: the kernel carries all of its time, also what was counted here.
    fn give_to_carried(&mut self, open: &Open) {
        if open.counted_until_ns != 0 {
            let key = (open.block.thread.pid, open.block.thread.tid);
            let counted = Skipped { blocks: 1, ns: open.counted_ns };
            self.skipped.counted(key, open.block.state, counted);
        }
    }
}

#[cfg(test)]
mod tests;
