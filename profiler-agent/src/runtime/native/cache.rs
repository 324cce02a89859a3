//! Tables on disk: what was made once is read back after a restart.
//!
//! A table is a function of the sections that it is made from, and is found by a hash of all of them
//! ([`Key`]): a file that merely carries the build ID of another one has another key, so no process can
//! leave a table there that any other binary would get. Reading and hashing sections takes a tenth of the
//! time that making the table takes.
//!
//! One file per table, in a directory that is root's alone ([`directory`]), written beside its place and
//! renamed; [`entry`] is its form. When all of them take more room than they may, those that were not used
//! for longest go.

mod directory;
mod entry;
mod key;

use std::fs::{self, File, FileTimes};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use self::directory::Listed;
pub use self::directory::Refused;
pub(super) use self::key::Key;
use super::table::{Limits, Part};

/// That a table was used is noted on disk once in so long.
const NOTED: Duration = Duration::from_secs(3600);

/// When there is too little room, the files go that were not used for longest, until so many eighths are
/// left.
const KEPT: u64 = 7;

/// Where tables are kept, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// The directory; made where there is none.
    pub directory: PathBuf,
    /// Bytes of all files in it, at most.
    pub max_bytes: u64,
}

/// What came of the cache so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Tables that were there.
    pub hits: u64,
    /// Tables that were not, and had to be made.
    pub misses: u64,
    /// Files that were not what they should be, tables that could not be written, and a directory that
    /// cannot be trusted.
    pub refused: u64,
    /// Files that went to make room.
    pub evicted: u64,
}

/// The tables on disk.
#[derive(Debug)]
pub struct Cache {
    config: CacheConfig,
    /// Bytes of all files; `None` until they are first counted.
    bytes: Mutex<Option<u64>>,
    hits: AtomicU64,
    misses: AtomicU64,
    refused: AtomicU64,
    evicted: AtomicU64,
}

impl Cache {
    /// Opens the directory, or makes it.
    ///
    /// # Errors
    /// Where it cannot be made, or others could write to it.
    pub fn open(config: CacheConfig) -> Result<Self, Refused> {
        let directory = directory::prepare(&config.directory)?;
        Ok(Self {
            config: CacheConfig { directory, ..config },
            bytes: Mutex::new(None),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        })
    }

    /// What came of it so far.
    pub fn counts(&self) -> CacheCounts {
        CacheCounts {
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            refused: self.refused.load(Relaxed),
            evicted: self.evicted.load(Relaxed),
        }
    }

    /// The table of this key, if it is there.
    pub(super) fn get(&self, key: &Key, limits: &Limits) -> Option<Vec<Part>> {
        let path = self.config.directory.join(key.file_name());
        let read = directory::open(&path).and_then(|file| {
            let parts = entry::read(&file, key, limits)?;
            note_use(&file);
            Ok(parts)
        });
        match read {
            Ok(parts) => {
                self.hits.fetch_add(1, Relaxed);
                return Some(parts);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::debug!("unwind table {}: {error}; it is made anew", path.display());
                self.refused.fetch_add(1, Relaxed);
                // What stays there all the same is replaced by its successor.
                let _ = fs::remove_file(&path);
            }
        }
        self.misses.fetch_add(1, Relaxed);
        None
    }

    /// Keeps a table.
    pub(super) fn put(&self, key: &Key, parts: &[Part]) {
        match self.write(key, parts) {
            Ok(bytes) => self.make_room(bytes),
            Err(error) => {
                tracing::debug!(
                    "unwind table not kept in {}: {error}",
                    self.config.directory.display()
                );
                self.refused.fetch_add(1, Relaxed);
            }
        }
    }

    fn write(&self, key: &Key, parts: &[Part]) -> io::Result<u64> {
        let bytes = entry::size(parts);
        if bytes > self.config.max_bytes {
            return Err(io::Error::other("it takes more than all of them may"));
        }
        let mut file = tempfile::Builder::new()
            .prefix(directory::UNFINISHED)
            .tempfile_in(&self.config.directory)?;
        entry::write(file.as_file_mut(), key, parts)?;
        file.flush()?;
        file.persist(self.config.directory.join(key.file_name()))?;
        Ok(bytes)
    }

    /// Removes files when there is too little room after another `bytes`.
    fn make_room(&self, bytes: u64) {
        let mut held = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let now = match *held {
            Some(before) => before.saturating_add(bytes),
            None => total(&directory::list(&self.config.directory)),
        };
        *held = Some(now);
        if now <= self.config.max_bytes {
            return;
        }
        // Others may use the directory as well: how it is now, counts.
        let mut files = directory::list(&self.config.directory);
        files.sort_unstable_by_key(|file| file.used);
        let mut left = total(&files);
        for file in files {
            if left <= self.config.max_bytes / 8 * KEPT {
                break;
            }
            if fs::remove_file(&file.path).is_ok() {
                left -= file.bytes;
                self.evicted.fetch_add(1, Relaxed);
            }
        }
        *held = Some(left);
    }
}

fn total(files: &[Listed]) -> u64 {
    files.iter().map(|file| file.bytes).fold(0, u64::saturating_add)
}

/// Notes in the time of a file's last change that it was used, so that it stays.
fn note_use(file: &File) {
    let now = SystemTime::now();
    let noted = file.metadata().and_then(|metadata| metadata.modified());
    if noted.is_ok_and(|noted| now.duration_since(noted).is_ok_and(|since| since < NOTED)) {
        return;
    }
    if let Err(error) = file.set_times(FileTimes::new().set_modified(now)) {
        tracing::debug!("use of an unwind table not noted: {error}");
    }
}

#[cfg(test)]
mod tests;
