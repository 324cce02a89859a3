//! What each sink has settled: in a database of its own, so that segments are written once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::error::FileError;
use super::files;
use super::segment::{builder, fenced};
use crate::model::fence;

/// Sink → number of the first window that it gets.
const SINKS: TableDefinition<'_, &str, u64> = TableDefinition::new("sinks");
/// Sink and window → 1 where it was delivered, 2 where it was refused.
const SETTLED: TableDefinition<'_, (&str, u64), u8> = TableDefinition::new("settled");
/// What the file is.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");

const VERSION_KEY: &str = "version";
const VERSION: u64 = 1;

/// How a window ended for a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Delivered,
    Refused,
}

/// One window that one sink has settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) sink: String,
    pub(super) id: u64,
    pub(super) outcome: Outcome,
}

/// Where a sink is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Windows before this one are none of its.
    pub(super) first: u64,
    /// Later windows that are done.
    pub(super) settled: BTreeSet<u64>,
}

/// The open database.
#[derive(Debug)]
pub(super) struct Cursors(Option<Database>);

impl Cursors {
    /// Opens or makes it.
    pub(super) fn open(path: &Path) -> Result<Self, FileError> {
        let file = files::open_writable(path, true)?;
        fenced(|| {
            let cursors = Self(Some(builder().create_file(file)?));
            let transaction = cursors.db()?.begin_write()?;
            let version = {
                let mut about = transaction.open_table(ABOUT)?;
                let version = about.get(VERSION_KEY)?.map(|v| v.value());
                if version.is_none() {
                    about.insert(VERSION_KEY, VERSION)?;
                }
                version.unwrap_or(VERSION)
            };
            if version != VERSION {
                return Err(FileError::OtherVersion(version));
            }
            transaction.open_table(SINKS)?;
            transaction.open_table(SETTLED)?;
            transaction.commit()?;
            Ok(cursors)
        })
    }

    fn db(&self) -> Result<&Database, FileError> {
        self.0.as_ref().ok_or_else(|| std::io::Error::other("it is closed").into())
    }

    /// All that is known.
    pub(super) fn load(&self) -> Result<BTreeMap<String, Cursor>, FileError> {
        fenced(|| {
            let transaction = self.db()?.begin_read()?;
            let mut cursors = BTreeMap::new();
            for row in transaction.open_table(SINKS)?.iter()? {
                let (sink, first) = row?;
                let cursor = Cursor { first: first.value(), settled: BTreeSet::new() };
                cursors.insert(sink.value().to_owned(), cursor);
            }
            for row in transaction.open_table(SETTLED)?.iter()? {
                let (key, _) = row?;
                let (sink, id) = key.value();
                if let Some(cursor) = cursors.get_mut(sink) {
                    cursor.settled.insert(id);
                }
            }
            Ok(cursors)
        })
    }

    /// Sets which sinks there are; of the others everything is forgotten.
    pub(super) fn set_sinks(&self, firsts: &BTreeMap<String, u64>) -> Result<(), FileError> {
        fenced(|| {
            let transaction = self.db()?.begin_write()?;
            transaction.open_table(SINKS)?.retain(|sink, _| firsts.contains_key(sink))?;
            transaction.open_table(SETTLED)?.retain(|(sink, _), _| firsts.contains_key(sink))?;
            {
                let mut sinks = transaction.open_table(SINKS)?;
                for (sink, first) in firsts {
                    sinks.insert(sink.as_str(), first)?;
                }
            }
            Ok(transaction.commit()?)
        })
    }

    /// Writes marks, and forgets those of windows that are gone.
    pub(super) fn settle(&self, marks: &[Mark], oldest: u64) -> Result<(), FileError> {
        fenced(|| {
            let transaction = self.db()?.begin_write()?;
            {
                let mut settled = transaction.open_table(SETTLED)?;
                for mark in marks {
                    let outcome = match mark.outcome {
                        Outcome::Delivered => 1,
                        Outcome::Refused => 2,
                    };
                    settled.insert((mark.sink.as_str(), mark.id), outcome)?;
                }
                let sinks = transaction.open_table(SINKS)?;
                for row in sinks.iter()? {
                    let (sink, _) = row?;
                    let gone = (sink.value(), 0)..(sink.value(), oldest);
                    settled.retain_in(gone, |_, _| false)?;
                }
            }
            Ok(transaction.commit()?)
        })
    }
}

impl Drop for Cursors {
    fn drop(&mut self) {
        let database = self.0.take();
        fence::guard(|| drop(database));
    }
}
