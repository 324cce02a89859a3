//! The store as the rest of the agent sees it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::age::Ages;
use super::cursors::{Cursors, Outcome};
use super::directory::{Directory, Refusal};
use super::disk::{Disk, Limits, Open, SetAside};
use super::error::{FileError, StoreError};
use super::files;
use super::index::{Index, Info, Place};
use super::status::{SinkStatus, Status};
use super::{Config, MIN_BYTES};
use crate::model::finished::Finished;
use crate::model::query::Range;

/// The flight recorder. See the [module](super).
#[derive(Debug)]
pub struct Store {
    pub(super) path: PathBuf,
    limits: Mutex<Limits>,
    /// Locked before the index, and while the disk is waited for. `None` until there is a disk.
    pub(super) disk: Mutex<Mounted>,
    /// Locked for moments.
    index: Mutex<Index>,
    open: Arc<Open>,
    /// Nothing is ever on a disk.
    pub(super) in_memory: bool,
}

/// What holds the disk.
#[derive(Debug, Default)]
pub(super) struct Mounted {
    pub(super) disk: Option<Disk>,
    pub(super) cursors: Option<Cursors>,
    ages: Ages,
}

/// How a store was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// Windows that were there.
    pub windows: u64,
    /// One line each on what was set aside.
    pub notes: Vec<String>,
    /// Why the disk cannot be used now; the store works in memory until it can.
    pub degraded: Option<String>,
}

impl Store {
    /// Opens the store, and makes it where there is none. What is broken is set aside, what fails now is
    /// tried again later.
    ///
    /// # Errors
    /// What no waiting mends: another process has it, or the path is unfit for it.
    pub fn open(config: &Config) -> Result<(Self, Opening), StoreError> {
        let store = Self {
            path: config.path.clone(),
            limits: Mutex::new(limits(config)?),
            disk: Mutex::default(),
            index: Mutex::new(Index::new(&config.sinks)),
            open: Arc::default(),
            in_memory: false,
        };
        let mut opening = Opening::default();
        match store.mount(&mut lock(&store.disk)) {
            Ok(notes) => opening.notes = notes,
            Err(Refusal::Unfit(error)) => return Err(error),
            Err(Refusal::Now(error)) => {
                let reason = error.to_string();
                store.index().degraded = Some(reason.clone());
                opening.degraded = Some(reason);
            }
        }
        opening.windows = store.status().windows;
        Ok((store, opening))
    }

    /// A store without a disk: it holds the newest windows for sinks and questions, as many as otherwise
    /// wait for a disk that fails.
    pub fn in_memory(sinks: &[String]) -> Self {
        Self {
            path: PathBuf::new(),
            limits: Mutex::new(Limits { bytes: MIN_BYTES, age: std::time::Duration::MAX }),
            disk: Mutex::default(),
            index: Mutex::new(Index::new(sinks)),
            open: Arc::default(),
            in_memory: true,
        }
    }

    /// Takes a window in and gives its number. When this returns, the window is on the disk; where the
    /// disk fails, it waits in memory, and [`Store::status`] says why. Blocks for the disk.
    pub fn put(&self, window: &Finished) -> u64 {
        let id = self.index().add(window.clone());
        self.tend();
        id
    }

    /// Tries again what the disk refused: call it every ten seconds or so. Blocks for the disk.
    pub fn tend(&self) {
        self.tend_at(Instant::now());
    }

    pub(super) fn tend_at(&self, now: Instant) {
        if self.in_memory {
            return self.index().not_written();
        }
        let mut mounted = lock(&self.disk);
        let result = self.work(&mut mounted, now);
        if let Some(disk) = &mounted.disk {
            let size = disk.size();
            self.index().on_disk = size;
        }
        let reason = result.err().map(|error| error.to_string());
        let mut index = self.index();
        if reason.is_some() {
            index.not_written();
        }
        let before = std::mem::replace(&mut index.degraded, reason.clone());
        drop(index);
        match (before, reason) {
            (None, Some(reason)) => {
                tracing::warn!(store = %self.path.display(), %reason, "windows wait in memory");
            }
            (Some(_), None) => {
                tracing::info!(store = %self.path.display(), "windows are on disk again");
            }
            _ => {}
        }
    }

