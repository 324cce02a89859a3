//! Which processes have marks, and which of them still live. The kernel side hands the marks on to
//! children itself, at their birth; it cannot tell when the last thread of one is gone, so that is told
//! from here, and the table of marked processes does not fill with the dead.

use std::collections::HashMap;

use profiler_common::live::marks;

use crate::model::event::Event;

/// What an event means for the table of marked processes: a process has these marks from now on, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The process. After a birth it is in the table, unless a dead one had its id and is taken out only
    /// now.
    pub pid: u32,
    /// Its marks; 0 where it has ended.
    pub marks: u32,
}

/// One process.
#[derive(Clone, Copy, Debug)]
struct Process {
    threads: u32,
    marks: u32,
    /// The process that was named, of which this one is a descendant, or the same.
    named: u32,
}

/// Followed processes, with the number of their threads.
#[derive(Debug)]
pub struct Followed {
    children: bool,
    processes: HashMap<u32, Process>,
}

impl Followed {
    /// Follows none yet; `children` says whether children have their parents' marks.
    pub fn new(children: bool) -> Self {
        Self { children, processes: HashMap::new() }
    }

    /// Gives named processes their marks, and takes those of others and of their descendants. Returns what
    /// changes. `threads` tells how many threads a process has.
    pub fn name(&mut self, named: &HashMap<u32, u32>, threads: impl Fn(u32) -> u32) -> Vec<Change> {
        let mut changes = Vec::new();
        for (pid, marks) in named {
            let process = Process { threads: threads(*pid).max(1), marks: *marks, named: *pid };
            let before = self.processes.insert(*pid, process);
            if before.is_none_or(|before| before.marks != *marks) {
                changes.push(Change { pid: *pid, marks: *marks });
            }
        }
        self.processes.retain(|pid, process| {
            let marks =
                named.get(&process.named).map_or(0, |marks| inherited(*marks, process, *pid));
            if marks != process.marks {
                changes.push(Change { pid: *pid, marks });
            }
            process.marks = marks;
            marks != 0
        });
        changes
    }

    /// Whether a process has marks.
    pub fn contains(&self, pid: u32) -> bool {
        self.processes.contains_key(&pid)
    }

    /// Takes an event, in the order of time. `threads` tells how many threads a process has now.
    pub fn apply(&mut self, event: &Event, threads: impl Fn(u32) -> u32) -> Option<Change> {
        match event {
            Event::Fork(fork) if fork.pid == fork.parent_pid => {
                let process = self.processes.get_mut(&fork.pid)?;
                process.threads = process.threads.saturating_add(1);
                None
            }
            Event::Fork(fork) if self.children => {
                let parent = self.processes.get(&fork.parent_pid)?;
                let marks = parent.marks & !marks::BURST;
                let child = Process { threads: 1, marks, named: parent.named };
                self.processes.insert(fork.pid, child);
                Some(Change { pid: fork.pid, marks })
            }
            Event::Exit(exit) => {
                let process = self.processes.get_mut(&exit.pid)?;
                process.threads = process.threads.saturating_sub(1);
                if process.threads == 0 {
                    // Of a process that ran when it was named, threads may have ended just then.
                    process.threads = threads(exit.pid);
                }
                let last = process.threads == 0;
                last.then(|| {
                    self.processes.remove(&exit.pid);
                    Change { pid: exit.pid, marks: 0 }
                })
            }
            _ => None,
        }
    }
}

/// What of the marks of a named process another one has.
fn inherited(marks: u32, process: &Process, pid: u32) -> u32 {
    if process.named == pid { marks } else { marks & !marks::BURST }
}

/// How many threads of a process live; 0 where it has ended, even if nobody has waited for it yet.
pub fn living_threads(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let threads = field("Threads:").and_then(|n| n.parse().ok()).unwrap_or(0);
    let dead = field("State:").is_some_and(|state| state.starts_with(['Z', 'X']));
    // The first thread stays as a zombie until the others have ended.
    if dead && threads <= 1 { 0 } else { threads }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::{Exit, Fork};

    const WANTED: u32 = marks::WANTED;

    fn fork(parent_pid: u32, pid: u32, tid: u32) -> Event {
        Event::Fork(Fork { time_ns: 0, pid, tid, parent_pid, parent_tid: parent_pid })
    }

    fn exit(pid: u32, tid: u32) -> Event {
        Event::Exit(Exit { time_ns: 0, pid, tid })
    }

    fn named(pids: &[(u32, u32)]) -> HashMap<u32, u32> {
        pids.iter().copied().collect()
    }

    #[test]
    fn a_process_is_forgotten_with_its_last_thread() {
        let mut followed = Followed::new(true);
        followed.name(&named(&[(10, WANTED)]), |_| 1);
        let (want, forget) =
            (|pid| Some(Change { pid, marks: WANTED }), |pid| Some(Change { pid, marks: 0 }));
        for (event, change) in [
            (fork(10, 11, 11), want(11)),
            (fork(11, 11, 12), None),
            // The first thread of a process may be the first to end.
            (exit(11, 11), None),
            (exit(11, 12), forget(11)),
            // Others are nobody's business, and neither are their children.
            (fork(1, 20, 20), None),
            (fork(20, 21, 21), None),
            (exit(21, 21), None),
            // An id that is used again.
            (fork(10, 11, 11), want(11)),
            (exit(11, 11), forget(11)),
            (exit(10, 10), forget(10)),
            (exit(10, 10), None),
        ] {
            assert_eq!(followed.apply(&event, |_| 0), change, "{event:?}");
        }
    }

    #[test]
    fn a_process_that_ran_already_is_counted_again_before_it_is_forgotten() {
        let mut followed = Followed::new(false);
        followed.name(&named(&[(10, WANTED)]), |_| 1);
        assert_eq!(followed.apply(&exit(10, 12), |_| 2), None);
        assert_eq!(followed.apply(&fork(10, 11, 11), |_| 2), None, "children are not followed");
        assert_eq!(followed.apply(&exit(10, 10), |_| 0), None);
        let last = followed.apply(&exit(10, 13), |_| 0);
        assert_eq!(last, Some(Change { pid: 10, marks: 0 }));
    }

    #[test]
    fn other_names_take_the_marks_of_descendants_too() {
        let mut followed = Followed::new(true);
        let burst = WANTED | marks::BURST;
        followed.name(&named(&[(10, burst), (30, WANTED)]), |_| 1);
        let born = followed.apply(&fork(10, 11, 11), |_| 0);
        assert_eq!(born, Some(Change { pid: 11, marks: WANTED }), "a burst is not inherited");
        assert_eq!(followed.name(&named(&[(10, burst), (30, WANTED)]), |_| 1), []);
        let mut changes = followed.name(&named(&[(30, marks::EXCLUDED)]), |_| 1);
        changes.sort_by_key(|change| change.pid);
        let expected = [(10, 0), (11, 0), (30, marks::EXCLUDED)];
        assert_eq!(changes, expected.map(|(pid, marks)| Change { pid, marks }));
        assert!(followed.contains(30) && !followed.contains(11));
    }

    #[test]
    fn this_process_lives() {
        assert!(living_threads(std::process::id()) > 0);
        assert_eq!(living_threads(u32::MAX), 0);
    }
}
