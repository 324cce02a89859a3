//! Keeps the kernel's tables to what the processes map: no threads, no files, no clock of its own.
//!
//! A process that is new, or whose memory changed, gets a list in the arena right away, with what is
//! known; binaries that are met for the first time are handed out as [`Job`]s, and what comes of them
//! goes into the lists that wait for it. [`stacks`] are the stacks that wait for it as well.

mod room;
mod stacks;
mod strangers;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use profiler_common::native::MappingList;
use zerocopy::IntoBytes;

use self::room::bytes;
use self::stacks::Waiting;
use self::strangers::Strangers;
use super::cut::{Known, Ranges};
use super::lists::{List, ListId, Lists};
pub use super::shelf::TableId;
use super::shelf::{Shelf, State};
use super::table::Part;
use crate::model::frame::Binary;
use crate::model::losses::Losses;
use crate::model::space::{Code, Space, SpaceChange};
use crate::model::tables::{KernelTables, Place, Room};

/// A list that still waits for some of its tables is written anew no sooner than this after the last
/// such lists were: each writing leaves a copy behind that rests in the arena for a while.
const PARTIAL: Duration = Duration::from_millis(100);

/// Bytes of such copies in a second, at most.
const PARTIAL_BYTES_PER_SECOND: u64 = 2 << 20;

/// After a change, the list of a process is left alone for so long per mapping: one that maps and
/// unmaps all the time costs no more than its share.
const QUIET_PER_MAPPING: Duration = Duration::from_micros(20);

/// A binary whose table is wanted.
#[derive(Clone, Debug)]
pub struct Job {
    /// Under which number the answer is expected.
    pub table: TableId,
    /// Which.
    pub binary: Arc<Binary>,
}

/// What is in the kernel's tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Tables.
    pub tables: usize,
    /// Bytes of the arena that they take; the rest of what is used there are lists.
    pub table_bytes: u64,
    /// Processes that have a list, as the kernel side knows them.
    pub processes: usize,
    /// The arena.
    pub room: Room,
}

/// The keeper of one kernel's tables.
#[derive(Debug)]
pub struct Keeper<K> {
    kernel: K,
    shelf: Shelf,
    lists: Lists,
    jobs: Vec<Job>,
    /// Lists that wait for a table, or for room.
    waiting: BTreeSet<ListId>,
    /// Tables that came since the waiting lists were looked at.
    arrived: HashSet<TableId>,
    /// When lists may be written that will have to be written again.
    partial_at: Option<Instant>,
    /// Changes that came too soon after the one before.
    held: HashMap<u32, Space>,
    /// Some lists are to be written when that is due.
    put_off: bool,
    /// When tables that found no room may be read again.
    retry_at: Option<Instant>,
    strangers: Strangers,
    /// Stacks that wait for tables.
    stacks: Waiting,
    losses: Losses,
}

impl<K: KernelTables> Keeper<K> {
    /// Nothing is known yet.
    pub fn new(kernel: K) -> Self {
        Self {
            kernel,
            shelf: Shelf::default(),
            lists: Lists::default(),
            jobs: Vec::new(),
            waiting: BTreeSet::new(),
            arrived: HashSet::new(),
            partial_at: None,
            held: HashMap::new(),
            put_off: false,
            retry_at: None,
            strangers: Strangers::default(),
            stacks: Waiting::default(),
            losses: Losses::default(),
        }
    }

    /// The memory of a process has changed, or it has ended.
    pub fn apply(&mut self, change: SpaceChange, now: Instant) {
        let SpaceChange { pid, space } = change;
        self.held.remove(&pid);
        match space.filter(|space| !space.is_empty()) {
            Some(space) if self.is_too_soon(pid, &space, now) => {
                self.held.insert(pid, space);
            }
            Some(space) => self.enter(pid, &space, now),
            None => self.leave(pid, now),
        }
    }

    /// A table has come, or will not: `None`.
    pub fn loaded(&mut self, table: TableId, parts: Option<Vec<Part>>, now: Instant) {
        if !self.shelf.has(table) {
            return;
        }
        let state = match parts {
            None => State::Missing,
            Some(parts) => match self.place(&parts, now) {
                Some(placed) => State::Ready(placed),
                None => {
                    self.losses.add("unwind_tables_not_loaded_budget", 1);
                    self.without(bytes(&parts), now)
                }
            },
        };
        self.shelf.set_state(table, state);
        self.arrived.insert(table);
    }

    /// Does what was put off and is due. To be called after every batch of the above, and after
    /// [`Self::patience`].
    pub fn settle(&mut self, now: Instant) {
        self.enter_held(now);
        self.keep_spare(now);
        self.retry_without_room(now);
        self.write_waiting(now);
        self.finish_stacks(now);
        self.sweep(now);
    }

