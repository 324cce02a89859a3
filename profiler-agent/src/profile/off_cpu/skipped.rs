//! Time off the CPU of which no stack was kept, by thread and state.
//!
//! The kernel carries it with each thread, and sends the sum with the thread's next record. A window
//! that ends in between counts what is carried so far, and remembers that it did: of what is sent later,
//! only the rest is new.

use std::sync::Arc;

use ahash::AHashMap;
use profiler_common::thread::{Skipped, THREAD_STATES, ThreadState};

use crate::model::losses::Losses;
use crate::model::observation::ThreadInfo;
use crate::profile::window::SkippedTime;

/// Process and thread id.
type Key = (u32, u32);

type ByState = [Skipped; THREAD_STATES];

/// What windows have counted of a block that goes on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    /// When it began.
    blocked_at_ns: u64,
    /// Up to when it is counted.
    pub(super) until_ns: u64,
    /// How much that is.
    pub(super) ns: u64,
    /// Index of its state.
    pub(super) state: usize,
}

/// One thread.
#[derive(Debug, Default)]
struct SkippedThread {
    /// Its labels, where a block of it was seen.
    thread: Option<Arc<ThreadInfo>>,
    /// For this window.
    by_state: ByState,
    /// Counted, of what the kernel has not sent yet.
    counted: ByState,
    /// The block that goes on, which is in `counted` too.
    block: Option<Counted>,
}

/// All threads.
#[derive(Debug)]
pub(super) struct SkippedThreads {
    threads: AHashMap<Key, SkippedThread>,
    max_threads: usize,
}

impl SkippedThreads {
    /// None; never more than so many.
    pub(super) fn new(max_threads: usize) -> Self {
        Self { threads: AHashMap::new(), max_threads }
    }

    /// A thread has sent what it carried, and carries nothing now.
    pub(super) fn sent(
        &mut self,
        key: Key,
        thread: Option<&Arc<ThreadInfo>>,
        sent: &ByState,
        losses: &mut Losses,
    ) {
        if is_nothing(sent) {
            return;
        }
        let Some(known) = self.entry(key, sent, losses) else { return };
        known.learn(thread);
        for ((sum, counted), sent) in known.by_state.iter_mut().zip(&mut known.counted).zip(sent) {
            add(sum, less(*sent, *counted));
            *counted = less(*counted, *sent);
        }
    }

    /// A thread carries this at the end of a window.
    pub(super) fn carries(
        &mut self,
        key: Key,
        thread: Option<&Arc<ThreadInfo>>,
        carried: &ByState,
        losses: &mut Losses,
    ) {
        if is_nothing(carried) {
            return;
        }
        let Some(known) = self.entry(key, carried, losses) else { return };
        known.learn(thread);
        let sums = known.by_state.iter_mut().zip(&mut known.counted);
        for ((sum, counted), carried) in sums.zip(carried) {
            let new = less(*carried, *counted);
            add(sum, new);
            add(counted, new);
        }
    }

    /// A block without a stack goes on at the end of a window: when it began, the index of its state, and
    /// from when on it counts.
    pub(super) fn goes_on(
        &mut self,
        key: Key,
        (blocked_at_ns, state, from_ns): (u64, usize, u64),
        at_ns: u64,
        losses: &mut Losses,
    ) {
        let one = [Skipped { blocks: 1, ns: 0 }; 1];
        let Some(known) = self.entry(key, &one, losses) else { return };
        let before = known.block.filter(|block| block.blocked_at_ns == blocked_at_ns);
        let from_ns = before.map_or(from_ns, |block| from_ns.max(block.until_ns));
        let ns = at_ns.saturating_sub(from_ns);
        let part = Skipped { blocks: before.is_none().into(), ns };
        for sums in [&mut known.by_state, &mut known.counted] {
            sums.get_mut(state).into_iter().for_each(|sum| add(sum, part));
        }
        let ns = before.map_or(0, |block| block.ns).saturating_add(ns);
        known.block = Some(Counted { blocked_at_ns, until_ns: at_ns, ns, state });
    }

