//! Which tables have room when there is too little for all that processes map: those of binaries through
//! which many stacks lead, for the room that they take. Once a second the coldest ones give way, to what is
//! much warmer only, and never very many at once: a working set that does not fit must not go round and
//! round through the arena.

use std::collections::{HashMap, HashSet};
use std::mem::offset_of;
use std::sync::Arc;
use std::time::{Duration, Instant};

use profiler_common::native::lookup::Region as _;
use profiler_common::native::{Mapping as Range, MappingKind, MappingList};

use super::room::LISTS_SHARE;
use super::{Keeper, place_of};
use crate::model::frame::Binary;
use crate::model::space::Code;
use crate::model::tables::KernelTables;
use crate::runtime::native::cut::PlacedPart;
use crate::runtime::native::shelf::{TableId, Weighed};

/// So often it is looked.
const EVERY: Duration = Duration::from_secs(1);

/// How many times as warm a table must be as all together that go for it.
const WARMER: u64 = 2;

/// Of the arena, one part in so many is exchanged in a second at most.
const EXCHANGED_SHARE: u64 = 4;

/// Lists take up to one part in so many of the arena before they stop driving tables out.
const MOST_LISTS_SHARE: u64 = 2;

impl<K: KernelTables> Keeper<K> {
    /// Stacks were seen that lead through these binaries.
    pub fn warm(&mut self, touched: &[(Arc<Binary>, u32)]) {
        touched.iter().for_each(|(binary, stacks)| self.shelf.warm(binary, *stacks));
    }

    /// Lets cold tables go, where warmer ones or the lists of processes need their room.
    pub(super) fn exchange(&mut self, now: Instant) {
        if self.exchange_at.is_some_and(|at| now < at) {
            return;
        }
        self.exchange_at = Some(now + EVERY);
        self.shelf.cool();
        self.write_refused(now);
        let going = self.going(now);
        if !going.is_empty() {
            tracing::info!(tables = going.len(), "unwind tables give way to warmer ones");
            self.losses.add("unwind_tables_evicted_budget", going.len() as u64);
            self.take_out(&going, now);
        }
    }

    /// The tables that should go now.
    fn going(&mut self, now: Instant) -> HashSet<TableId> {
        let room = self.kernel.room(now);
        let reserve = room.total / LISTS_SHARE;
        let mut soon = (room.free + room.resting).saturating_sub(self.shelf.expected());
        let lists = room.used.saturating_sub(self.shelf.ready().sum());
        let wanted: Vec<Weighed> =
            self.shelf.without_room(now).into_iter().filter(Weighed::is_warm).collect();
        // What lists lack of their share, and those that found no room.
        let lacking = (reserve + self.unwritten).saturating_sub(soon);
        let may_drive_out = lists + lacking <= room.total / MOST_LISTS_SHARE;
        let lacking = if may_drive_out { lacking } else { 0 };
        if wanted.is_empty() && lacking == 0 {
            return HashSet::new();
        }
        let settled = self.shelf.settled(now);
        let (mut cold, mut going) = (settled.as_slice(), HashSet::new());
        let victims = enough(cold, lacking).unwrap_or(cold.len());
        soon += take(&mut cold, victims, &mut going);
        let mut exchanged = 0;
        for table in wanted {
            let free = soon.saturating_sub(reserve + self.unwritten);
            let Some(victims) = enough(cold, table.bytes.saturating_sub(free)) else { continue };
            let heat: u64 = cold.iter().take(victims).map(|victim| victim.heat).sum();
            let is_worth_it = victims == 0 || table.heat > WARMER * heat;
            let is_much = exchanged > 0 && exchanged + table.bytes > room.total / EXCHANGED_SHARE;
            if !is_worth_it || is_much {
                continue;
            }
            exchanged += table.bytes;
            soon = (soon + take(&mut cold, victims, &mut going)).saturating_sub(table.bytes);
        }
        going
    }

    /// Takes tables out of the arena that processes map: they have no rows from now on.
    fn take_out(&mut self, going: &HashSet<TableId>, now: Instant) {
        let mut binaries: HashMap<TableId, Arc<Binary>> = HashMap::new();
        let mut affected = Vec::new();
        for (_, list) in self.lists.iter() {
            let mut has_any = false;
            for (mapping, table) in list.space.iter().zip(&list.tables) {
                let (Some(table), Code::Binary(binary)) = (table, &mapping.code) else { continue };
                if going.contains(table) {
                    has_any = true;
                    if binary.file.is_some() {
                        binaries.entry(*table).or_insert_with(|| Arc::clone(binary));
                    }
                }
            }
            affected.extend(list.at.filter(|_| has_any));
        }
        let refused = going.iter().map(|id| self.shelf.refuse(*id, binaries.remove(id), now));
        let parts: Vec<PlacedPart> = refused.flatten().collect();
        let ids: HashSet<u32> = parts.iter().map(|part| part.id).collect();
        affected.into_iter().for_each(|list| self.mark(list, &ids));
        parts.into_iter().for_each(|part| self.kernel.free(part.place, now));
    }

    /// Marks the ranges of a list that lead to these tables: in place, since a copy of every list
    /// would need the room that there is too little of.
    fn mark(&mut self, list: MappingList, ids: &HashSet<u32>) {
        const SIZE: u32 = size_of::<Range>() as u32;
        // The kind is the upper half of the word that begins with the region.
        const WORD: u32 = offset_of!(Range, region) as u32;
        const { assert!(offset_of!(Range, kind) as u32 == WORD + 2) };
        let MappingList { region, offset, count, .. } = list;
        for range in (0..count).map(|index| index * SIZE) {
            let (id, word) = {
                let Some(bytes) = self.kernel.region(region) else { return };
                let word = |at: u32| bytes.u32(offset + range + at) as u32;
                (word(offset_of!(Range, id) as u32), word(WORD))
            };
            if word >> 16 == MappingKind::Table.raw() && ids.contains(&id) {
                let word = word & 0xffff | MappingKind::NoRows.raw() << 16;
                self.kernel.change(place_of(list), range + WORD, word);
            }
        }
    }
}

/// How many of the first tables take so many bytes together; `None` if all of them do not.
fn enough(tables: &[Weighed], bytes: u64) -> Option<usize> {
    let mut sum = 0;
    if bytes == 0 {
        return Some(0);
    }
    let last = tables.iter().position(|table| {
        sum += table.bytes;
        sum >= bytes
    });
    last.map(|last| last + 1)
}

/// Moves the first tables over; their bytes.
fn take(tables: &mut &[Weighed], count: usize, into: &mut HashSet<TableId>) -> u64 {
    let (first, rest) = tables.split_at(count.min(tables.len()));
    *tables = rest;
    into.extend(first.iter().map(|table| table.id));
    first.iter().map(|table| table.bytes).sum()
}
