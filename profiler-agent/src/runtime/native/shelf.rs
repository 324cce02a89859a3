//! The tables of all binaries, by build ID where there is one: whether they are in the arena, on
//! their way, or not to be had. A table stays when the last process that maps its binary is gone, for
//! the next one, until its room is needed: the one that was not mapped for longest goes first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::cut::PlacedPart;
use crate::model::frame::Binary;

/// Binaries that nothing maps and of which it is still known whether they have a table, at most.
const MAX_UNUSED: usize = 4096;

/// Number of a table on the shelf.
pub type TableId = u32;

/// By what binaries share a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    BuildId(Arc<str>),
    Number(u32),
}

/// How it is with a table.
#[derive(Debug)]
pub enum State {
    /// It is being read.
    Loading,
    /// It is in the arena.
    Ready(Box<[PlacedPart]>),
    /// It takes so many bytes, for which there is no room.
    NoRoom(u64),
    /// There is none: no unwind information, or none that could be read.
    Missing,
}

#[derive(Debug)]
struct Shelved {
    key: Key,
    state: State,
    /// Mappings, in all lists, that it unwinds.
    users: usize,
    /// When the last of them went, in the order of such ends.
    unused_since: u64,
    /// Whether there was a file to read it from.
    had_file: bool,
    /// Who is to be asked for it, while it is not there yet.
    binary: Option<Arc<Binary>>,
}

/// All tables.
#[derive(Debug, Default)]
pub struct Shelf {
    ids: HashMap<Key, TableId>,
    tables: HashMap<TableId, Shelved>,
    unused: BTreeMap<u64, TableId>,
    /// Those that found no room.
    refused: BTreeSet<TableId>,
    last_id: TableId,
    ends: u64,
}

impl Shelf {
    /// The table of a binary that one more mapping shows; and whether it is to be loaded.
    pub fn acquire(&mut self, binary: &Arc<Binary>) -> (TableId, bool) {
        let key = match binary.build_id.as_str() {
            "" => Key::Number(binary.id),
            id => Key::BuildId(id.into()),
        };
        let Some(id) = self.ids.get(&key).copied() else { return self.shelve(key, binary) };
        let Some(table) = self.tables.get_mut(&id) else { return self.shelve(key, binary) };
        if table.users == 0 {
            self.unused.remove(&table.unused_since);
        }
        table.users += 1;
        let has_file = binary.file.is_some();
        let again = has_file && !table.had_file;
        if again {
            table.state = State::Loading;
        }
        table.had_file |= has_file;
        if has_file && matches!(table.state, State::Loading | State::NoRoom(_)) {
            table.binary = Some(Arc::clone(binary));
        }
        (id, again)
    }

    /// One mapping of it is gone.
    pub fn release(&mut self, id: TableId) {
        let Some(table) = self.tables.get_mut(&id) else { return };
        table.users = table.users.saturating_sub(1);
        if table.users == 0 {
            // Its file need not stay open for those who may come.
            table.binary = None;
            self.ends += 1;
            table.unused_since = self.ends;
            self.unused.insert(self.ends, id);
        }
    }

    /// How it is with a table.
    pub fn state(&self, id: TableId) -> &State {
        self.tables.get(&id).map_or(&State::Missing, |table| &table.state)
    }

    /// Whether it is still there.
    pub fn has(&self, id: TableId) -> bool {
        self.tables.contains_key(&id)
    }

    /// Sets it. One that was forgotten meanwhile stays so.
    pub fn set_state(&mut self, id: TableId, state: State) {
        let Some(table) = self.tables.get_mut(&id) else { return };
        if matches!(state, State::Ready(_) | State::Missing) {
            table.binary = None;
        }
        if matches!(state, State::NoRoom(_)) {
            self.refused.insert(id);
        } else {
            self.refused.remove(&id);
        }
        table.state = state;
    }

    /// A binary that it is the table of, while it is not there.
    pub fn binary(&self, id: TableId) -> Option<&Arc<Binary>> {
        self.tables.get(&id)?.binary.as_ref()
    }

    /// Tables in use for which there was no room, with the bytes that they need.
    pub fn without_room(&self) -> impl Iterator<Item = (TableId, u64)> + '_ {
        self.refused.iter().filter_map(|id| match self.tables.get(id)? {
            Shelved { state: State::NoRoom(bytes), users: 1.., .. } => Some((*id, *bytes)),
            _ => None,
        })
    }

    /// Takes the table that was not mapped for longest off the shelf, if any is not; what it had in the
    /// arena.
    pub fn evict(&mut self) -> Option<Box<[PlacedPart]>> {
        let (_, id) = self.unused.pop_first()?;
        let table = self.tables.remove(&id)?;
        self.ids.remove(&table.key);
        self.refused.remove(&id);
        Some(match table.state {
            State::Ready(parts) => parts,
            State::Loading | State::NoRoom(_) | State::Missing => Box::default(),
        })
    }

    /// Whether more that nothing maps is remembered than ever should be.
    pub fn is_crowded(&self) -> bool {
        self.unused.len() > MAX_UNUSED
    }

    /// The parts of each table that is in the arena.
    pub fn ready(&self) -> impl Iterator<Item = &[PlacedPart]> + '_ {
        self.tables.values().filter_map(|table| match &table.state {
            State::Ready(parts) => Some(&**parts),
            State::Loading | State::NoRoom(_) | State::Missing => None,
        })
    }

    fn shelve(&mut self, key: Key, binary: &Arc<Binary>) -> (TableId, bool) {
        self.last_id = self.last_id.wrapping_add(1);
        let id = self.last_id;
        let file = binary.file.as_ref();
        self.ids.insert(key.clone(), id);
        self.tables.insert(
            id,
            Shelved {
                key,
                state: if file.is_some() { State::Loading } else { State::Missing },
                users: 1,
                unused_since: 0,
                had_file: file.is_some(),
                binary: file.map(|_| Arc::clone(binary)),
            },
        );
        (id, file.is_some())
    }
}