    /// How long [`Self::settle`] can wait when nothing else happens.
    pub fn patience(&self) -> Duration {
        let busy = self.put_off || !self.held.is_empty() || self.has_stacks();
        if busy { Duration::from_millis(10) } else { Duration::from_secs(1) }
    }

    /// Binaries whose tables are wanted since this was last asked.
    pub fn take_jobs(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.jobs)
    }

    /// What was turned away so far.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// What there is now.
    pub fn held(&mut self, now: Instant) -> Held {
        let parts = self.shelf.ready().flatten();
        Held {
            tables: self.shelf.ready().count(),
            table_bytes: parts.map(|part| u64::from(part.bytes).next_multiple_of(8)).sum(),
            processes: self.kernel.processes().len(),
            room: self.kernel.room(now),
        }
    }

    fn is_too_soon(&self, pid: u32, space: &Space, now: Instant) -> bool {
        let list = self.lists.of_process(pid).and_then(|id| self.lists.get(id));
        let quiet =
            QUIET_PER_MAPPING.saturating_mul(u32::try_from(space.len()).unwrap_or(u32::MAX));
        list.is_some_and(|list| now.saturating_duration_since(list.written_at) < quiet)
    }

    fn enter_held(&mut self, now: Instant) {
        if self.held.is_empty() {
            return;
        }
        for (pid, space) in std::mem::take(&mut self.held) {
            if self.is_too_soon(pid, &space, now) {
                self.held.insert(pid, space);
            } else {
                self.enter(pid, &space, now);
            }
        }
    }

    /// A process has this memory from now on.
    fn enter(&mut self, pid: u32, space: &Space, now: Instant) {
        let id = self.list_of(space, now);
        let before = self.lists.give(pid, Some(id));
        self.tell(id, &[pid]);
        self.drop_list(before, now);
    }

    /// A process has ended, or runs something of which nothing is known yet.
    fn leave(&mut self, pid: u32, now: Instant) {
        self.kernel.remove(pid);
        let before = self.lists.give(pid, None);
        self.drop_list(before, now);
    }

    fn list_of(&mut self, space: &Space, now: Instant) -> ListId {
        match self.lists.of_space(space) {
            Some(id) => id,
            None => self.make_list(space, now),
        }
    }

    fn make_list(&mut self, space: &Space, now: Instant) -> ListId {
        let tables = space.iter().map(|mapping| match &mapping.code {
            Code::Binary(binary) => Some(self.acquire(binary)),
            Code::Generated => None,
        });
        let tables = tables.collect();
        let id = self.lists.insert(List {
            space: Arc::clone(space),
            tables,
            at: None,
            written_at: now,
            stale: false,
            processes: HashSet::new(),
            stacks: 0,
        });
        self.write(id, now);
        id
    }

    fn acquire(&mut self, binary: &Arc<Binary>) -> TableId {
        let (table, wanted) = self.shelf.acquire(binary);
        if wanted {
            self.jobs.push(Job { table, binary: Arc::clone(binary) });
        }
        table
    }

    fn drop_list(&mut self, list: Option<List>, now: Instant) {
        let Some(list) = list else { return };
        if let Some(at) = list.at {
            self.kernel.free(place_of(at), now);
        }
        list.tables.iter().flatten().for_each(|table| self.shelf.release(*table));
        while self.shelf.is_crowded() {
            self.evict(now);
        }
    }

    /// Writes a list as it is now known to a fresh place, leads its processes there, and gives up the
    /// old one.
    fn write(&mut self, id: ListId, now: Instant) -> u64 {
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
                (Some(State::NoRoom(_)), _) => {
                    complete = false;
                    Known::NoRows
                }
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
                self.losses.add("unwind_lists_not_written_budget", 1);
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

    /// Tells the kernel side where the list of these processes is.
    fn tell(&mut self, id: ListId, processes: &[u32]) {
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
    fn write_waiting(&mut self, now: Instant) {
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

    /// Removes what the kernel side holds of processes that nobody knows: the news of their birth, and
    /// of their end, was lost.
    fn sweep(&mut self, now: Instant) {
        if !self.strangers.are_due(now) {
            return;
        }
        let mut unknown = self.kernel.processes();
        unknown.retain(|pid| self.lists.of_process(*pid).is_none());
        for pid in self.strangers.seen_again(unknown) {
            self.kernel.remove(pid);
            self.losses.add("unwind_processes_swept", 1);
        }
    }
}

const fn place_of(list: MappingList) -> Place {
    Place { region: list.region, offset: list.offset }
}

#[cfg(test)]
mod tests;
