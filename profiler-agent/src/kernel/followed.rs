//! Which of the followed processes still live. The kernel side enters the children of a wanted process
//! itself, at their birth; it cannot tell when the last thread of one is gone, so that is told from
//! here, and the table of wanted processes does not fill with the dead.

use std::collections::HashMap;

use crate::model::event::Event;

/// What an event means for the table of wanted processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A process was born. It is in the table, unless a dead one had its id and is taken out only now.
    Want(u32),
    /// A process has ended.
    Forget(u32),
}

/// Followed processes, with the number of their threads.
#[derive(Debug)]
pub struct Followed {
    threads: HashMap<u32, u32>,
}

impl Followed {
    /// Follows these, which have one thread each: a command has not run yet.
    pub fn new(pids: &[u32]) -> Self {
        Self { threads: pids.iter().map(|pid| (*pid, 1)).collect() }
    }

    /// Takes an event, in the order of time.
    pub fn apply(&mut self, event: &Event) -> Option<Change> {
        match event {
            Event::Fork(fork) if fork.pid == fork.parent_pid => {
                let threads = self.threads.get_mut(&fork.pid)?;
                *threads = threads.saturating_add(1);
                None
            }
            Event::Fork(fork) => self.threads.contains_key(&fork.parent_pid).then(|| {
                self.threads.insert(fork.pid, 1);
                Change::Want(fork.pid)
            }),
            Event::Exit(exit) => {
                let threads = self.threads.get_mut(&exit.pid)?;
                *threads = threads.saturating_sub(1);
                let last = *threads == 0;
                last.then(|| {
                    self.threads.remove(&exit.pid);
                    Change::Forget(exit.pid)
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::{Exit, Fork};

    fn fork(parent_pid: u32, pid: u32, tid: u32) -> Event {
        Event::Fork(Fork { time_ns: 0, pid, tid, parent_pid, parent_tid: parent_pid })
    }

    fn exit(pid: u32, tid: u32) -> Event {
        Event::Exit(Exit { time_ns: 0, pid, tid })
    }

    #[test]
    fn a_process_is_forgotten_with_its_last_thread() {
        let mut followed = Followed::new(&[10]);
        for (event, change) in [
            (fork(10, 11, 11), Some(Change::Want(11))),
            (fork(11, 11, 12), None),
            // The first thread of a process may be the first to end.
            (exit(11, 11), None),
            (exit(11, 12), Some(Change::Forget(11))),
            // Others are nobody's business, and neither are their children.
            (fork(1, 20, 20), None),
            (fork(20, 21, 21), None),
            (exit(21, 21), None),
            // An id that is used again.
            (fork(10, 11, 11), Some(Change::Want(11))),
            (exit(11, 11), Some(Change::Forget(11))),
            (exit(10, 10), Some(Change::Forget(10))),
            (exit(10, 10), None),
        ] {
            assert_eq!(followed.apply(&event), change, "{event:?}");
        }
    }
}
