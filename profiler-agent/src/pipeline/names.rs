//! What frames are called, for as long as windows need it, and as long as there is room.
//!
//! Within a window nothing is forgotten. When one was encoded and there are more names than there may be,
//! those go that were not in use for longest.

use std::cmp::Ordering;
use std::collections::HashMap;

use ahash::RandomState;

use super::running::QUEUE;
use crate::model::frame::{Frame, FrameKey};
use crate::model::names::{FrameNames, Names};

/// Names that are kept beyond the windows that need them, with those.
const MAX_NAMES: usize = 30_000;

/// What a window asks for is needed until as many windows more were encoded: those that wait before it, the one
/// that is being encoded, and itself.
const NEEDED: u64 = QUEUE as u64 + 2;

/// The names.
#[derive(Debug, Default)]
pub(super) struct KnownNames {
    names: HashMap<FrameKey, Known, RandomState>,
    /// Windows that were encoded.
    windows: u64,
    /// Memory is tight: names go with the windows that need them.
    tight: bool,
}

#[derive(Debug)]
struct Known {
    names: FrameNames,
    /// How many windows had been encoded when it was last asked for.
    used: u64,
}

impl KnownNames {
    /// The frames that have no name yet; those that have one are in use.
    pub(super) fn unknown(&mut self, mut frames: Vec<Frame>) -> Vec<Frame> {
        frames.retain(|frame| match self.names.get_mut(&frame.key()) {
            Some(known) => {
                known.used = self.windows;
                false
            }
            None => true,
        });
        frames
    }

    /// Whether memory is tight.
    pub(super) fn tighten(&mut self, tight: bool) {
        self.tight = tight;
    }

    /// Adds names.
    pub(super) fn add(&mut self, names: Names) {
        let used = self.windows;
        let known = names.into_iter().map(|(key, names)| (key, Known { names, used }));
        self.names.extend(known);
    }

    /// Those of these frames.
    pub(super) fn of(&self, frames: impl Iterator<Item = FrameKey>) -> Names {
        frames.filter_map(|key| Some((key, self.names.get(&key)?.names.clone()))).collect()
    }

    /// All of them.
    pub(super) fn into_all(self) -> Names {
        self.names.into_iter().map(|(key, known)| (key, known.names)).collect()
    }

    /// A window was encoded: what no window needs may go, if there are more names than there may be.
    pub(super) fn end_window(&mut self) {
        self.windows += 1;
        let max = if self.tight { 0 } else { MAX_NAMES };
        let beyond = self.names.len().saturating_sub(max);
        let uses = self.names.values().map(|known| known.used);
        let mut idle: Vec<u64> = uses.filter(|used| used + NEEDED <= self.windows).collect();
        if beyond > 0 && !idle.is_empty() {
            let last = beyond.min(idle.len()) - 1;
            let (older, &mut youngest, _) = idle.select_nth_unstable(last);
            // As many of the youngest that go as are needed.
            let mut of_youngest = older.iter().filter(|used| **used == youngest).count() + 1;
            self.names.retain(|_, known| match known.used.cmp(&youngest) {
                Ordering::Less => false,
                Ordering::Equal if of_youngest > 0 => {
                    of_youngest -= 1;
                    false
                }
                _ => true,
            });
        }
        if self.tight {
            self.names.shrink_to_fit();
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.names.len()
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
        for window in 0..50 {
            let begin = window * 50;
            let new = if window == 0 { 100 } else { 50 };
            assert_eq!(name_new(&mut names, begin..begin + 100), new);
            names.end_window();
            assert!(names.len() <= 50 * NEEDED as usize + 50, "{}", names.len());
        }
    }

    #[test]
    fn windows_that_wait_to_be_encoded_keep_their_names() {
        let mut names = KnownNames::default();
        names.tighten(true);
        name_new(&mut names, 0..100);
        let keys = || (0..100).map(|address| Frame::Kernel { address }.key());
        // Those that were closed before, the one that was being encoded; then it is its turn.
        for _ in 0..QUEUE + 1 {
            names.end_window();
        }
        assert_eq!(names.of(keys()).len(), 100);
        names.end_window();
        assert_eq!(names.of(keys()).len(), 0);
    }

    #[test]
    fn those_go_that_were_not_in_use_for_longest() {
        let mut names = KnownNames::default();
        let first = 0..MAX_NAMES as u64 - 10;
        name_new(&mut names, first.clone());
        for _ in 0..NEEDED {
            names.end_window();
            assert_eq!(name_new(&mut names, 0..100), 0);
        }
        assert_eq!(name_new(&mut names, 100_000..100_030), 30);
        names.end_window();
        assert_eq!(names.len(), MAX_NAMES, "no more go than must");
        assert_eq!(name_new(&mut names, 100_000..100_030), 0);
        assert_eq!(name_new(&mut names, 0..100), 0);
        assert_eq!(name_new(&mut names, first), 20);
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
            assert!(names.len() <= MAX_NAMES.max(NEEDED as usize * 8_000));
        }
        assert_eq!(asked, 1_000, "what is always in use is named once");
    }
}
