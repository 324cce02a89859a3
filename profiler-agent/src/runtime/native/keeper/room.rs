//! Room in the arena: what is placed, what goes first when there is too little, and what is tried
//! again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use profiler_common::native::known;

use super::{Job, Keeper};
use crate::model::tables::KernelTables;
use crate::runtime::native::cut::PlacedPart;
use crate::runtime::native::lists::List;
use crate::runtime::native::shelf::State;
use crate::runtime::native::table::Part;

/// Of the arena, one part in so many is kept free of tables, for the lists of the processes.
pub(super) const LISTS_SHARE: u64 = 16;

/// Tables that nothing maps leave the arena before less than one part in so many is free.
const SPARE_SHARE: u64 = 8;

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
                id: known::id(self.placed),
            });
            self.placed = self.placed.wrapping_add(1);
        }
        placed.sort_unstable_by_key(|part| part.address);
        Some(placed.into())
    }

    /// Lets go of tables that nothing maps while there is less room than there should be.
    pub(super) fn keep_spare(&mut self, now: Instant) {
        loop {
            let room = self.kernel.room(now);
            let needed = self.shelf.without_room(now).first().map_or(0, |table| table.bytes);
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

    /// Asks again for tables that found no room, when there is some: the hottest first.
    pub(super) fn retry_without_room(&mut self, now: Instant) {
        let wanted = self.shelf.without_room(now);
        if wanted.is_empty() {
            return;
        }
        let room = self.kernel.room(now);
        let spoken_for = room.total / LISTS_SHARE + self.shelf.expected();
        let mut left = room.free.saturating_sub(spoken_for);
        let mut again = HashSet::new();
        for table in wanted {
            let binary = self.shelf.binary(table.id).map(Arc::clone);
            if let (Some(rest), Some(binary)) = (left.checked_sub(table.bytes), binary) {
                left = rest;
                self.shelf.set_state(table.id, State::Loading, now);
                self.jobs.push(Job { table: table.id, binary });
                again.insert(table.id);
            }
        }
        if !again.is_empty() {
            let waits = |list: &List| list.tables.iter().flatten().any(|id| again.contains(id));
            self.waiting
                .extend(self.lists.iter().filter(|(_, list)| waits(list)).map(|(id, _)| id));
        }
    }
}

/// Bytes of all parts.
pub(super) fn bytes(parts: &[Part]) -> u64 {
    parts.iter().map(|part| part.bytes.len() as u64).fold(0, u64::saturating_add)
}
