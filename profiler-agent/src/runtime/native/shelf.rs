//! The tables of all binaries, by build ID where there is one: whether they are in the arena, on
//! their way, or not to be had. A table stays when the last process that maps its binary is gone, for
//! the next one, until its room is needed: the one that was not mapped for longest goes first.
//!
//! Each has a heat: how many stacks lead through its binary, of which those of the last seconds count
//! most. By it is decided which tables have room when there is too little for all that are mapped.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cut::PlacedPart;
use crate::model::frame::Binary;

/// Binaries that nothing maps and of which it is still known whether they have a table, at most.
const MAX_UNUSED: usize = 4096;

/// What found no room is not read again sooner than this, which doubles with each time that it finds none.
const RETRY: Duration = Duration::from_secs(2);
/// Doublings of it.
const MAX_DOUBLINGS: u32 = 4;

/// A table stays in the arena for so long before it goes for a warmer one.
const STAY: Duration = Duration::from_secs(2);

/// The heat of one stack. Each second takes one of so many parts away.
const ONE_STACK: u64 = 8;

/// Number of a table on the shelf.
pub type TableId = u32;

/// By what binaries share a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    BuildId(Arc<str>),
    Number(u32),
}

impl Key {
    fn of(binary: &Binary) -> Self {
        match binary.build_id.as_str() {
            "" => Self::Number(binary.id),
            id => Self::BuildId(id.into()),
        }
    }
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
    /// See [`Weighed::heat`].
    heat: u64,
    /// Bytes that it will take, where it found no room before.
    expected: u64,
    /// When its state last changed.
    changed_at: Option<Instant>,
    /// How often it found no room, one after the other.
    refusals: u32,
    /// Whether it ever found none.
    was_refused: bool,
}

/// A table, what it takes, and how much it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weighed {
    /// Which.
    pub id: TableId,
    /// Bytes of the arena.
    pub bytes: u64,
    /// How many stacks lead through its binary, times a constant.
    pub heat: u64,
}

impl Weighed {
    /// By what tables are compared: room is what there is too little of.
    pub fn heat_per_mib(&self) -> u64 {
        (self.heat << 20) / self.bytes.max(1)
    }

    /// Whether some stacks lead through it, and not by chance.
    pub fn is_warm(&self) -> bool {
        self.heat >= 3 * ONE_STACK
    }
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

/// Bytes that a table takes in the agent, whether it is in the arena or not: its entry, its places in maps,
/// its build ID, and what is known of where its parts are.
pub const fn bytes_of_table() -> u64 {
    const ENTRIES: usize = 192;
    (size_of::<Shelved>() + ENTRIES) as u64
}

impl Shelf {
    /// Bytes that all tables take in the agent.
    pub fn bytes(&self) -> u64 {
        self.tables.len() as u64 * bytes_of_table()
    }

    /// The table of a binary that one more mapping shows; and whether it is to be loaded.
    pub fn acquire(&mut self, binary: &Arc<Binary>) -> (TableId, bool) {
        let key = Key::of(binary);
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
    pub fn set_state(&mut self, id: TableId, state: State, now: Instant) {
        let Some(table) = self.tables.get_mut(&id) else { return };
        table.changed_at = Some(now);
        match state {
            State::Ready(_) | State::Missing => (table.binary, table.refusals) = (None, 0),
            State::NoRoom(bytes) => (table.expected, table.refusals) = (bytes, table.refusals + 1),
            State::Loading => {}
        }
        if matches!(state, State::NoRoom(_)) {
            self.refused.insert(id);
        } else {
            self.refused.remove(&id);
        }
        table.state = state;
    }

    /// Notes that there is no room for a table; whether that is the first time.
    pub fn note_refusal(&mut self, id: TableId) -> bool {
        let table = self.tables.get_mut(&id);
        table.is_some_and(|table| !std::mem::replace(&mut table.was_refused, true))
    }

    /// A binary that it is the table of, while it is not there.
    pub fn binary(&self, id: TableId) -> Option<&Arc<Binary>> {
        self.tables.get(&id)?.binary.as_ref()
    }

    /// So many more stacks lead through a binary.
    pub fn warm(&mut self, binary: &Binary, stacks: u32) {
        let table = self.ids.get(&Key::of(binary)).and_then(|id| self.tables.get_mut(id));
        if let Some(table) = table {
            table.heat = table.heat.saturating_add(u64::from(stacks) * ONE_STACK);
        }
    }

    /// A second has passed.
    pub fn cool(&mut self) {
        self.tables.values_mut().for_each(|table| table.heat -= table.heat.div_ceil(ONE_STACK));
    }

    /// Tables in use for which there was no room, and that may be tried again: the hottest first.
    pub fn without_room(&self, now: Instant) -> Vec<Weighed> {
        let weighed = self.refused.iter().filter_map(|id| {
            let table = self.tables.get(id).filter(|table| table.users > 0)?;
            let pause = RETRY * (1 << table.refusals.saturating_sub(1).min(MAX_DOUBLINGS));
            let is_due = table.changed_at.is_none_or(|at| at + pause <= now);
            match table.state {
                State::NoRoom(bytes) if is_due => {
                    Some(Weighed { id: *id, bytes, heat: table.heat })
                }
                _ => None,
            }
        });
        let mut weighed: Vec<Weighed> = weighed.collect();
        weighed.sort_by_key(|table| std::cmp::Reverse(table.heat_per_mib()));
        weighed
    }

    /// Bytes of those that are being read again: their room is spoken for.
    pub fn expected(&self) -> u64 {
        let loading = self.tables.values().filter(|table| matches!(table.state, State::Loading));
        loading.map(|table| table.expected).sum()
    }

    /// Tables in use that have been in the arena for a while: the coldest first.
    pub fn settled(&self, now: Instant) -> Vec<Weighed> {
        let weighed = self.tables.iter().filter_map(|(id, table)| match &table.state {
            State::Ready(parts)
                if table.users > 0 && table.changed_at.is_none_or(|at| at + STAY <= now) =>
            {
                Some(Weighed { id: *id, bytes: bytes(parts), heat: table.heat })
            }
            _ => None,
        });
        let mut weighed: Vec<Weighed> = weighed.collect();
        weighed.sort_by_key(|table| (table.heat_per_mib(), table.id));
        weighed
    }

    /// Gives up what a table that is in use has in the arena. `binary` will be asked for it again.
    pub fn refuse(
        &mut self,
        id: TableId,
        binary: Option<Arc<Binary>>,
        now: Instant,
    ) -> Box<[PlacedPart]> {
        let Some(table) = self.tables.get_mut(&id) else { return Box::default() };
        let State::Ready(parts) = &mut table.state else { return Box::default() };
        let parts = std::mem::take(parts);
        table.binary = binary;
        self.set_state(id, State::NoRoom(bytes(&parts)), now);
        parts
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

    /// The bytes of each table that is in the arena.
    pub fn ready(&self) -> impl Iterator<Item = u64> + '_ {
        self.tables.values().filter_map(|table| match &table.state {
            State::Ready(parts) => Some(bytes(parts)),
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
                heat: 0,
                expected: 0,
                changed_at: None,
                refusals: 0,
                was_refused: false,
            },
        );
        (id, file.is_some())
    }
}

/// Bytes that parts take in the arena.
fn bytes(parts: &[PlacedPart]) -> u64 {
    parts.iter().map(|part| u64::from(part.bytes).next_multiple_of(8)).sum()
}
