//! Keeps the kernel's tables to what the processes map: no threads, no files, no clock of its own.
//!
//! A process that is new, or whose memory changed, gets a list in the arena right away, with what is
//! known; binaries that are met for the first time are handed out as [`Job`]s, and what comes of them
//! goes into the lists that wait for it. [`stacks`] are the stacks that wait for it as well.

mod budget;
mod exchange;
mod room;
mod stacks;
mod strangers;
mod writing;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use profiler_common::native::MappingList;

use self::room::bytes;
use self::stacks::Waiting;
use self::strangers::Strangers;
use super::lists::{List, ListId, Lists};
pub use super::shelf::TableId;
use super::shelf::{Shelf, State};
use super::table::Part;
use crate::model::frame::Binary;
use crate::model::losses::Losses;
use crate::model::space::{Code, Space, SpaceChange};
use crate::model::tables::{KernelTables, Place, Room};

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
    /// Bytes of the agent's own memory that belong to them.
    pub own_bytes: u64,
    /// The arena.
    pub room: Room,
}

/// The keeper of one kernel's tables.
#[derive(Debug)]
pub struct Keeper<K> {
    kernel: K,
    /// Parts of tables that were placed so far.
    placed: u32,
    /// See [`budget`].
    budget_bytes: u64,
    shelf: Shelf,
    lists: Lists,
    jobs: Vec<Job>,
    /// Lists that wait for a table, or for room of their own.
    waiting: BTreeSet<ListId>,
    /// Tables that came since the waiting lists were looked at.
    arrived: HashSet<TableId>,
    /// When lists may be written that will have to be written again.
    partial_at: Option<Instant>,
    /// Changes that came too soon after the one before.
    held: HashMap<u32, Space>,
    /// Some lists are to be written when that is due.
    put_off: bool,
    /// Bytes of the lists that find no room.
    unwritten: u64,
    /// When it is next looked which tables should give way to warmer ones.
    exchange_at: Option<Instant>,
    strangers: Strangers,
    /// Stacks that wait for tables.
    stacks: Waiting,
    losses: Losses,
}

impl<K: KernelTables> Keeper<K> {
    /// Nothing is known yet; the kernel's tables, and what is kept here of them, may take so many bytes.
    pub fn new(kernel: K, budget_bytes: u64) -> Self {
        let mut keeper = Self {
            kernel,
            placed: 0,
            budget_bytes,
            shelf: Shelf::default(),
            lists: Lists::default(),
            jobs: Vec::new(),
            waiting: BTreeSet::new(),
            arrived: HashSet::new(),
            partial_at: None,
            held: HashMap::new(),
            put_off: false,
            unwritten: 0,
            exchange_at: None,
            strangers: Strangers::default(),
            stacks: Waiting::default(),
            losses: Losses::default(),
        };
        keeper.share_out();
        keeper
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
                    let is_first = self.shelf.note_refusal(table);
                    self.losses.add("unwind_tables_not_loaded_budget", u64::from(is_first));
                    self.without(bytes(&parts), now)
                }
            },
        };
        self.shelf.set_state(table, state, now);
        self.arrived.insert(table);
    }

    /// Does what was put off and is due. To be called after every batch of the above, and after
    /// [`Self::patience`].
    pub fn settle(&mut self, now: Instant) {
        self.enter_held(now);
        self.share_out();
        self.keep_spare(now);
        self.exchange(now);
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
        Held {
            tables: self.shelf.ready().count(),
            table_bytes: self.shelf.ready().sum(),
            processes: self.kernel.processes().len(),
            own_bytes: self.own_bytes(),
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
        let Some(id) = self.list_of(space, now) else {
            self.losses.add("unwind_lists_not_written_budget", 1);
            return self.leave(pid, now);
        };
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

    /// The list of this memory; `None` where the budget does not allow another one.
    fn list_of(&mut self, space: &Space, now: Instant) -> Option<ListId> {
        match self.lists.of_space(space) {
            Some(id) => Some(id),
            None if self.may_take(space.len(), now) => Some(self.make_list(space, now)),
            None => None,
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
            was_refused: false,
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