    /// The newest windows that a sink has not settled, at most `limit`, newest first. A window that is
    /// being shipped is among them until it is settled.
    pub fn pending(&self, sink: &str, limit: usize) -> Vec<Info> {
        self.index().pending(sink, limit)
    }

    /// A sink has taken a window. Blocks for the disk: when this returns, it is remembered.
    pub fn delivered(&self, sink: &str, id: u64) {
        self.settle(sink, id, Outcome::Delivered);
    }

    /// A sink will never take a window. Blocks for the disk, as [`Store::delivered`].
    pub fn refused(&self, sink: &str, id: u64) {
        self.settle(sink, id, Outcome::Refused);
    }

    /// A window; `None` where it is gone, or cannot be read any more.
    ///
    /// # Errors
    /// Where the system refuses to read it now.
    pub fn window(&self, id: u64) -> Result<Option<Finished>, StoreError> {
        let segment = match self.index().place(id) {
            None => return Ok(None),
            Some(Place::Memory { window, .. }) => return Ok(Some(window)),
            Some(Place::Segment(segment)) => segment,
        };
        let opened = self.open.segment(&self.path, segment);
        let could_be_opened = opened.is_ok();
        match opened.and_then(|segment| segment.window(id)) {
            Ok(Some(window)) => Ok(Some(window)),
            Ok(None) => {
                self.index().unreadable(id);
                Ok(None)
            }
            // It went meanwhile, to make room.
            Err(_) if self.index().place(id).is_none() => Ok(None),
            Err(FileError::Io(error)) => {
                let path = self.path.join(files::segment_name(segment));
                Err(StoreError::Io { path, error })
            }
            Err(error) if could_be_opened => {
                tracing::warn!(store = %self.path.display(), %error, "a window cannot be read");
                self.index().unreadable(id);
                Ok(None)
            }
            Err(error) => {
                self.give_up_segment(segment, &error);
                Ok(None)
            }
        }
    }

    /// The windows that lie in a stretch of time, at least in part, oldest first.
    pub fn infos(&self, range: Range) -> Vec<Info> {
        self.index().infos(range)
    }

    /// How the store does.
    pub fn status(&self) -> Status {
        let max_bytes = lock(&self.limits).bytes;
        self.index().status(max_bytes)
    }

    /// How one sink does.
    pub fn sink(&self, name: &str) -> SinkStatus {
        self.index().sink(name)
    }

    /// Changes how much is kept, from the next window on.
    ///
    /// # Errors
    /// Where the budget is too small.
    pub fn set_limits(
        &self,
        max_bytes: u64,
        max_age: std::time::Duration,
    ) -> Result<(), StoreError> {
        *lock(&self.limits) = checked(max_bytes, max_age)?;
        Ok(())
    }

