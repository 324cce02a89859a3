//! Stacks that were attributed before: a program is mostly where it has been, so most stacks cost one
//! lookup.
//!
//! Two generations bound it: when the young one has its share of frames, it becomes the old one, and
//! what the old one held is forgotten, except what was asked for meanwhile.

use std::hash::{Hash, Hasher};
use std::mem;

use ahash::RandomState;
use indexmap::{Equivalent, IndexMap};
use profiler_common::walk::WalkEnd;

use crate::model::event::RawStack;
use crate::model::frame::Stack;

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
    young: IndexMap<Key, Known, RandomState>,
    old: IndexMap<Key, Known, RandomState>,
    young_frames: usize,
    max_young_frames: usize,
}

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

impl Stacks {
    /// None, and never more than `max_frames` frames.
    pub(super) fn new(max_frames: usize) -> Self {
        Self {
            young: IndexMap::default(),
            old: IndexMap::default(),
            young_frames: 0,
            max_young_frames: max_frames / 2,
        }
    }

    /// The attribution of a stack in this version of its address space.
    pub(super) fn get(&mut self, version: u64, raw: &RawStack) -> Option<Known> {
        let query = Query { version, raw };
        if let Some(known) = self.young.get(&query) {
            return Some(known.clone());
        }
        let (key, known) = self.old.swap_remove_entry(&query)?;
        self.insert(key, known.clone());
        Some(known)
    }

    /// Keeps the attribution of a stack.
    pub(super) fn keep(&mut self, version: u64, raw: &RawStack, known: Known) {
        let key = Key {
            version,
            ends: (raw.user_end, raw.kernel_end),
            user: raw.user.as_slice().into(),
            kernel: raw.kernel.as_slice().into(),
        };
        self.insert(key, known);
    }

    fn insert(&mut self, key: Key, known: Known) {
        // An empty stack is not free either.
        self.young_frames += known.stack.len() + 1;
        if self.young_frames > self.max_young_frames {
            self.old = mem::take(&mut self.young);
            self.young_frames = known.stack.len() + 1;
        }
        self.young.insert(key, known);
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
