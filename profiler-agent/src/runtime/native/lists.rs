//! Which process has which list of mappings. Processes that share their memory, as a child does with
//! its parent until it runs a program of its own, share the list.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use profiler_common::native::MappingList;

use super::shelf::TableId;
use crate::model::space::Space;

/// Number of a list.
pub type ListId = u64;

/// The mappings that some processes have.
#[derive(Debug)]
pub struct List {
    /// What they are. Held, so that the address by which the list is found stays its own.
    pub space: Space,
    /// For each mapping the table of its binary, if it is of one.
    pub tables: Box<[Option<TableId>]>,
    /// Where it is in the arena, if it is.
    pub at: Option<MappingList>,
    /// When it was last written.
    pub written_at: Instant,
    /// Whether one of its tables has come since it was written, or it could not be.
    pub stale: bool,
    /// Whether there ever was no room to write it.
    pub was_refused: bool,
    /// Who has it.
    pub processes: HashSet<u32>,
    /// How many stacks wait for it.
    pub stacks: usize,
}

/// All lists.
#[derive(Debug, Default)]
pub struct Lists {
    lists: HashMap<ListId, List>,
    by_space: HashMap<usize, ListId>,
    by_process: HashMap<u32, ListId>,
    last_id: ListId,
    /// Bytes of all lists, without the processes that have them.
    bytes: u64,
}

/// Bytes that a list of so many mappings takes in the agent: itself, its place in two maps, what the arena
/// knows of it, and its tables.
pub const fn bytes_of_list(mappings: usize) -> u64 {
    const ENTRIES: usize = 160;
    (size_of::<List>() + ENTRIES + mappings * size_of::<Option<TableId>>()) as u64
}

impl Lists {
    /// Bytes that all lists take in the agent, and the processes that have them.
    pub fn bytes(&self) -> u64 {
        /// A process's place in two maps, which are half empty.
        const PROCESS: u64 = 48;
        self.bytes + self.by_process.len() as u64 * PROCESS
    }

    /// Adds a list that no process has yet.
    pub fn insert(&mut self, list: List) -> ListId {
        self.last_id += 1;
        self.bytes += bytes_of_list(list.tables.len());
        self.by_space.insert(address(&list.space), self.last_id);
        self.lists.insert(self.last_id, list);
        self.last_id
    }

    /// A list.
    pub fn get(&self, id: ListId) -> Option<&List> {
        self.lists.get(&id)
    }

    /// A list.
    pub fn get_mut(&mut self, id: ListId) -> Option<&mut List> {
        self.lists.get_mut(&id)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (ListId, &List)> + '_ {
        self.lists.iter().map(|(id, list)| (*id, list))
    }

    /// The list of this very memory.
    pub fn of_space(&self, space: &Space) -> Option<ListId> {
        self.by_space.get(&address(space)).copied()
    }

    /// The list of a process.
    pub fn of_process(&self, pid: u32) -> Option<ListId> {
        self.by_process.get(&pid).copied()
    }

    /// Gives a process a list, or none; the one that it had, if nobody has that any more.
    #[must_use]
    pub fn give(&mut self, pid: u32, id: Option<ListId>) -> Option<List> {
        let before = match id {
            Some(id) => self.by_process.insert(pid, id),
            None => self.by_process.remove(&pid),
        };
        if let Some(list) = id.and_then(|id| self.lists.get_mut(&id)) {
            list.processes.insert(pid);
        }
        let before = before.filter(|before| Some(*before) != id)?;
        self.lists.get_mut(&before)?.processes.remove(&pid);
        self.take_unused(before)
    }

    /// One stack less waits for a list; the list, if nobody has it any more.
    #[must_use]
    pub fn release(&mut self, id: ListId) -> Option<List> {
        let list = self.lists.get_mut(&id)?;
        list.stacks = list.stacks.saturating_sub(1);
        self.take_unused(id)
    }

    fn take_unused(&mut self, id: ListId) -> Option<List> {
        let list = self.lists.get(&id)?;
        if !list.processes.is_empty() || list.stacks > 0 {
            return None;
        }
        self.bytes = self.bytes.saturating_sub(bytes_of_list(list.tables.len()));
        self.by_space.remove(&address(&list.space));
        self.lists.remove(&id)
    }
}

fn address(space: &Space) -> usize {
    Arc::as_ptr(space) as usize
}