    /// Changes which sinks there are: a new one begins with the next window, and of one that is gone
    /// everything is forgotten. Blocks for the disk.
    pub fn set_sinks(&self, sinks: &[String]) {
        let mut mounted = lock(&self.disk);
        let firsts = self.index().set_sinks(sinks);
        self.save_sinks(&mut mounted, &firsts);
    }

    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        lock(&self.index)
    }

    /// Takes the directory and reads what is in it. Gives a note on each thing that was set aside.
    fn mount(&self, mounted: &mut Mounted) -> Result<Vec<String>, Refusal> {
        let now = |error: FileError| Refusal::Now(std::io::Error::other(error.to_string()));
        let directory = Directory::take(&self.path)?;
        let (disk, found, mut aside) =
            Disk::scan(directory, Arc::clone(&self.open)).map_err(now)?;
        let path = disk.path().join(files::CURSORS);
        let existed = path.exists();
        let cursors = match Cursors::open(&path).and_then(|c| Ok((c.load()?, c))) {
            Ok((known, cursors)) => Some((existed.then_some(known), cursors)),
            Err(FileError::Io(_)) => None,
            Err(error) => {
                aside.push(disk.set_cursors_aside(&error).map_err(now)?);
                Some((None, Cursors::open(&path).map_err(now)?))
            }
        };
        let Some((known, cursors)) = cursors else {
            return Err(Refusal::Now(std::io::Error::other("the cursors cannot be opened")));
        };
        // With nothing kept, nothing can be missed: all sinks begin now.
        let known = known.or_else(|| found.is_empty().then(BTreeMap::new));
        let firsts = {
            let mut index = self.index();
            found.iter().for_each(|(segment, infos)| index.add_segment(*segment, infos));
            index.on_disk = disk.size();
            index.add_cursors(known.as_ref())
        };
        mounted.cursors = Some(cursors);
        self.save_sinks(mounted, &firsts);
        mounted.disk = Some(disk);
        Ok(aside.into_iter().map(|aside| self.note(&aside)).collect())
    }

    /// Logs and counts what was set aside.
    pub(super) fn note(&self, aside: &SetAside) -> String {
        let (path, reason) = (aside.path.display(), &aside.reason);
        tracing::warn!(%path, %reason, removed = aside.removed, "a file of the store was set aside");
        let mut index = self.index();
        index.counters.set_aside += 1;
        index.counters.broken_removed += aside.removed;
        if let Some(segment) = aside.segment {
            let lost = index.remove_segment(segment);
            index.counters.unreadable += lost;
        }
        format!("{path}: {reason}")
    }

    fn work(&self, mounted: &mut Mounted, now: Instant) -> Result<(), FileError> {
        if mounted.disk.is_none() {
            self.mount(mounted).map_err(|refusal| match refusal {
                Refusal::Unfit(error) => std::io::Error::other(error.to_string()),
                Refusal::Now(error) => error,
            })?;
        }
        let Mounted { disk, ages, .. } = mounted;
        let Some(disk) = disk else { return Ok(()) };
        let limits = *lock(&self.limits);
        loop {
            let Some((id, window)) = self.index().next_waiting() else { break };
            if window.profile.len() as u64 > limits.bytes / 4 {
                self.index().too_large(id);
                continue;
            }
            self.write(disk, id, &window, limits)?;
            let end = window.end_unix_ns();
            // One at a time: a clock that is wrong for a moment must not empty the store.
            let may_evict = ages.may_evict(end, now);
            if let Some(oldest) = disk.too_old(end, limits).filter(|_| may_evict) {
                self.evict(disk, oldest)?;
            }
        }
        self.save_marks(mounted);
        Ok(())
    }

    /// Writes one window, with room made for it. A segment that turns out to be broken is set aside.
    fn write(
        &self,
        disk: &mut Disk,
        id: u64,
        window: &Finished,
        limits: Limits,
    ) -> Result<(), FileError> {
        let mut repaired = false;
        loop {
            while let Some(oldest) = disk.too_large(window.profile.len() as u64, limits) {
                self.evict(disk, oldest)?;
            }
            match disk.append(id, window, limits) {
                Ok(segment) => {
                    self.index().written(id, segment);
                    return Ok(());
                }
                Err(error @ FileError::Io(_)) => {
                    self.index().counters.write_errors += 1;
                    return Err(error);
                }
                Err(error) if repaired => return Err(error),
                Err(error) => {
                    repaired = true;
                    let aside = disk.set_newest_aside(&error)?;
                    self.note(&aside);
                }
            }
        }
    }

    fn evict(&self, disk: &mut Disk, segment: u64) -> Result<(), FileError> {
        disk.remove(segment)?;
        let mut index = self.index();
        let gone = index.remove_segment(segment);
        index.counters.evicted += gone;
        Ok(())
    }

    /// A segment that was fine when the store was opened is not any more.
    fn give_up_segment(&self, segment: u64, error: &FileError) {
        let mut mounted = lock(&self.disk);
        let Some(disk) = &mut mounted.disk else { return };
        // Another thread may have been here first.
        if let Ok(aside) = disk.set_aside(segment, error) {
            self.note(&aside);
        }
    }
}

fn limits(config: &Config) -> Result<Limits, StoreError> {
    checked(config.max_bytes, config.max_age)
}

fn checked(bytes: u64, age: std::time::Duration) -> Result<Limits, StoreError> {
    if bytes < MIN_BYTES {
        return Err(StoreError::TooSmall { given: bytes });
    }
    Ok(Limits { bytes, age })
}

/// A thread that panicked left nothing half done that the next one could not go on with.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
