//! What frames are called, for as long as windows need it.
//!
//! Two generations bound it: where the young one has its share when a window was encoded, it becomes the
//! old one, and what the old one held is forgotten, except what was asked for meanwhile. Within a window
//! nothing is forgotten.

use crate::model::frame::{Frame, FrameKey};
use crate::model::names::Names;

/// Names in the young generation from which on it becomes the old one.
const MAX_YOUNG: usize = 20_000;

/// The names.
#[derive(Debug, Default)]
pub(super) struct KnownNames {
    young: Names,
    old: Names,
    /// Memory is tight: a generation is as old as a window.
    tight: bool,
}

impl KnownNames {
    /// The frames that have no name yet; those that have one are in use.
    pub(super) fn unknown(&mut self, mut frames: Vec<Frame>) -> Vec<Frame> {
        frames.retain(|frame| {
            let key = frame.key();
            if self.young.contains_key(&key) {
                return false;
            }
            match self.old.remove(&key) {
                Some(name) => {
                    self.young.insert(key, name);
                    false
                }
                None => true,
            }
        });
        frames
    }

    /// Whether memory is tight.
    pub(super) fn tighten(&mut self, tight: bool) {
        self.tight = tight;
    }

    /// Adds names.
    pub(super) fn add(&mut self, names: Names) {
        self.young.extend(names);
    }

    /// Those of these frames.
    pub(super) fn of(&self, frames: impl Iterator<Item = FrameKey>) -> Names {
        let name = |key| {
            let name = self.young.get(&key).or_else(|| self.old.get(&key))?;
            Some((key, name.clone()))
        };
        frames.filter_map(name).collect()
    }

    /// All of them.
    pub(super) fn into_all(self) -> Names {
        let Self { young, mut old, .. } = self;
        old.extend(young);
        old
    }

    /// A window was encoded: what was not in use for long may go.
    pub(super) fn end_window(&mut self) {
        if self.tight || self.young.len() >= MAX_YOUNG {
            self.old = std::mem::take(&mut self.young);
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn frames(addresses: std::ops::Range<u64>) -> Vec<Frame> {
        addresses.map(|address| Frame::Kernel { address }).collect()
    }

    fn name_new(names: &mut KnownNames, window: std::ops::Range<u64>) -> usize {
        let unknown = names.unknown(frames(window));
        names.add(unknown.iter().map(|frame| (frame.key(), Arc::from([]))).collect());
        unknown.len()
    }

    #[test]
    fn where_memory_is_tight_names_go_with_the_windows_that_need_them() {
        let mut names = KnownNames::default();
        names.tighten(true);
        name_new(&mut names, 0..100);
        names.end_window();
        assert_eq!(name_new(&mut names, 50..150), 50);
        names.end_window();
        assert_eq!(names.len(), 100);
    }

    #[test]
    fn names_are_kept_while_they_are_in_use_and_never_grow_with_time() {
        let mut names = KnownNames::default();
        let mut asked = 0;
        for window in 0..50 {
            // A thousand that always come, and 8,000 that come once.
            asked += name_new(&mut names, 0..1_000);
            let once = 1_000 + window * 8_000;
            assert_eq!(name_new(&mut names, once..once + 8_000), 8_000);
            let all = (0..1_000).chain(once..once + 8_000);
            let keys = all.map(|address| Frame::Kernel { address }.key());
            assert_eq!(names.of(keys).len(), 9_000, "a window has all of its names");
            names.end_window();
            assert!(names.len() <= 2 * (MAX_YOUNG + 9_000));
        }
        assert_eq!(asked, 1_000, "what is always in use is named once");
    }
}
