//! Writes the lists of the processes, and tells the kernel side where they are.

use std::time::{Duration, Instant};

use profiler_common::native::{Mapping as Range, MappingList};
use zerocopy::IntoBytes;

use super::{Keeper, place_of};
use crate::model::space::Code;
use crate::model::tables::{KernelTables, Place};
use crate::runtime::native::cut::{Known, Ranges};
use crate::runtime::native::lists::{List, ListId};
use crate::runtime::native::shelf::{State, TableId};

/// A list that still waits for some of its tables is written anew no sooner than this after the last
/// such lists were: each writing leaves a copy behind that rests in the arena for a while.
const PARTIAL: Duration = Duration::from_millis(100);

/// Bytes of such copies in a second, at most.
const PARTIAL_BYTES_PER_SECOND: u64 = 2 << 20;

impl<K: KernelTables> Keeper<K> {
    /// Writes a list as it is now known to a fresh place, leads its processes there, and gives up the
    /// old one.
    pub(super) fn write(&mut self, id: ListId, now: Instant) -> u64 {
        let Some(list) = self.lists.get_mut(id) else { return 0 };
        let (mut ranges, mut complete) = (Ranges::default(), true);
        for (mapping, table) in list.space.iter().zip(&list.tables) {
            let state = table.map(|table| self.shelf.state(table));
            let known = match (state, &mapping.code) {
                (Some(State::Ready(parts)), Code::Binary(binary)) => Known::Parts(binary, parts),
                (Some(State::Loading), _) => {
                    complete = false;
                    Known::Pending
                }
                // It may find room, but nobody should wait for that.
                _ => Known::NoRows,
            };
            ranges.add(mapping, known);
        }
        self.losses.add("unwind_mappings_beyond_limit", ranges.beyond());
        let bytes = ranges.as_slice().as_bytes();
        let written = bytes.len() as u64;
        let before = list.at;
        match self.kernel.place(bytes, now) {
            Some(Place { region, offset }) => {
                let count = ranges.as_slice().len() as u32;
                list.at = Some(MappingList { region, offset, count, ..MappingList::default() });
                list.stale = false;
            }
            None => {
                let is_first = !std::mem::replace(&mut list.was_refused, true);
                self.losses.add("unwind_lists_not_written_budget", u64::from(is_first));
                (list.stale, complete) = (true, false);
            }
        }
        list.written_at = now;
        let processes: Vec<u32> = list.processes.iter().copied().collect();
        if complete {
            self.waiting.remove(&id);
        } else {
            self.waiting.insert(id);
        }
        self.tell(id, &processes);
        let now_at = self.lists.get(id).and_then(|list| list.at);
        if let Some(before) = before.filter(|before| Some(*before) != now_at) {
            self.kernel.free(place_of(before), now);
        }
        written
    }

    /// Tries again to write the lists that found no room, until one finds none.
    pub(super) fn write_refused(&mut self, now: Instant) {
        let is_refused = |list: &List| list.was_refused && list.stale;
        let refused = self.lists.iter().filter(|(_, list)| is_refused(list));
        let refused: Vec<(ListId, usize)> =
            refused.map(|(id, list)| (id, list.space.len())).collect();
        self.unwritten = 0;
        for (id, mappings) in refused {
            if self.unwritten == 0 {
                self.write(id, now);
            }
            if self.lists.get(id).is_some_and(is_refused) {
                // At least so many: a mapping whose table has several parts is as many ranges.
                self.unwritten += (mappings * size_of::<Range>()) as u64;
            }
        }
    }

    /// Tells the kernel side where the list of these processes is.
    pub(super) fn tell(&mut self, id: ListId, processes: &[u32]) {
        let at = self.lists.get(id).and_then(|list| list.at);
        for pid in processes {
            match at {
                Some(at) => {
                    let full = self.kernel.set(*pid, at).is_err();
                    self.losses.add("unwind_processes_beyond_limit", u64::from(full));
                }
                None => self.kernel.remove(*pid),
            }
        }
    }

    /// Writes the lists for which something has come: those that are complete now, and now and then
    /// the others.
    pub(super) fn write_waiting(&mut self, now: Instant) {
        let partial = self.partial_at.is_none_or(|at| at <= now);
        if self.arrived.is_empty() && !(self.put_off && partial) {
            return;
        }
        let arrived = std::mem::take(&mut self.arrived);
        let (mut partial_bytes, mut wrote_partial) = (0, false);
        self.put_off = false;
        for id in self.waiting.clone() {
            let Some(list) = self.lists.get_mut(id) else {
                self.waiting.remove(&id);
                continue;
            };
            let has = |table: &TableId| arrived.contains(table);
            list.stale |= !arrived.is_empty() && list.tables.iter().flatten().any(has);
            if !list.stale {
                continue;
            }
            let loading = |table: &TableId| matches!(self.shelf.state(*table), State::Loading);
            let complete = list.at.is_some() && !list.tables.iter().flatten().any(loading);
            if complete {
                self.write(id, now);
            } else if partial {
                partial_bytes += self.write(id, now);
                wrote_partial = true;
            } else {
                self.put_off = true;
            }
        }
        if wrote_partial {
            let pause = Duration::from_millis(partial_bytes * 1000 / PARTIAL_BYTES_PER_SECOND);
            self.partial_at = Some(now + pause.max(PARTIAL));
        }
    }
}
