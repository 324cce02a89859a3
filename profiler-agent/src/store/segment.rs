//! One segment: a database of windows that follow each other.
//!
//! A window is a line of facts, and its bytes in parts: redb gives a value a power of two of pages, so
//! that a value of 130 KiB would take 256. Parts of 64 KiB less what redb adds fill their pages. The
//! facts have a checksum of the bytes, since redb checks its own only when it repairs.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use redb::{Builder, Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::error::FileError;
use super::files;
use super::index::Info;
use super::overlay::Overlay;
use crate::model::fence;
use crate::model::finished::Finished;

/// Number → start (Unix time, ns), duration (ns), bytes, CRC-32 of the bytes.
const WINDOWS: TableDefinition<'_, u64, (u64, u64, u64, u32)> = TableDefinition::new("windows");
/// Number and part → bytes.
const PARTS: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("parts");
/// What the file is.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");

/// Key in [`ABOUT`]: how windows lie in the tables.
const VERSION_KEY: &str = "version";
/// The version that this code writes and reads.
pub(super) const VERSION: u64 = 1;

/// Bytes of a part.
const PART: usize = (64 << 10) - 128;

/// Memory that redb may use for a file, in bytes: windows are read once, and rarely.
const CACHE: usize = 256 << 10;

/// An open segment.
#[derive(Debug)]
pub(super) struct Segment(Option<Database>);

impl Segment {
    /// Makes an empty segment. It has its name only when it is whole.
    pub(super) fn create(path: &Path) -> Result<Self, FileError> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(files::NEW);
        let temporary = Path::new(&temporary);
        match fs::remove_file(temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let file = files::open_writable(temporary, true)?;
        let segment = fenced(|| {
            let segment = Self::of(builder().create_file(file)?);
            let transaction = segment.db()?.begin_write()?;
            transaction.open_table(ABOUT)?.insert(VERSION_KEY, VERSION)?;
            transaction.open_table(WINDOWS)?;
            transaction.open_table(PARTS)?;
            transaction.commit()?;
            Ok(segment)
        })?;
        fs::rename(temporary, path)?;
        Ok(segment)
    }

    /// Opens a segment to go on with it, after a repair where one is needed.
    pub(super) fn open(path: &Path) -> Result<Self, FileError> {
        let file = files::open_writable(path, false)?;
        Self::checked(|| Ok(builder().create_file(file)?))
    }

    /// Opens a segment to read it; the file stays as it is.
    pub(super) fn read(path: &Path) -> Result<Self, FileError> {
        Self::read_file(files::open_readable(path)?)
    }

    fn read_file(file: File) -> Result<Self, FileError> {
        let overlay = Overlay::new(file)?;
        Self::checked(|| Ok(builder().create_with_backend(overlay)?))
    }

    fn checked(open: impl FnOnce() -> Result<Database, FileError>) -> Result<Self, FileError> {
        fenced(|| {
            let segment = Self::of(open()?);
            let transaction = segment.db()?.begin_read()?;
            let version = transaction.open_table(ABOUT)?.get(VERSION_KEY)?.map(|v| v.value());
            match version {
                Some(VERSION) => Ok(segment),
                Some(other) => Err(FileError::OtherVersion(other)),
                None => Err(FileError::Broken("it does not say its version".to_owned())),
            }
        })
    }

    fn of(database: Database) -> Self {
        Self(Some(database))
    }

    fn db(&self) -> Result<&Database, FileError> {
        self.0.as_ref().ok_or_else(|| io::Error::other("it is closed").into())
    }

    /// Makes it one of another version.
    #[cfg(test)]
    pub(super) fn set_version(&self, version: u64) {
        let transaction = self.db().unwrap().begin_write().unwrap();
        transaction.open_table(ABOUT).unwrap().insert(VERSION_KEY, version).unwrap();
        transaction.commit().unwrap();
    }

    /// All windows, in the order of their numbers.
    pub(super) fn infos(&self) -> Result<Vec<Info>, FileError> {
        fenced(|| {
            let table = self.db()?.begin_read()?.open_table(WINDOWS)?;
            let mut infos = Vec::new();
            for row in table.iter()? {
                let (id, facts) = row?;
                let (start_unix_ns, duration_ns, bytes, _) = facts.value();
                infos.push(Info { id: id.value(), start_unix_ns, duration_ns, bytes });
            }
            Ok(infos)
        })
    }

    /// Writes a window. When this returns, it survives whatever happens.
    pub(super) fn append(&self, id: u64, window: &Finished) -> Result<(), FileError> {
        let bytes = window.profile.as_ref();
        let facts = (window.start_unix_ns, window.duration_ns, bytes.len() as u64, checksum(bytes));
        fenced(|| {
            let transaction = self.db()?.begin_write()?;
            transaction.open_table(WINDOWS)?.insert(id, facts)?;
            let mut parts = transaction.open_table(PARTS)?;
            for (number, part) in (0..).zip(bytes.chunks(PART)) {
                parts.insert((id, number), part)?;
            }
            drop(parts);
            Ok(transaction.commit()?)
        })
    }

    /// A window; `None` where it has none of this number.
    pub(super) fn window(&self, id: u64) -> Result<Option<Finished>, FileError> {
        fenced(|| {
            let transaction = self.db()?.begin_read()?;
            let Some(facts) = transaction.open_table(WINDOWS)?.get(id)?.map(|f| f.value()) else {
                return Ok(None);
            };
            let (start_unix_ns, duration_ns, len, expected) = facts;
            // A length that is not true must not become a huge allocation.
            let mut bytes = Vec::with_capacity(usize::try_from(len.min(1 << 20)).unwrap_or(0));
            let parts = transaction.open_table(PARTS)?;
            for row in parts.range((id, 0)..=(id, u32::MAX))? {
                bytes.extend_from_slice(row?.1.value());
            }
            if bytes.len() as u64 != len || checksum(&bytes) != expected {
                return Err(FileError::Broken(format!("window {id} is damaged")));
            }
            let profile = Arc::from(bytes);
            Ok(Some(Finished { start_unix_ns, duration_ns, profile }))
        })
    }
}

impl Drop for Segment {
    /// Closing writes: a damaged or full disk must not end the agent here.
    fn drop(&mut self) {
        let database = self.0.take();
        fence::guard(|| drop(database));
    }
}

pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    builder
}

/// redb asserts what a damaged file does not keep.
pub(super) fn fenced<T>(run: impl FnOnce() -> Result<T, FileError>) -> Result<T, FileError> {
    let panicked = || Err(FileError::Broken("its content contradicts itself".to_owned()));
    fence::guard(run).unwrap_or_else(panicked)
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
