//! What the preparer has to do: the last news of the processes, from a collector that must never
//! wait, and tables, from readers that wait until each has its place: so no more of them are in memory
//! than there are readers.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::heat::Touched;
use crate::model::space::{SpaceChange, Unfinished};
use crate::runtime::native::Part;
use crate::runtime::native::keeper::TableId;

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
    /// Binaries through which stacks led.
    pub touched: Touched,
    /// Nothing more will come from the collector.
    pub over: bool,
}

/// The box.
#[derive(Debug, Default)]
pub struct Inbox {
    state: Mutex<State>,
    arrived: Condvar,
    placed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    mail: Mail,
    /// Tables that were left, and tables that were placed, in the same order.
    delivered: u64,
    placed: u64,
}

impl Inbox {
    /// Leaves changes, unless the last ones still lie there: then they come back.
    pub fn offer(&self, changes: Vec<SpaceChange>) -> Result<(), Vec<SpaceChange>> {
        let mail = &mut self.lock().mail;
        if !mail.changes.is_empty() {
            return Err(changes);
        }
        mail.changes = changes;
        self.arrived.notify_one();
        Ok(())
    }

    /// Leaves word of the binaries through which stacks led, in place of the last word. Nobody is woken for
    /// that.
    pub fn tell(&self, touched: Touched) {
        self.lock().mail.touched = touched;
    }

    /// Leaves a stack, if there is room for it: else it comes back.
    pub fn ask(&self, stack: Unfinished) -> Result<(), Unfinished> {
        let mail = &mut self.lock().mail;
        if mail.stacks.len() >= MAX_STACKS {
            return Err(stack);
        }
        mail.stacks.push(stack);
        self.arrived.notify_one();
        Ok(())
    }

    /// Leaves a table, and waits until it is placed. After the end of the recording, nobody wants it.
    pub fn deliver(&self, loaded: Loaded) {
        let mut state = self.lock();
        state.mail.loaded.push(loaded);
        state.delivered += 1;
        let ours = state.delivered;
        self.arrived.notify_one();
        let waits = |state: &mut State| state.placed < ours && !state.mail.over;
        drop(self.placed.wait_while(state, waits));
    }

    /// Says that so many tables were placed, or not wanted.
    pub fn placed(&self, tables: usize) {
        self.lock().placed += tables as u64;
        self.placed.notify_all();
    }

    /// Says that the collector will leave no more.
    pub fn close(&self) {
        self.lock().mail.over = true;
        self.arrived.notify_one();
        self.placed.notify_all();
    }

    /// Takes all that is there; waits so long for the first. `heard_end`: that the collector will leave no
    /// more is no news.
    pub fn take(&self, patience: Duration, heard_end: bool) -> Mail {
        let empty = |State { mail, .. }: &mut State| {
            mail.changes.is_empty()
                && mail.stacks.is_empty()
                && mail.loaded.is_empty()
                && (!mail.over || heard_end)
        };
        let waited = self.arrived.wait_timeout_while(self.lock(), patience, empty);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let over = state.mail.over;
        std::mem::replace(&mut state.mail, Mail { over, ..Mail::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn whoever_reads_tables_waits_until_each_is_placed() {
        const READERS: usize = 3;
        let inbox = Inbox::default();
        std::thread::scope(|scope| {
            for reader in 0..READERS as u32 {
                let inbox = &inbox;
                scope.spawn(move || (0..50).for_each(|n| inbox.deliver(table(reader * 100 + n))));
            }
            let (mut taken, mut unplaced) = (Vec::new(), 0);
            while taken.len() < READERS * 50 {
                let mail = inbox.take(Duration::from_secs(10), false);
                unplaced += mail.loaded.len();
                assert!((1..=READERS).contains(&unplaced), "{unplaced}");
                taken.extend(mail.loaded.into_iter().map(|loaded| loaded.table));
                inbox.placed(std::mem::take(&mut unplaced));
            }
            for reader in 0..READERS as u32 {
                assert!(taken.iter().filter(|table| *table / 100 == reader).is_sorted());
            }
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
