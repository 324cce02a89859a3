//! A store as another process reads it: without the lock, and without changing anything.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::{Open, segments_in};
use super::error::{FileError, StoreError};
use super::files;
use super::index::Info;
use crate::model::finished::Finished;
use crate::model::query::Range;

/// How often a segment is tried whose writer is at work on it.
const TRIES: usize = 3;

/// What a directory holds at one moment.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    windows: BTreeMap<u64, (Info, u64)>,
    problems: Vec<String>,
    open: Open,
}

impl Reader {
    /// Reads which windows there are.
    ///
    /// # Errors
    /// Where there is no store, or it may not be read.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Missing(path.to_path_buf()),
            _ => StoreError::Io { path: path.to_path_buf(), error },
        };
        let mut reader = Self {
            path: path.to_path_buf(),
            windows: BTreeMap::new(),
            problems: Vec::new(),
            open: Open::default(),
        };
        let numbers = segments_in(path, false).map_err(failed)?;
        let is_store = fs::symlink_metadata(path.join(files::LOCK)).is_ok();
        if numbers.is_empty() && !is_store {
            return Err(StoreError::Missing(path.to_path_buf()));
        }
        for number in numbers {
            match reader.infos_of(number) {
                Ok(infos) => {
                    reader.windows.extend(infos.into_iter().map(|info| (info.id, (info, number))));
                }
                // It made room for a newer one meanwhile.
                Err(FileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(FileError::Io(error)) => return Err(failed(error)),
                Err(error) => {
                    reader.problems.push(format!("{}: {error}", files::segment_name(number)));
                }
            }
        }
        Ok(reader)
    }

    fn infos_of(&self, number: u64) -> Result<Vec<Info>, FileError> {
        let mut tried = 0;
        loop {
            tried += 1;
            match self.open.segment(&self.path, number).and_then(|segment| segment.infos()) {
                Err(error @ FileError::Io(_)) => return Err(error),
                Err(_) if tried < TRIES => {}
                other => return other,
            }
        }
    }

    /// The windows that lie in a stretch of time, at least in part, oldest first.
    pub fn infos(&self, range: Range) -> Vec<Info> {
        let all = self.windows.values().map(|(info, _)| *info);
        let mut infos: Vec<Info> = all.filter(|info| info.is_in(range)).collect();
        infos.sort_by_key(|info| (info.start_unix_ns, info.id));
        infos
    }

    /// A window; `None` where it is gone.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn window(&self, id: u64) -> Result<Option<Finished>, StoreError> {
        let Some((_, number)) = self.windows.get(&id) else { return Ok(None) };
        let read = self.open.segment(&self.path, *number).and_then(|s| s.window(id));
        let failed = |error| {
            let path = self.path.join(files::segment_name(*number));
            Err(StoreError::Io { path, error })
        };
        match read {
            Ok(window) => Ok(window),
            Err(FileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(FileError::Io(error)) => failed(error),
            Err(error) => failed(io::Error::other(error.to_string())),
        }
    }

    /// One line each on files that could not be read.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}
