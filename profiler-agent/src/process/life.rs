//! One life of a process: from its fork to its end, or to the moment its number is given away. An
//! `exec` is not a new life, but a new address space.

use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;

use super::address_space::{AddressSpace, Budget, Change};
use super::backoff::Backoff;
use crate::model::event::Comm;
use crate::model::frame::JitMap;
use crate::model::observation::ThreadInfo;
use crate::model::space::Mapping;

/// Threads of one process whose labels are kept ready, at most.
const MAX_THREADS: usize = 4096;

/// Cgroups of one process that are kept, at most: it may move, and its threads may differ.
const MAX_CGROUPS: usize = 16;

/// How a process came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// It is not: an event named it, but nobody saw its beginning. `/proc` is to be read.
    Unread,
    /// By what happened to it, or by `/proc`, as it was at this time (ns). What happened before is
    /// old news.
    Known {
        /// When.
        at_ns: u64,
    },
    /// `/proc` was to be read, but it had ended.
    Missed,
}

/// What a process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Image {
    /// Nothing told yet.
    Unknown,
    /// It is a thread of the kernel.
    Kernel,
    /// An executable of this file name.
    File(Arc<str>),
}

/// The labels of one thread, and what they were made from.
#[derive(Clone, Debug)]
pub(super) struct Labels {
    /// The thread's name.
    pub(super) comm: Comm,
    /// Its cgroup.
    pub(super) cgroup_id: u64,
    /// Ready to be handed out.
    pub(super) info: Arc<ThreadInfo>,
}

/// A process.
#[derive(Debug)]
pub(super) struct Life {
    /// How it is known.
    pub(super) source: Source,
    /// The process that forked it, where that was seen.
    pub(super) parent: Option<u32>,
    /// Name of its first thread, printable; empty while unknown.
    pub(super) name: Arc<str>,
    /// What it runs.
    pub(super) image: Image,
    /// It may have more than one thread.
    pub(super) threaded: bool,
    /// When it ended (ns), if it did.
    pub(super) ended_at_ns: Option<u64>,
    /// When its last stack was taken, ns; 0 before the first.
    pub(super) sampled_at_ns: u64,
    /// The names of its generated code, from the first such frame on: its own or those of the parent
    /// that it was forked from.
    pub(super) jit: Option<Arc<JitMap>>,
    /// When to look again for a perf map.
    pub(super) jit_retry: Backoff,
    /// When to read its mappings again because an address lay in none.
    pub(super) reread: Backoff,
    space: Arc<AddressSpace>,
    /// Changes with the address space, and never returns to an older value in any process.
    version: u64,
    threads: AHashMap<u32, Labels>,
    cgroups: Vec<(u64, Arc<str>)>,
}

impl Life {
    /// A process of which only its number is known.
    pub(super) fn new(source: Source, budget: &Budget, version: u64) -> Self {
        Self {
            source,
            parent: None,
            name: "".into(),
            image: Image::Unknown,
            threaded: false,
            ended_at_ns: None,
            sampled_at_ns: 0,
            jit: None,
            jit_retry: seldom(),
            reread: seldom(),
            space: Arc::new(AddressSpace::new(budget.clone())),
            version,
            threads: AHashMap::new(),
            cgroups: Vec::new(),
        }
    }

    /// A child as `fork` makes it: the same memory, the same name, the same cgroup.
    pub(super) fn fork(&self, parent: u32, time_ns: u64, version: u64, budget: &Budget) -> Self {
        let source = match self.source {
            Source::Known { .. } => Source::Known { at_ns: time_ns },
            Source::Unread | Source::Missed => Source::Unread,
        };
        Self {
            parent: Some(parent),
            name: Arc::clone(&self.name),
            image: self.image.clone(),
            // The code that the parent generated is there too, and named by the parent's map.
            jit: self.jit.clone(),
            space: Arc::clone(&self.space),
            cgroups: self.cgroups.clone(),
            ..Self::new(source, budget, version)
        }
    }

    /// Runs a new program.
    pub(super) fn exec(&mut self, time_ns: u64, budget: &Budget, version: u64) {
        self.source = Source::Known { at_ns: time_ns };
        self.replace_space(AddressSpace::new(budget.clone()), version);
        self.jit = None;
        self.jit_retry = seldom();
        self.reread = seldom();
        self.image = Image::Unknown;
        self.threads.clear();
        self.threaded = false;
    }

    /// Whether an event is older than what is known.
    pub(super) fn is_news(&self, time_ns: u64) -> bool {
        match self.source {
            Source::Known { at_ns } => time_ns >= at_ns,
            Source::Unread | Source::Missed => true,
        }
    }

    /// Its mappings.
    pub(super) fn space(&self) -> &AddressSpace {
        &self.space
    }

    /// What a cache of its attributed stacks depends on.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Notes a change that makes older attributions wrong.
    pub(super) fn set_version(&mut self, version: u64) {
        self.version = version;
    }

    /// Adds a mapping. A space that is shared with a parent or child is copied first, if the budget
    /// has room for the copy.
    pub(super) fn map(&mut self, mapping: Mapping, budget: &Budget, version: u64) -> Change {
        if self.space.knows(&mapping) {
            return Change::None;
        }
        if Arc::get_mut(&mut self.space).is_none() && !budget.fits(self.space.len()) {
            return Change::Full;
        }
        self.version = version;
        Arc::make_mut(&mut self.space).insert(mapping)
    }

    /// Takes over mappings as `/proc` has them, unless they are those that are known.
    pub(super) fn replace_space(&mut self, space: AddressSpace, version: u64) {
        if !self.space.same_as(&space) {
            self.space = Arc::new(space);
            self.version = version;
        }
    }

    /// The labels of a thread.
    pub(super) fn thread(&self, tid: u32) -> Option<&Labels> {
        self.threads.get(&tid)
    }

    /// Keeps the labels of a thread ready.
    pub(super) fn keep_thread(&mut self, tid: u32, labels: Labels) {
        if self.threads.len() >= MAX_THREADS {
            self.threads.clear();
        }
        self.threads.insert(tid, labels);
    }

    /// Notes what it runs; labels that were made before are forgotten.
    pub(super) fn set_image(&mut self, image: Image) {
        if self.image != image {
            self.image = image;
            self.threads.clear();
        }
    }

    /// The labels of all threads are to be made anew.
    pub(super) fn forget_threads(&mut self) {
        self.threads.clear();
    }

    /// Forgets a thread that ended.
    pub(super) fn forget_thread(&mut self, tid: u32) {
        self.threads.remove(&tid);
    }

    /// The path of one of its cgroups.
    pub(super) fn cgroup(&self, id: u64) -> Option<&Arc<str>> {
        self.cgroups.iter().find(|(known, _)| *known == id).map(|(_, path)| path)
    }

    /// The path of the cgroup that it was last seen in.
    pub(super) fn last_cgroup(&self) -> Option<&Arc<str>> {
        self.cgroups.last().map(|(_, path)| path)
    }

    /// Keeps the path of one of its cgroups.
    pub(super) fn keep_cgroup(&mut self, id: u64, path: Arc<str>) {
        if self.cgroups.len() >= MAX_CGROUPS {
            self.cgroups.clear();
        }
        self.cgroups.push((id, path));
    }
}

/// Reading `/proc` again costs more the larger a process is, and mostly finds nothing new.
fn seldom() -> Backoff {
    Backoff::new(Duration::from_millis(500), Duration::from_secs(60))
}
