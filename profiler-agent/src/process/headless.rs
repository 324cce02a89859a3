//! Processes whose first thread has ended while others live on. The kernel tells of the end of every
//! thread, and never that it was the last.

use std::collections::HashSet;
use std::time::Duration;

use super::backoff::nanos;
use super::procfs::Procfs;

/// So often it is looked whether they still live, beside whenever a thread of theirs ends.
const LOOK: Duration = Duration::from_secs(1);

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Headless {
    pids: HashSet<u32>,
    looked_at_ns: u64,
}

impl Headless {
    /// The first thread of a process has ended; whether the process lives on.
    pub(super) fn first_thread_ended(&mut self, pid: u32, procfs: &Procfs) -> bool {
        let lives = procfs.has_other_threads(pid);
        if lives {
            self.pids.insert(pid);
        }
        lives
    }

    /// Another thread of a process has ended; whether the process has ended with it.
    pub(super) fn thread_ended(&mut self, pid: u32, procfs: &Procfs) -> bool {
        let ended = self.pids.contains(&pid) && !procfs.has_other_threads(pid);
        if ended {
            self.pids.remove(&pid);
        }
        ended
    }

    /// Its number belongs to a new process, or it runs a new program, which begins with a first thread.
    pub(super) fn forget(&mut self, pid: u32) {
        self.pids.remove(&pid);
    }

    /// Those that have ended unheard, if it is time to look.
    pub(super) fn ended(&mut self, now_ns: u64, procfs: &Procfs) -> Vec<u32> {
        if self.pids.is_empty() || now_ns.saturating_sub(self.looked_at_ns) < nanos(LOOK) {
            return Vec::new();
        }
        self.looked_at_ns = now_ns;
        let ended = self.pids.extract_if(|pid| !procfs.has_other_threads(*pid));
        ended.collect()
    }
}
