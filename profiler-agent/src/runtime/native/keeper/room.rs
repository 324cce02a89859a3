//! Room in the arena: what is placed, what goes first when there is too little, and what is tried
//! again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Job, Keeper};
use crate::model::tables::KernelTables;
use crate::runtime::native::cut::PlacedPart;
use crate::runtime::native::shelf::State;
use crate::runtime::native::table::Part;

/// Of the arena, one part in so many is kept free of tables, for the lists of the processes.
const LISTS_SHARE: u64 = 16;

/// Tables that nothing maps leave the arena before less than one part in so many is free.
const SPARE_SHARE: u64 = 8;

/// What found no room is not read again sooner than this.
const RETRY: Duration = Duration::from_secs(5);

impl<K: KernelTables> Keeper<K> {
    /// Places the parts of a table: all or none.
    pub(super) fn place(&mut self, parts: &[Part], now: Instant) -> Option<Box<[PlacedPart]>> {
        let room = self.kernel.room(now);
        if room.free < bytes(parts).saturating_add(room.total / LISTS_SHARE) {
            return None;
        }
        let mut placed = Vec::with_capacity(parts.len());
        for part in parts {
            let Some(place) = self.kernel.place(&part.bytes, now) else {
                placed.iter().for_each(|part: &PlacedPart| self.kernel.free(part.place, now));
                return None;
            };
            placed.push(PlacedPart {
                address: part.address,
                len: part.len,
                place,
                rules: place.offset.saturating_add(part.rules),
                bytes: u32::try_from(part.bytes.len()).unwrap_or(u32::MAX),
            });
        }
        placed.sort_unstable_by_key(|part| part.address);
        Some(placed.into())
    }

    /// Lets go of tables that nothing maps while there is less room than there should be.
    pub(super) fn keep_spare(&mut self, now: Instant) {
        loop {
            let room = self.kernel.room(now);
            let needed = self.shelf.without_room().next().map_or(0, |(_, bytes)| bytes);
            let wanted = needed.saturating_add(room.total / SPARE_SHARE);
            if room.free + room.resting >= wanted || !self.evict(now) {
                return;
            }
        }
    }

    /// How it is with a table for which there is no room now.
    pub(super) fn without(&mut self, bytes: u64, now: Instant) -> State {
        let room = self.kernel.room(now);
        let fits = bytes <= room.total - room.total / LISTS_SHARE;
        if fits { State::NoRoom(bytes) } else { State::Missing }
    }

    /// Takes the coldest table that nothing maps out of the arena; `false` where there is none.
    pub(super) fn evict(&mut self, now: Instant) -> bool {
        let Some(parts) = self.shelf.evict() else { return false };
        parts.iter().for_each(|part| self.kernel.free(part.place, now));
        true
    }

    /// Asks again for tables that found no room, when there is some. Not all the time: it may not be in
    /// one piece.
    pub(super) fn retry_without_room(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| now < at) {
            return;
        }
        let room = self.kernel.room(now);
        let mut left = room.free.saturating_sub(room.total / LISTS_SHARE);
        let mut again = Vec::new();
        for (table, bytes) in self.shelf.without_room() {
            if let Some(rest) = left.checked_sub(bytes) {
                left = rest;
                again.push(table);
            }
        }
        for table in again {
            let Some(binary) = self.shelf.binary(table).map(Arc::clone) else { continue };
            self.shelf.set_state(table, State::Loading);
            self.jobs.push(Job { table, binary });
            self.retry_at = Some(now + RETRY);
        }
    }
}

/// Bytes of all parts.
pub(super) fn bytes(parts: &[Part]) -> u64 {
    parts.iter().map(|part| part.bytes.len() as u64).fold(0, u64::saturating_add)
}
