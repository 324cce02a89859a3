//! All processes by number, as the side-band tells of them: forks, execs, names, ends. No I/O.
//!
//! A process that ended is kept for a while, since stacks may arrive after the news of its end, and
//! since its binaries stay open as long: the next process of the same program finds them.

use std::collections::{HashSet, VecDeque};

use ahash::{AHashMap, AHashSet};

use super::Config;
use super::address_space::{Budget, Change};
use super::backoff::nanos;
use super::life::{Life, Source};
use super::text::comm;
use crate::model::event::{CommChange, Exit, Fork};
use crate::model::losses::Losses;
use crate::model::space::Mapping;

/// A number that is no [`Life::version`]: of stacks in the kernel alone, which are the same everywhere.
pub(super) const NO_MEMORY: u64 = 0;

/// Processes by number.
#[derive(Debug)]
pub(super) struct Table {
    lives: AHashMap<u32, Life>,
    /// Ends, oldest first: when to look whether the process can be forgotten, and which end it was.
    ends: VecDeque<End>,
    budget: Budget,
    max_lives: usize,
    keep_dead_ns: u64,
    last_version: u64,
    /// Processes whose memory changed, or that ended, since someone asked.
    changed: HashSet<u32>,
    losses: Losses,
}

/// The end of a process.
#[derive(Clone, Copy, Debug)]
struct End {
    forget_at_ns: u64,
    pid: u32,
    ended_at_ns: u64,
}

