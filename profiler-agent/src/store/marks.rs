//! What sinks have settled, on its way into the cursors.

use std::collections::BTreeMap;

use super::cursors::{Cursors, Outcome};
use super::error::FileError;
use super::files;
use super::recorder::{Mounted, Store, lock};

impl Store {
    pub(super) fn settle(&self, sink: &str, id: u64, outcome: Outcome) {
        if self.index().settle(sink, id, outcome) {
            self.save_marks(&mut lock(&self.disk));
        }
    }

    /// Writes down what sinks have settled. What cannot be written is kept for the next time.
    pub(super) fn save_marks(&self, mounted: &mut Mounted) {
        let (marks, oldest, firsts) = {
            let mut index = self.index();
            (index.take_unsaved(), index.oldest(), index.firsts())
        };
        if marks.is_empty() || self.in_memory {
            return;
        }
        if mounted.cursors.is_none() {
            self.save_sinks(mounted, &firsts);
        }
        let saved = mounted.cursors.as_ref().map(|cursors| cursors.settle(&marks, oldest));
        if !matches!(saved, Some(Ok(()))) {
            let mut index = self.index();
            index.counters.cursor_errors += 1;
            index.give_back(marks);
            mounted.cursors = None;
        }
    }

    /// Writes down which sinks there are; opens the cursors where they are not.
    pub(super) fn save_sinks(&self, mounted: &mut Mounted, firsts: &BTreeMap<String, u64>) {
        if self.in_memory {
            return;
        }
        let path = self.path.join(files::CURSORS);
        let opened = match mounted.cursors.take() {
            Some(cursors) => Ok(cursors),
            None if mounted.disk.is_none() => return,
            None => Cursors::open(&path),
        };
        match opened.and_then(|cursors| cursors.set_sinks(firsts).map(|()| cursors)) {
            Ok(cursors) => mounted.cursors = Some(cursors),
            Err(error) => {
                self.index().counters.cursor_errors += 1;
                let Some(disk) = &mounted.disk else { return };
                // The next try begins with new cursors, in which only what is settled from now on is.
                if !matches!(error, FileError::Io(_))
                    && let Ok(aside) = disk.set_cursors_aside(&error)
                {
                    self.note(&aside);
                }
            }
        }
    }
}
