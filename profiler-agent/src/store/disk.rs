//! The segments on disk: which there are, which one is written to, and which have to go.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::SEGMENTS;
use super::directory::Directory;
use super::error::FileError;
use super::files;
use super::index::Info;
use super::segment::Segment;
use crate::model::finished::Finished;

/// Files that were set aside as broken and are kept; older ones are removed, and counted.
const BROKEN_KEPT: usize = 4;

/// Segments that stay open for reading.
const OPEN_FOR_READING: usize = 4;

/// What redb adds to a window at the most, in bytes, besides an eighth of the window: copies of pages
/// that lead to it.
const OVERHEAD: u64 = 256 << 10;

/// How much may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) bytes: u64,
    pub(super) age: Duration,
}

impl Limits {
    fn segment_bytes(&self) -> u64 {
        self.bytes / u64::from(SEGMENTS)
    }

    fn segment_ns(&self) -> u64 {
        ns(self.age / SEGMENTS)
    }
}

/// A segment as far as room and age are concerned.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    bytes: u64,
    start_unix_ns: u64,
    end_unix_ns: u64,
}

/// A segment's number, and its windows.
pub(super) type Found = (u64, Vec<Info>);

/// A file that is no part of the store any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SetAside {
    pub(super) path: PathBuf,
    pub(super) reason: String,
    /// The segment that it was.
    pub(super) segment: Option<u64>,
    /// Older broken files that had to go for it.
    pub(super) removed: u64,
}

/// What is read, from any thread: segments that are open.
#[derive(Debug, Default)]
pub(super) struct Open(Mutex<Vec<(u64, Arc<Segment>)>>);

impl Open {
    /// A segment to read, open from before or opened now.
    pub(super) fn segment(&self, path: &Path, number: u64) -> Result<Arc<Segment>, FileError> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = open.iter().position(|(n, _)| *n == number) {
            let found = open.remove(at);
            open.push(found.clone());
            return Ok(found.1);
        }
        let segment = Arc::new(Segment::read(&path.join(files::segment_name(number)))?);
        if open.len() >= OPEN_FOR_READING {
            open.remove(0);
        }
        open.push((number, Arc::clone(&segment)));
        Ok(segment)
    }

    fn set(&self, number: u64, segment: Option<Arc<Segment>>) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(n, _)| *n != number);
        open.extend(segment.map(|segment| (number, segment)));
    }
}

/// The segments. See the [module](self).
#[derive(Debug)]
pub(super) struct Disk {
    directory: Directory,
    active: Option<(u64, Arc<Segment>)>,
    segments: BTreeMap<u64, Facts>,
    open: Arc<Open>,
}