impl Table {
    /// No process.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            lives: AHashMap::new(),
            ends: VecDeque::new(),
            budget: Budget::new(config.max_mappings, config.max_process_mappings),
            max_lives: config.max_processes.max(1),
            keep_dead_ns: nanos(config.keep_dead),
            last_version: NO_MEMORY,
            changed: HashSet::new(),
            losses: Losses::default(),
        }
    }

    /// What was turned away so far.
    pub(super) fn losses(&self) -> &Losses {
        &self.losses
    }

    /// How many mappings may be held.
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Every process that is not known to have ended.
    pub(super) fn living(&self) -> Vec<u32> {
        let living = self.lives.iter().filter(|(_, life)| life.ended_at_ns.is_none());
        living.map(|(pid, _)| *pid).collect()
    }

    /// The labels of all threads are to be made anew.
    pub(super) fn forget_labels(&mut self) {
        self.lives.values_mut().for_each(Life::forget_threads);
    }

    /// A process.
    pub(super) fn get(&self, pid: u32) -> Option<&Life> {
        self.lives.get(&pid)
    }

    /// A process, which is from now on in the table if it was not.
    pub(super) fn entry(&mut self, pid: u32) -> &mut Life {
        self.make_room_for(pid);
        let version = self.next_version();
        let budget = &self.budget;
        self.lives.entry(pid).or_insert_with(|| Life::new(Source::Unread, budget, version))
    }

    /// The versions of all memory that is known, and that of what has none.
    pub(super) fn versions(&self) -> AHashSet<u64> {
        self.lives.values().map(Life::version).chain([NO_MEMORY]).collect()
    }

    /// A number for [`Life::version`] that no address space had.
    pub(super) fn next_version(&mut self) -> u64 {
        self.last_version += 1;
        self.last_version
    }

    /// Notes that the memory of a process changed, or that it ended.
    pub(super) fn note_change(&mut self, pid: u32) {
        self.changed.insert(pid);
    }

    /// Notes every process, as if its memory had changed.
    pub(super) fn note_all(&mut self) {
        self.changed.extend(self.lives.keys());
    }

    /// Processes of which [`Self::note_change`] was told since this was last asked.
    pub(super) fn take_changed(&mut self) -> HashSet<u32> {
        std::mem::take(&mut self.changed)
    }

    /// A process was born: it begins with its parent's memory. Threads need no entry.
    pub(super) fn fork(&mut self, fork: &Fork) {
        let is_old = |life: &Life| !life.is_news(fork.time_ns);
        if fork.pid == fork.parent_pid {
            if let Some(life) = self.lives.get_mut(&fork.pid) {
                life.threaded = true;
            }
            return;
        }
        if self.lives.get(&fork.pid).is_some_and(is_old) {
            return;
        }
        self.expire(fork.time_ns);
        let version = self.next_version();
        let child = match self.lives.get(&fork.parent_pid) {
            Some(parent) => parent.fork(fork.parent_pid, fork.time_ns, version, &self.budget),
            None => Life::new(Source::Unread, &self.budget, version),
        };
        self.make_room_for(fork.pid);
        self.lives.insert(fork.pid, child);
        self.note_change(fork.pid);
    }

    /// A thread has a new name, perhaps because its process runs a new program.
    pub(super) fn comm(&mut self, change: &CommChange) {
        if change.pid != change.tid && !change.exec {
            return;
        }
        let version = self.next_version();
        let budget = self.budget.clone();
        let life = self.entry(change.pid);
        if !life.is_news(change.time_ns) {
            return;
        }
        life.name = comm(&change.comm).into();
        if change.exec {
            life.exec(change.time_ns, &budget, version);
            self.note_change(change.pid);
        }
    }

    /// A process mapped something.
    pub(super) fn map(&mut self, pid: u32, mapping: Mapping) -> Change {
        let version = self.next_version();
        let budget = self.budget.clone();
        let change = self.entry(pid).map(mapping, &budget, version);
        match change {
            Change::None => {}
            Change::Inserted => self.note_change(pid),
            Change::Full => {
                self.losses.add("mappings_lost_limit", 1);
                self.note_change(pid);
            }
        }
        change
    }

    /// A thread ended; with the `last`, its process.
    pub(super) fn exit(&mut self, exit: &Exit, last: bool) {
        self.expire(exit.time_ns);
        let Some(life) = self.lives.get_mut(&exit.pid) else { return };
        if !life.is_news(exit.time_ns) {
            return;
        }
        life.forget_thread(exit.tid);
        if last {
            self.end(exit.pid, exit.time_ns);
        }
    }

    /// Notes that a process has ended.
    pub(super) fn end(&mut self, pid: u32, ended_at_ns: u64) {
        let Some(life) = self.lives.get_mut(&pid) else { return };
        life.ended_at_ns = Some(ended_at_ns);
        let forget_at_ns = ended_at_ns.saturating_add(self.keep_dead_ns);
        self.ends.push_back(End { forget_at_ns, pid, ended_at_ns });
        self.note_change(pid);
        // The dead must not crowd out the living.
        if self.ends.len() > self.max_lives.div_ceil(2) {
            self.forget_oldest_end();
        }
    }

    /// Forgets who ended long enough ago.
    pub(super) fn expire(&mut self, now_ns: u64) {
        while let Some(end) = self.ends.front().copied()
            && end.forget_at_ns <= now_ns
        {
            self.ends.pop_front();
            let Some(life) = self.lives.get(&end.pid) else { continue };
            let again_at_ns = life.sampled_at_ns.saturating_add(self.keep_dead_ns);
            if life.ended_at_ns != Some(end.ended_at_ns) {
                // Its number was given away.
            } else if again_at_ns > now_ns {
                self.ends.push_back(End { forget_at_ns: again_at_ns, ..end });
            } else {
                self.lives.remove(&end.pid);
            }
        }
    }

    /// Makes room for one more process, if this is one more.
    fn make_room_for(&mut self, pid: u32) {
        while self.lives.len() >= self.max_lives && !self.lives.contains_key(&pid) {
            if !self.forget_oldest_end() {
                self.forget_unsampled();
            }
        }
    }

    /// Forgets the process that ended first; `false` where none has ended.
    fn forget_oldest_end(&mut self) -> bool {
        let Some(end) = self.ends.pop_front() else { return false };
        if self.lives.get(&end.pid).is_some_and(|life| life.ended_at_ns == Some(end.ended_at_ns)) {
            self.lives.remove(&end.pid);
            self.losses.add("processes_forgotten_early", 1);
        }
        true
    }

    /// Forgets those that live but were not sampled for longest: if they are, they are read anew from
    /// `/proc`. Several at once, since finding them looks at all.
    fn forget_unsampled(&mut self) {
        let mut by_sample: Vec<(u64, u32)> =
            self.lives.iter().map(|(pid, life)| (life.sampled_at_ns, *pid)).collect();
        by_sample.sort_unstable();
        let surplus = self.max_lives.div_ceil(16);
        for (_, pid) in by_sample.into_iter().take(surplus) {
            self.lives.remove(&pid);
            self.note_change(pid);
            self.losses.add("processes_forgotten_table_full", 1);
        }
    }
}

#[cfg(test)]
mod tests;
