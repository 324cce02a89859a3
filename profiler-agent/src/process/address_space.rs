//! The executable mappings of one process, by address.
//!
//! The kernel tells of what is mapped, never of what is unmapped: a new mapping is the news that
//! whatever lay below it is gone.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::model::space::{Code, Mapping, Space, lookup};

impl Mapping {
    /// The part of it that lies in `range`, if any.
    fn part(&self, range: Range<u64>) -> Option<Self> {
        let start = self.start.max(range.start);
        let end = self.end.min(range.end);
        let file_offset = match self.code {
            Code::Binary(_) => self.offset_of(start),
            Code::Generated => 0,
        };
        (start < end).then(|| Self { start, end, file_offset, code: self.code.clone() })
    }

    /// Whether the two say the same of an address that both hold, or would hold.
    fn agrees(&self, other: &Self) -> bool {
        match (&self.code, &other.code) {
            (Code::Generated, Code::Generated) => true,
            (Code::Binary(a), Code::Binary(b)) => {
                a.id == b.id && self.offset_of(other.start) == other.file_offset
            }
            _ => false,
        }
    }
}

/// What a new mapping did to the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing: it was known.
    None,
    /// It is there.
    Inserted,
    /// It was turned away for a limit. What it replaced is gone all the same.
    Full,
}

/// How many mappings all address spaces may hold together.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    used: Arc<AtomicUsize>,
    total: usize,
    per_space: usize,
}

impl Budget {
    /// Room for `total` mappings, and at most `per_space` in one address space.
    pub(super) fn new(total: usize, per_space: usize) -> Self {
        Self { used: Arc::default(), total, per_space }
    }

    /// Whether `more` mappings fit.
    pub(super) fn fits(&self, more: usize) -> bool {
        self.used.load(Ordering::Relaxed).saturating_add(more) <= self.total
    }

    fn grow(&self, n: usize) {
        self.used.fetch_add(n, Ordering::Relaxed);
    }

    fn shrink(&self, n: usize) {
        self.used.fetch_sub(n, Ordering::Relaxed);
    }
}

/// All executable mappings of a process. They do not overlap.
#[derive(Debug)]
pub(super) struct AddressSpace {
    /// Shared with whoever was told of it, and copied when it changes then.
    mappings: Space,
    budget: Budget,
}

impl AddressSpace {
    /// Nothing mapped.
    pub(super) fn new(budget: Budget) -> Self {
        Self { mappings: Space::default(), budget }
    }

    /// How many mappings there are.
    pub(super) fn len(&self) -> usize {
        self.mappings.len()
    }

    /// As it is now.
    pub(super) fn snapshot(&self) -> Space {
        Arc::clone(&self.mappings)
    }

    /// Whether both hold the same at every address.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        let same =
            |(a, b): (&Mapping, &Mapping)| a.start == b.start && a.end == b.end && a.agrees(b);
        self.len() == other.len() && self.mappings.iter().zip(&*other.mappings).all(same)
    }

    /// The mapping that holds an address.
    pub(super) fn lookup(&self, address: u64) -> Option<&Mapping> {
        lookup(&self.mappings, address)
    }

    /// All of them, by address.
    pub(super) fn mappings(&self) -> &[Mapping] {
        &self.mappings
    }

    /// Whether [`Self::insert`] of this mapping would change nothing.
    pub(super) fn knows(&self, new: &Mapping) -> bool {
        self.lookup(new.start).is_some_and(|m| new.end <= m.end && m.agrees(new))
    }

    /// Puts a mapping where it says, cutting or replacing older ones.
    pub(super) fn insert(&mut self, new: Mapping) -> Change {
        if new.start >= new.end || self.knows(&new) {
            return Change::None;
        }
        let first = self.mappings.partition_point(|m| m.end <= new.start);
        let last = self.mappings.partition_point(|m| m.start < new.end);
        let replaced = self.mappings.get(first..last).unwrap_or_default();
        let left = replaced.first().and_then(|m| m.part(0..new.start));
        let right = replaced.last().and_then(|m| m.part(new.end..u64::MAX));

        let before = self.mappings.len();
        let after = before - replaced.len()
            + 1
            + usize::from(left.is_some())
            + usize::from(right.is_some());
        let full =
            after > before && (after > self.budget.per_space || !self.budget.fits(after - before));
        let pieces: Vec<Mapping> = if full {
            // Where even the two halves do not fit in place of the whole, the upper is given up.
            left.into_iter().chain(right).take(replaced.len()).collect()
        } else {
            merge(left.into_iter().chain([new]).chain(right))
        };
        let count = pieces.len();
        Arc::make_mut(&mut self.mappings).splice(first..last, pieces);
        if !full {
            self.merge_neighbours(first, first + count);
        }
        self.account(before);
        if full { Change::Full } else { Change::Inserted }
    }

    /// Joins the mappings at the two ends of `from..to` with their neighbours where they continue each
    /// other: a runtime that grows its code page by page has one mapping, as in the kernel.
    fn merge_neighbours(&mut self, from: usize, to: usize) {
        let from = from.saturating_sub(1);
        let to = (to + 1).min(self.mappings.len());
        let Some(around) = self.mappings.get(from..to) else { return };
        let merged = merge(around.iter().cloned());
        if merged.len() < around.len() {
            Arc::make_mut(&mut self.mappings).splice(from..to, merged);
        }
    }

    fn account(&self, before: usize) {
        let now = self.mappings.len();
        if now > before {
            self.budget.grow(now - before);
        } else {
            self.budget.shrink(before - now);
        }
    }
}

/// Joins each mapping with the one before where it continues it.
fn merge(mappings: impl IntoIterator<Item = Mapping>) -> Vec<Mapping> {
    let mut merged: Vec<Mapping> = Vec::new();
    for mapping in mappings {
        match merged.last_mut() {
            Some(last) if last.end == mapping.start && last.agrees(&mapping) => {
                last.end = mapping.end;
            }
            _ => merged.push(mapping),
        }
    }
    merged
}

impl Clone for AddressSpace {
    fn clone(&self) -> Self {
        self.budget.grow(self.mappings.len());
        Self { mappings: Arc::clone(&self.mappings), budget: self.budget.clone() }
    }
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        self.budget.shrink(self.mappings.len());
    }
}

#[cfg(test)]
mod tests;
