//! Looking for files on file systems that may not answer: a network that is gone, a FUSE daemon that
//! hangs. Whoever asks such a one waits as long, and the collecting thread must not.
//!
//! Local file systems are asked directly. Others are asked by a thread of their own, which is given up when
//! it has no answer in time. The file system that it waits for then rests for a while: what is mapped from
//! it is refused at once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::backing::Backing;
use super::mapped_file::{Files, Found, NotFound};
use super::mounts::Mounts;
use super::open::Stamp;
use crate::model::event::{Mmap, MmapId};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a file system rests that gave none.
const REST: Duration = Duration::from_secs(30);
/// Threads that wait for file systems which do not answer, at most.
const MAX_STUCK: usize = 8;
/// File systems that rest, at most.
const MAX_RESTING: usize = 256;

/// Files, looked for with patience that ends.
#[derive(Debug)]
pub(super) struct Patient<F> {
    files: F,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    mounts: Mounts,
    helper: Option<mpsc::Sender<Question>>,
    /// Each thread holds one more, until it is back.
    threads: Arc<()>,
    resting: HashMap<Place, Instant>,
}

/// What hangs together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    /// A file system, by its device.
    Device(u32, u32),
    /// A directory, where the device is not told.
    Directory(Vec<u8>),
}

/// A question to the thread, and where the answer goes.
#[derive(Debug)]
enum Question {
    Find(Mmap, Option<u32>, mpsc::Sender<Result<Found, NotFound>>),
    Stamp(Mmap, mpsc::Sender<Option<Stamp>>),
}

impl<F: Files + Clone + Send + 'static> Patient<F> {
    /// Asks `files`; `mounts` tells which of them may hang.
    pub(super) fn new(files: F, mounts: Mounts) -> Self {
        let (threads, resting) = (Arc::new(()), HashMap::new());
        Self { files, state: RefCell::new(State { mounts, helper: None, threads, resting }) }
    }

    /// Asks on the thread; `None` where there was no answer in time, now or a moment ago.
    fn ask<A>(&self, wanted: &Mmap, question: impl Fn(mpsc::Sender<A>) -> Question) -> Option<A> {
        let mut state = self.state.borrow_mut();
        let (place, now) = (Place::of(wanted), Instant::now());
        if state.resting.get(&place).is_some_and(|until| now < *until) {
            return None;
        }
        let (answer, answers) = mpsc::channel();
        if !state.send(&self.files, question(answer)) {
            return None;
        }
        match answers.recv_timeout(PATIENCE) {
            Ok(answer) => Some(answer),
            Err(RecvTimeoutError::Timeout) => {
                tracing::warn!("no answer from the file system of {}", wanted.path.escape_ascii());
                state.rest(place, now);
                // It goes home when it has its answer: nobody can ask it any more.
                state.helper = None;
                None
            }
            Err(RecvTimeoutError::Disconnected) => {
                state.helper = None;
                None
            }
        }
    }

    fn is_direct(&self, wanted: &Mmap) -> bool {
        // Memory files lie in the kernel's own file system.
        if matches!(Backing::of(&wanted.path), Backing::Memfd(_)) {
            return true;
        }
        self.state.borrow_mut().mounts.is_local(wanted)
    }
}

impl State {
    /// Hands a question to the thread; false where too many others wait already.
    fn send<F: Files + Clone + Send + 'static>(&mut self, files: &F, question: Question) -> bool {
        let question = match &self.helper {
            Some(helper) => match helper.send(question) {
                Ok(()) => return true,
                Err(mpsc::SendError(question)) => question,
            },
            None => question,
        };
        if Arc::strong_count(&self.threads) > MAX_STUCK {
            return false;
        }
        let (helper, questions) = mpsc::channel();
        let (files, held) = (files.clone(), Arc::clone(&self.threads));
        let thread = std::thread::Builder::new().name("files".to_owned());
        let started = thread.spawn(move || {
            let _held = held;
            for question in questions {
                // Nobody may be there any more to take the answer.
                let _ = match question {
                    Question::Find(mmap, parent, to) => to.send(files.find(&mmap, parent)).is_ok(),
                    Question::Stamp(mmap, to) => to.send(files.stamp(&mmap)).is_ok(),
                };
            }
        });
        let sent = started.is_ok() && helper.send(question).is_ok();
        self.helper = sent.then_some(helper);
        sent
    }

    fn rest(&mut self, place: Place, now: Instant) {
        if self.resting.len() >= MAX_RESTING {
            self.resting.clear();
        }
        self.resting.insert(place, now + REST);
    }
}