    /// What was counted of a block that goes on, if it is this one; the kernel will not carry it.
    pub(super) fn take_block(&mut self, key: Key, blocked_at_ns: u64) -> Option<Counted> {
        let known = self.threads.get_mut(&key)?;
        let block = known.block.take_if(|block| block.blocked_at_ns == blocked_at_ns)?;
        if let Some(counted) = known.counted.get_mut(block.state) {
            *counted = less(*counted, Skipped { blocks: 1, ns: block.ns });
        }
        Some(block)
    }

    /// Adds to what this window has of a thread that is known.
    pub(super) fn add(&mut self, key: Key, state: usize, more: Skipped) {
        let known = self.threads.get_mut(&key);
        known
            .and_then(|known| known.by_state.get_mut(state))
            .into_iter()
            .for_each(|s| add(s, more));
    }

    /// This much was counted of what the kernel carries.
    pub(super) fn counted(&mut self, key: Key, state: ThreadState, counted: Skipped) {
        // Where there is no room, it will count a second time: the table is far larger than the kernel's.
        if let Some(known) = self.entry(key, &[], &mut Losses::default())
            && let Some(sum) = known.counted.get_mut(state.raw() as usize)
        {
            add(sum, counted);
        }
    }

    /// What this window has, in the order of process and thread id, so that equal recordings give equal
    /// profiles. Of threads that do not live any more, the rest is forgotten.
    pub(super) fn take(
        &mut self,
        mut describe: impl FnMut(u32, u32) -> Arc<ThreadInfo>,
        lives: impl Fn(u32) -> bool,
    ) -> Vec<SkippedTime> {
        let mut keys: Vec<Key> = self.threads.keys().copied().collect();
        keys.sort_unstable();
        let mut times = Vec::new();
        for key in keys {
            let Some(known) = self.threads.get_mut(&key) else { continue };
            let by_state = std::mem::take(&mut known.by_state);
            if !is_nothing(&by_state) {
                let thread = known.thread.get_or_insert_with(|| describe(key.0, key.1));
                for (state, skipped) in ThreadState::ALL.iter().zip(by_state) {
                    if skipped.ns > 0 || skipped.blocks > 0 {
                        let thread = Arc::clone(thread);
                        times.push(SkippedTime { thread, state: *state, skipped });
                    }
                }
            }
            if is_nothing(&known.counted) || !lives(key.1) {
                self.threads.remove(&key);
            }
        }
        times
    }

    /// Whether nothing is kept.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }

    /// Room for a thread; where there is none, its blocks are counted as lost.
    fn entry(
        &mut self,
        key: Key,
        lost: &[Skipped],
        losses: &mut Losses,
    ) -> Option<&mut SkippedThread> {
        if self.threads.len() >= self.max_threads && !self.threads.contains_key(&key) {
            losses.add("blocks_lost_skipped_table_full", lost.iter().map(|s| s.blocks).sum());
            return None;
        }
        Some(self.threads.entry(key).or_default())
    }
}

impl SkippedThread {
    fn learn(&mut self, thread: Option<&Arc<ThreadInfo>>) {
        if let Some(thread) = thread {
            self.thread = Some(Arc::clone(thread));
        }
    }
}

fn is_nothing(by_state: &[Skipped]) -> bool {
    by_state.iter().all(|s| s.ns == 0 && s.blocks == 0)
}

fn add(sum: &mut Skipped, more: Skipped) {
    sum.blocks = sum.blocks.saturating_add(more.blocks);
    sum.ns = sum.ns.saturating_add(more.ns);
}

fn less(all: Skipped, part: Skipped) -> Skipped {
    Skipped { blocks: all.blocks.saturating_sub(part.blocks), ns: all.ns.saturating_sub(part.ns) }
}
