//! The binaries whose unwind tables are to be read, and the threads that read them: small ones never
//! wait for large ones, and large ones are read one at a time, for the memory that they take, the
//! smallest first.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::inbox::{Inbox, Loaded};
use crate::runtime::native::keeper::Job;
use crate::runtime::native::{self, Cache, CacheCounts, Limits, NoTable, Part};
use crate::symbolize::{debug_file, fence};

/// What a reader takes from the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Small binaries only.
    Small,
    /// Large ones, and small ones when there is none.
    Any,
}

/// How much memory reading may take.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Bytes of a file up to which it is small.
    pub small_file: u64,
    /// For small ones.
    pub small: Limits,
    /// For large ones.
    pub large: Limits,
}

/// The queue.
#[derive(Debug)]
pub struct Queue {
    memory: Memory,
    /// Tables of earlier recordings.
    cache: Option<Cache>,
    /// Where debug files are, of binaries whose own unwind information is not all there is.
    debug_directories: Vec<PathBuf>,
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    small: VecDeque<Job>,
    /// By size, then in their order.
    large: BTreeMap<(u64, u64), Job>,
    /// How many large ones there have been.
    count: u64,
    closed: bool,
    failed: u64,
    too_large: u64,
    debug_failed: u64,
}

impl Waiting {
    fn add_large(&mut self, size: u64, job: Job) {
        self.large.insert((size, self.count), job);
        self.count += 1;
    }
}

/// Whether a file has unwind information that was not understood, or not read: one without any, or
/// one that is no ELF file, is in order.
const fn is_failure(error: &NoTable) -> bool {
    matches!(error, NoTable::Read(_) | NoTable::Malformed(_) | NoTable::TooMuchWork)
}

/// Bytes of a binary; 0 where they cannot be told.
fn size_of_file(job: &Job) -> u64 {
    let file = job.binary.file.as_ref();
    file.and_then(|file| file.metadata().ok()).map_or(0, |meta| meta.len())
}

impl Queue {
    /// Empty.
    pub fn new(memory: Memory, cache: Option<Cache>, debug_directories: &[PathBuf]) -> Self {
        // Most hosts have none: their binaries are not asked for a link there.
        let debug_directories =
            debug_directories.iter().filter(|directory| directory.is_dir()).cloned().collect();
        let (waiting, arrived) = (Mutex::default(), Condvar::new());
        Self { memory, cache, debug_directories, waiting, arrived }
    }

    /// Adds binaries.
    pub fn push(&self, jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        for job in jobs {
            let size = size_of_file(&job);
            if size <= self.memory.small_file {
                waiting.small.push_back(job);
            } else {
                waiting.add_large(size, job);
            }
        }
        self.arrived.notify_all();
    }

    /// Lets the readers go home: what still waits is not read.
    pub fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Binaries whose unwind information could not be read, though they have some.
    pub fn failed(&self) -> u64 {
        self.lock().failed
    }

    /// Binaries that take more memory to read than there is for it.
    pub fn too_large(&self) -> u64 {
        self.lock().too_large
    }

    /// Debug files that could not be read, of binaries that have a table without them.
    pub fn debug_failed(&self) -> u64 {
        self.lock().debug_failed
    }

    /// What came of the cache, if there is one.
    pub fn cached(&self) -> CacheCounts {
        self.cache.as_ref().map(Cache::counts).unwrap_or_default()
    }

    /// Reads until the queue is closed.
    pub fn serve(&self, reader: Reader, inbox: &Inbox) {
        while let Some((job, is_small)) = self.take(reader) {
            match self.read(&job, is_small) {
                Err(NoTable::TooLarge { .. }) if is_small => {
                    self.lock().add_large(size_of_file(&job), job);
                    self.arrived.notify_all();
                }
                read => {
                    let parts = self.judge(&job, read);
                    inbox.deliver(Loaded { table: job.table, parts });
                }
            }
        }
    }

    /// The next binary, and whether it may take what a small one may, or what a large one may.
    fn take(&self, reader: Reader) -> Option<(Job, bool)> {
        let mut waiting = self.lock();
        loop {
            if waiting.closed {
                return None;
            }
            let large = match reader {
                Reader::Small => None,
                Reader::Any => waiting.large.pop_first().map(|(_, job)| (job, false)),
            };
            let job = large.or_else(|| waiting.small.pop_front().map(|job| (job, true)));
            if job.is_some() {
                return job;
            }
            waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn read(&self, job: &Job, is_small: bool) -> Result<Vec<Part>, NoTable> {
        let (binary, begun) = (&job.binary, Instant::now());
        let Some(file) = binary.file.as_ref() else { return Err(NoTable::NotElf) };
        let limits = if is_small { self.memory.small } else { self.memory.large };
        let load = |debug: Option<&File>| match &self.cache {
            Some(cache) => native::load_cached(file, debug, &binary.build_id, &limits, cache),
            None => native::load(file, debug, &limits).map(|table| table.parts),
        };
        let find = || debug_file::of_binary(binary, &self.debug_directories);
        let debug = fence::guard(find).flatten();
        let mut loaded = fence::guard(|| load(debug.as_ref().map(|debug| &*debug.file)));
        if debug.is_some() && !matches!(loaded, Some(Ok(_))) {
            // What is wrong with a debug file costs the binary nothing of its own.
            loaded = fence::guard(|| load(None));
            self.lock().debug_failed += u64::from(matches!(loaded, Some(Ok(_))));
        }
        // What made a library panic is no table either.
        let loaded = loaded.unwrap_or(Err(NoTable::Malformed("sections")));
        if let Ok(parts) = &loaded {
            let bytes: usize = parts.iter().map(|part| part.bytes.len()).sum();
            tracing::debug!(bytes, took = ?begun.elapsed(), "unwind table of {}", binary.path);
        }
        loaded
    }

    /// The table; or its lack is counted.
    fn judge(&self, job: &Job, read: Result<Vec<Part>, NoTable>) -> Option<Vec<Part>> {
        let error = match read {
            Ok(parts) => return Some(parts),
            Err(error) => error,
        };
        tracing::debug!("no unwind table of {}: {error}", job.binary.path);
        let mut waiting = self.lock();
        waiting.failed += u64::from(is_failure(&error));
        waiting.too_large += u64::from(matches!(error, NoTable::TooLarge { .. }));
        None
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
