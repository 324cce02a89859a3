//! What the preparer has to do: the last news of the processes, from a collector that must never
//! wait, and tables, from readers that wait rather than pile them up.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::space::{SpaceChange, Unfinished};
use crate::runtime::native::Part;
use crate::runtime::native::keeper::TableId;

/// Tables that wait for the preparer, at most.
const MAX_LOADED: usize = 2;

/// What became of a binary whose table was wanted.
#[derive(Debug)]
pub struct Loaded {
    /// The number that it was asked for under.
    pub table: TableId,
    /// Its table; `None` where it has none.
    pub parts: Option<Vec<Part>>,
}

/// Stacks that wait for the preparer, at most: with up to 8 KiB each.
const MAX_STACKS: usize = 256;

/// All that arrived since the preparer last looked.
#[derive(Debug, Default)]
pub struct Mail {
    /// Changes.
    pub changes: Vec<SpaceChange>,
    /// Stacks that wait for tables.
    pub stacks: Vec<Unfinished>,
    /// Tables.
    pub loaded: Vec<Loaded>,
    /// Nothing more will come from the collector.
    pub over: bool,
}

/// The box.
#[derive(Debug, Default)]
pub struct Inbox {
    mail: Mutex<Mail>,
    arrived: Condvar,
    taken: Condvar,
}

impl Inbox {
    /// Leaves changes, unless the last ones still lie there: then they come back.
    pub fn offer(&self, changes: Vec<SpaceChange>) -> Result<(), Vec<SpaceChange>> {
        let mut mail = self.lock();
        if !mail.changes.is_empty() {
            return Err(changes);
        }
        mail.changes = changes;
        self.arrived.notify_one();
        Ok(())
    }

    /// Leaves a stack, if there is room for it: else it comes back.
    pub fn ask(&self, stack: Unfinished) -> Result<(), Unfinished> {
        let mut mail = self.lock();
        if mail.stacks.len() >= MAX_STACKS {
            return Err(stack);
        }
        mail.stacks.push(stack);
        self.arrived.notify_one();
        Ok(())
    }

    /// Leaves a table, as soon as there is room. After the end of the recording, nobody wants it.
    pub fn deliver(&self, loaded: Loaded) {
        let full = |mail: &mut Mail| mail.loaded.len() >= MAX_LOADED && !mail.over;
        let mail = self.taken.wait_while(self.lock(), full);
        mail.unwrap_or_else(PoisonError::into_inner).loaded.push(loaded);
        self.arrived.notify_one();
    }

    /// Says that the collector will leave no more.
    pub fn close(&self) {
        self.lock().over = true;
        self.arrived.notify_one();
        self.taken.notify_all();
    }

    /// Takes all that is there; waits so long for the first. `heard_end`: that the collector will leave no
    /// more is no news.
    pub fn take(&self, patience: Duration, heard_end: bool) -> Mail {
        let empty = |mail: &mut Mail| {
            mail.changes.is_empty()
                && mail.stacks.is_empty()
                && mail.loaded.is_empty()
                && (!mail.over || heard_end)
        };
        let waited = self.arrived.wait_timeout_while(self.lock(), patience, empty);
        let (mut mail, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let over = mail.over;
        let taken = std::mem::replace(&mut *mail, Mail { over, ..Mail::default() });
        self.taken.notify_all();
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn gone(pid: u32) -> SpaceChange {
        SpaceChange { pid, space: None }
    }

    fn table(table: TableId) -> Loaded {
        Loaded { table, parts: None }
    }

    #[test]
    fn changes_are_left_once_and_come_back_while_they_lie_there() {
        let inbox = Inbox::default();
        inbox.offer(vec![gone(1)]).unwrap();
        assert_eq!(inbox.offer(vec![gone(2)]).unwrap_err()[0].pid, 2);
        assert_eq!(inbox.take(NOW, false).changes[0].pid, 1);
        inbox.offer(vec![gone(2)]).unwrap();
        let mail = inbox.take(NOW, false);
        assert_eq!((mail.changes[0].pid, mail.over), (2, false));
        assert!(inbox.take(NOW, false).changes.is_empty());
    }

    #[test]
    fn whoever_reads_tables_waits_until_there_is_room() {
        let inbox = Inbox::default();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..100).for_each(|n| inbox.deliver(table(n))));
            let mut taken = Vec::new();
            while taken.len() < 100 {
                let mail = inbox.take(Duration::from_secs(10), false);
                assert!((1..=MAX_LOADED).contains(&mail.loaded.len()));
                taken.extend(mail.loaded.into_iter().map(|loaded| loaded.table));
            }
            assert!(taken.is_sorted());
        });
    }

    #[test]
    fn nobody_waits_after_the_end() {
        let inbox = Inbox::default();
        inbox.close();
        (0..10).for_each(|n| inbox.deliver(table(n)));
        assert!(inbox.take(Duration::from_secs(1000), false).over);
        assert!(inbox.take(NOW, true).loaded.is_empty());
    }
}
