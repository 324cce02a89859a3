//! Stacks that were attributed before: a program is mostly where it has been, so most stacks cost one
//! lookup.
//!
//! The number of their frames is bounded: what comes once makes room for what comes again. A stack in a
//! memory that no process has any more is never asked for again, and would keep the files of that memory
//! open: those go by themselves.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use ahash::{AHashSet, RandomState};
use profiler_common::walk::WalkEnd;
use quick_cache::unsync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, Weighter};

use super::backoff::Backoff;
use crate::model::event::RawStack;
use crate::model::frame::Stack;

/// What a stack takes besides its frames, in frames of 40 bytes: its places in the cache, and the heads of
/// four pieces of memory.
const OVERHEAD: u64 = 8;

/// What a usual stack weighs.
const USUAL_WEIGHT: usize = 24;

/// Between two looks for stacks that nobody will ask for again.
const FORGET_EVERY: Duration = Duration::from_secs(5);

/// A stack with what has to be counted each time that it is handed out.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// Its frames.
    pub(super) stack: Stack,
    /// User frames that lie in no mapping.
    pub(super) unmapped: u64,
}

/// The stacks that are known.
#[derive(Debug)]
pub(super) struct Stacks {
    known: Cache<Key, Known, Frames, RandomState>,
    forget: Backoff,
}

/// Weighs a stack.
#[derive(Clone, Debug)]
struct Frames;

/// A raw stack in one version of an address space.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    version: u64,
    ends: (WalkEnd, WalkEnd),
    user: Box<[u64]>,
    kernel: Box<[u64]>,
}

/// The same, borrowed.
struct Query<'a> {
    version: u64,
    raw: &'a RawStack,
}

impl Weighter<Key, Known> for Frames {
    fn weight(&self, _: &Key, known: &Known) -> u64 {
        known.stack.len() as u64 + OVERHEAD
    }
}

impl Stacks {
    /// None, and never more than `max_frames` frames.
    pub(super) fn new(max_frames: usize) -> Self {
        let known = Cache::with(
            max_frames / USUAL_WEIGHT,
            max_frames as u64,
            Frames,
            RandomState::default(),
            DefaultLifecycle::default(),
        );
        Self { known, forget: Backoff::new(FORGET_EVERY, FORGET_EVERY) }
    }

    /// The attribution of a stack in this version of its address space.
    pub(super) fn get(&self, version: u64, raw: &RawStack) -> Option<Known> {
        self.known.get(&Query { version, raw }).cloned()
    }

    /// Keeps the attribution of a stack.
    pub(super) fn keep(&mut self, version: u64, raw: &RawStack, known: Known) {
        let key = Key {
            version,
            ends: (raw.user_end, raw.kernel_end),
            user: raw.user.as_slice().into(),
            kernel: raw.kernel.as_slice().into(),
        };
        self.known.insert(key, known);
    }

    /// Now and then: forgets the stacks in versions that are not in use any more.
    pub(super) fn forget_gone(&mut self, now_ns: u64, in_use: impl Fn() -> AHashSet<u64>) {
        if self.forget.is_due(now_ns) {
            let in_use = in_use();
            self.known.retain(|key, _| in_use.contains(&key.version));
        }
    }
}

impl Query<'_> {
    fn parts(&self) -> (u64, (WalkEnd, WalkEnd), &[u64], &[u64]) {
        let raw = self.raw;
        (self.version, (raw.user_end, raw.kernel_end), &raw.user, &raw.kernel)
    }
}

impl Key {
    fn parts(&self) -> (u64, (WalkEnd, WalkEnd), &[u64], &[u64]) {
        (self.version, self.ends, &self.user, &self.kernel)
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl Hash for Query<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl Equivalent<Key> for Query<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.parts() == key.parts()
    }
}

#[cfg(test)]
mod tests;