impl Disk {
    /// Finds the segments of a directory. Gives the windows of each, and what was set aside.
    pub(super) fn scan(
        directory: Directory,
        open: Arc<Open>,
    ) -> Result<(Self, Vec<Found>, Vec<SetAside>), FileError> {
        let mut disk = Self { directory, active: None, segments: BTreeMap::new(), open };
        let (mut found, mut aside) = (Vec::new(), Vec::new());
        let numbers = segments_in(disk.path(), true)?;
        let newest = numbers.last().copied();
        for number in numbers {
            let path = disk.segment_path(number);
            // Only the newest was written to when the last agent ended, so only it needs a repair, and
            // is gone on with.
            let opened = match newest == Some(number) {
                true => Segment::open(&path).or_else(|error| match error {
                    // A disk that cannot be written to can be read.
                    FileError::Io(_) => Segment::read(&path),
                    error => Err(error),
                }),
                false => Segment::read(&path),
            };
            match opened.and_then(|segment| segment.infos()) {
                Ok(infos) => {
                    disk.segments.insert(number, facts(&path, &infos));
                    found.push((number, infos));
                }
                Err(FileError::Io(error)) => return Err(error.into()),
                Err(error) => aside.push(disk.set_aside(number, &error)?),
            }
        }
        Ok((disk, found, aside))
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    fn segment_path(&self, number: u64) -> PathBuf {
        self.path().join(files::segment_name(number))
    }

    /// Bytes of all files, and the number of segments.
    pub(super) fn size(&self) -> (u64, u64) {
        let cursors = files::bytes_on_disk(&self.path().join(files::CURSORS));
        let bytes = self.segments.values().map(|f| f.bytes).fold(cursors, u64::saturating_add);
        (bytes, self.segments.len() as u64)
    }

    /// Writes a window into the newest segment, or a new one. Gives the segment's number.
    pub(super) fn append(
        &mut self,
        id: u64,
        window: &Finished,
        limits: Limits,
    ) -> Result<u64, FileError> {
        if self.newest_is_full(window, limits) {
            self.close();
            self.create(id)?;
        }
        let (number, segment) = self.active()?;
        if let Err(error) = segment.append(id, window) {
            // After an error redb wants to be opened anew.
            drop(segment);
            self.close();
            return Err(error);
        }
        let path = self.segment_path(number);
        let facts = self.segments.entry(number).or_default();
        if facts.end_unix_ns == 0 {
            facts.start_unix_ns = window.start_unix_ns;
        }
        facts.end_unix_ns = facts.end_unix_ns.max(window.end_unix_ns());
        facts.bytes = files::bytes_on_disk(&path);
        Ok(number)
    }

    fn newest_is_full(&self, window: &Finished, limits: Limits) -> bool {
        let Some((_, newest)) = self.segments.last_key_value() else { return true };
        let span = window.end_unix_ns().saturating_sub(newest.start_unix_ns);
        let is_empty = newest.end_unix_ns == 0;
        !is_empty && (newest.bytes >= limits.segment_bytes() || span > limits.segment_ns())
    }

    /// The segment that is written to.
    fn active(&mut self) -> Result<(u64, Arc<Segment>), FileError> {
        if let Some((number, segment)) = &self.active {
            return Ok((*number, Arc::clone(segment)));
        }
        let newest = self.segments.keys().next_back().copied();
        let number = newest.ok_or_else(|| io::Error::other("there is no segment"))?;
        // A reader's view of it would be one of an earlier time.
        self.open.set(number, None);
        let segment = Arc::new(Segment::open(&self.segment_path(number))?);
        self.activate(number, &segment);
        Ok((number, segment))
    }

    fn create(&mut self, number: u64) -> Result<(), FileError> {
        let path = self.segment_path(number);
        let segment = Arc::new(Segment::create(&path)?);
        self.directory.sync()?;
        let bytes = files::bytes_on_disk(&path);
        self.segments.insert(number, Facts { bytes, ..Facts::default() });
        self.activate(number, &segment);
        Ok(())
    }

    fn activate(&mut self, number: u64, segment: &Arc<Segment>) {
        self.open.set(number, Some(Arc::clone(segment)));
        self.active = Some((number, Arc::clone(segment)));
    }

    fn close(&mut self) {
        if let Some((number, _)) = self.active.take() {
            self.open.set(number, None);
        }
    }

    /// The oldest segment, where it has to go before so many bytes can be written.
    pub(super) fn too_large(&self, bytes: u64, limits: Limits) -> Option<u64> {
        let needed = bytes.saturating_add(bytes / 8).saturating_add(OVERHEAD);
        let full = self.size().0.saturating_add(needed) > limits.bytes;
        self.segments.keys().next().copied().filter(|_| full)
    }

    /// The oldest segment, where all its windows are too old.
    pub(super) fn too_old(&self, now_unix_ns: u64, limits: Limits) -> Option<u64> {
        let (number, oldest) = self.segments.first_key_value()?;
        let age = now_unix_ns.saturating_sub(oldest.end_unix_ns);
        let is_newest = self.segments.len() == 1;
        (!is_newest && oldest.end_unix_ns > 0 && age > ns(limits.age)).then_some(*number)
    }

    /// Removes a segment's file.
    pub(super) fn remove(&mut self, number: u64) -> Result<(), FileError> {
        if self.active.as_ref().is_some_and(|(active, _)| *active == number) {
            self.close();
        }
        self.open.set(number, None);
        match fs::remove_file(self.segment_path(number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        self.segments.remove(&number);
        Ok(())
    }

    /// Sets the segment that was written to last aside.
    pub(super) fn set_newest_aside(&mut self, error: &FileError) -> Result<SetAside, FileError> {
        let newest = self.segments.keys().next_back().copied();
        let number = newest.ok_or_else(|| io::Error::other("there is no segment"))?;
        self.close();
        self.set_aside(number, error)
    }

    /// Sets a segment aside.
    pub(super) fn set_aside(
        &mut self,
        number: u64,
        error: &FileError,
    ) -> Result<SetAside, FileError> {
        self.open.set(number, None);
        let aside = set_aside(&self.directory, &self.segment_path(number), error)?;
        self.segments.remove(&number);
        Ok(SetAside { segment: Some(number), ..aside })
    }

    /// Sets the cursors aside.
    pub(super) fn set_cursors_aside(&self, error: &FileError) -> Result<SetAside, FileError> {
        set_aside(&self.directory, &self.path().join(files::CURSORS), error)
    }
}

fn set_aside(directory: &Directory, path: &Path, error: &FileError) -> Result<SetAside, FileError> {
    let ending = match error {
        FileError::OtherVersion(_) => files::OLD_VERSION,
        _ => files::BROKEN,
    };
    let path = files::set_aside(path, ending)?;
    let removed = files::keep_broken(directory.path(), BROKEN_KEPT)?;
    directory.sync()?;
    Ok(SetAside { path, reason: error.to_string(), segment: None, removed })
}

fn facts(path: &Path, infos: &[Info]) -> Facts {
    Facts {
        bytes: files::bytes_on_disk(path),
        start_unix_ns: infos.iter().map(|i| i.start_unix_ns).min().unwrap_or(0),
        end_unix_ns: infos.iter().map(Info::end_unix_ns).max().unwrap_or(0),
    }
}

/// The numbers of the segments in a directory; removes what was never finished, if told to.
pub(super) fn segments_in(path: &Path, clean: bool) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if clean && name.to_string_lossy().ends_with(files::NEW) {
            // It can be in the way only when a segment is made, which removes it as well.
            let _ = fs::remove_file(path.join(&name));
        }
        numbers.extend(files::segment_number(&name));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
