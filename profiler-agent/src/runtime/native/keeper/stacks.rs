//! Stacks whose walk waits for tables: the first samples of a process, mostly. Each goes on as soon as
//! its process's list is complete, and ends where it is when that takes too long.

use std::time::{Duration, Instant};

use profiler_common::walk::WalkEnd;

use super::super::unwind::{Unwound, unwind};
use super::Keeper;
use crate::model::space::{Finished, Unfinished};
use crate::model::tables::KernelTables;
use crate::runtime::native::lists::ListId;

/// So long a stack waits.
const PATIENCE: Duration = Duration::from_secs(2);

/// Stacks that wait, at most: with up to 8 KiB each.
const MAX_WAITING: usize = 1024;

/// What waits, and what has come to an end.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    stacks: Vec<Waiter>,
    finished: Vec<Finished>,
}

#[derive(Debug)]
struct Waiter {
    stack: Unfinished,
    list: ListId,
    until: Instant,
}

impl<K: KernelTables> Keeper<K> {
    /// Takes a stack whose tables may still come. Where too many wait, it ends right away.
    pub fn hold(&mut self, stack: Unfinished, now: Instant) {
        let Some(id) = self.list_of(&stack.space, now) else {
            let Unfinished { ticket, .. } = stack;
            let (frames, end) = (Vec::new(), WalkEnd::NotReady);
            self.losses.add("unfinished_stacks_beyond_limit", 1);
            return self.stacks.finished.push(Finished { ticket, frames, end });
        };
        if let Some(list) = self.lists.get_mut(id) {
            list.stacks += 1;
        }
        let crowded = self.stacks.stacks.len() >= MAX_WAITING;
        self.losses.add("unfinished_stacks_beyond_limit", u64::from(crowded));
        let until = if crowded { now } else { now + PATIENCE };
        self.stacks.stacks.push(Waiter { stack, list: id, until });
    }

    /// Stacks whose walk has come to an end since this was last asked.
    pub fn take_finished(&mut self) -> Vec<Finished> {
        std::mem::take(&mut self.stacks.finished)
    }

    /// Whether a table is still waited for, by a process or by a stack.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || self.has_stacks()
    }

    /// Whether a stack still waits.
    pub fn has_stacks(&self) -> bool {
        !self.stacks.stacks.is_empty()
    }

    /// Goes on with every stack that has what it needs, or has waited for long enough.
    pub(super) fn finish_stacks(&mut self, now: Instant) {
        for waiter in std::mem::take(&mut self.stacks.stacks) {
            let complete = !self.waiting.contains(&waiter.list);
            if complete || waiter.until <= now {
                self.finish(waiter, now);
            } else {
                self.stacks.stacks.push(waiter);
            }
        }
    }

    fn finish(&mut self, Waiter { stack, list, .. }: Waiter, now: Instant) {
        let at = self.lists.get(list).and_then(|list| list.at).unwrap_or_default();
        let Unfinished { ticket, rest, limit, .. } = stack;
        let Unwound { frames, end } = unwind(&rest, at, &mut self.kernel, limit);
        self.stacks.finished.push(Finished { ticket, frames, end });
        let unused = self.lists.release(list);
        self.drop_list(unused, now);
    }
}