impl Place {
    fn of(mmap: &Mmap) -> Self {
        match mmap.id {
            MmapId::Inode { major, minor, .. } => Self::Device(major, minor),
            MmapId::BuildId(_) => {
                let end = mmap.path.iter().rposition(|byte| *byte == b'/').unwrap_or_default();
                Self::Directory(mmap.path.get(..end).unwrap_or_default().to_vec())
            }
        }
    }
}

impl<F: Files + Clone + Send + 'static> Files for Patient<F> {
    fn find(&self, wanted: &Mmap, parent: Option<u32>) -> Result<Found, NotFound> {
        if self.is_direct(wanted) {
            return self.files.find(wanted, parent);
        }
        self.ask(wanted, |to| Question::Find(wanted.clone(), parent, to))
            .unwrap_or(Err(NotFound::NoAnswer))
    }

    fn stamp(&self, wanted: &Mmap) -> Option<Stamp> {
        if self.is_direct(wanted) {
            return self.files.stamp(wanted);
        }
        self.ask(wanted, |to| Question::Stamp(wanted.clone(), to)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Condvar, Mutex};

    use super::super::procfs::Procfs;
    use super::*;

    /// Files that hang in one directory until they are let go.
    #[derive(Clone, Debug, Default)]
    struct Hanging {
        asked: Arc<AtomicUsize>,
        gate: Arc<(Mutex<bool>, Condvar)>,
    }

    impl Hanging {
        fn let_go(&self) {
            *self.gate.0.lock().unwrap() = true;
            self.gate.1.notify_all();
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    impl Files for Hanging {
        fn find(&self, wanted: &Mmap, _: Option<u32>) -> Result<Found, NotFound> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            if wanted.path.starts_with(b"/hung") {
                let open = self.gate.0.lock().unwrap();
                drop(self.gate.1.wait_while(open, |open| !*open).unwrap());
            }
            Err(NotFound::Unproven)
        }

        fn stamp(&self, _: &Mmap) -> Option<Stamp> {
            None
        }
    }

    /// Of a file in a file system that no mount tells of.
    fn mmap(path: &str, minor: u32) -> Mmap {
        Mmap {
            time_ns: 0,
            pid: std::process::id(),
            start: 0x1000,
            len: 0x1000,
            file_offset: 0,
            id: MmapId::Inode { major: 0, minor: (1 << 19) + minor, inode: 1, generation: 0 },
            path: path.as_bytes().to_vec(),
        }
    }

    fn patient(files: &Hanging) -> Patient<Hanging> {
        Patient::new(files.clone(), Mounts::new(Procfs::new("/proc".into())))
    }

    #[test]
    fn one_file_system_that_hangs_costs_one_wait() {
        let files = Hanging::default();
        let patient = patient(&files);
        let gone = |path: &str, minor| {
            matches!(patient.find(&mmap(path, minor), None), Err(NotFound::NoAnswer))
        };
        assert!(gone("/hung/a", 1));
        assert_eq!(files.asked(), 1);
        // What lies beside it is not asked for; others are, by another thread.
        assert!(gone("/hung/b", 1));
        assert_eq!(files.asked(), 1);
        assert!(!gone("/well/c", 2));
        assert_eq!(files.asked(), 2);
        files.let_go();
    }

    #[test]
    fn no_more_threads_wait_than_are_allowed() {
        let files = Hanging::default();
        let patient = patient(&files);
        for number in 0..MAX_STUCK + 3 {
            let found = patient.find(&mmap("/hung/a", number as u32), None);
            assert!(matches!(found, Err(NotFound::NoAnswer)));
        }
        assert_eq!(files.asked(), MAX_STUCK);
        files.let_go();
        // They go home, and others may be asked again.
        let deadline = Instant::now() + Duration::from_secs(20);
        while Arc::strong_count(&patient.state.borrow().threads) > 1 {
            assert!(Instant::now() < deadline, "the threads are still there");
            std::thread::yield_now();
        }
        assert!(matches!(patient.find(&mmap("/well/a", 99), None), Err(NotFound::Unproven)));
    }
}
