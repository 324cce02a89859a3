//! The namer: a thread that turns frames into names beside the collector, and never holds it up.
//!
//! The collector offers lists of frames over a bounded channel; what has no room there waits with it.
//! Lists are numbered, so that whoever encodes a window knows when all of its frames were looked at. It
//! waits so long, and not longer than it wants to: frames without a name have their place instead.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::names::KnownNames;
use crate::model::frame::{Frame, FrameKey};
use crate::model::losses::Losses;
use crate::model::names::Names;
use crate::symbolize::{self, Symbolizer};

/// Frames gather this long before they are named: each binary is then read once for many of them, twice
/// for a window of ten seconds. (On a host that compiles, reading them is a quarter of the agent's CPU.)
const GATHER: Duration = Duration::from_secs(5);

/// Lists of frames that may wait for the namer.
const QUEUE: usize = 64;

/// Frames that wait with the collector, at most: as many as a window holds.
const MAX_WAITING: usize = 1_000_000;

/// Lines on missing names between two windows, at most.
const MAX_PROBLEMS: usize = 20;

/// A list of frames.
#[derive(Debug)]
struct List {
    number: u64,
    frames: Vec<Frame>,
    /// Somebody waits for it.
    at_once: bool,
    /// Memory is tight.
    tight: bool,
}

/// What the namer and those who wait for it share.
#[derive(Debug, Default)]
pub(super) struct Naming {
    state: Mutex<State>,
    named: Condvar,
}

#[derive(Debug, Default)]
struct State {
    names: KnownNames,
    /// Number of the last list that was named.
    done: u64,
    /// Nothing more is named.
    over: bool,
    losses: Losses,
    problems: Vec<String>,
}

/// The collector's end.
#[derive(Debug)]
pub(super) struct Offers {
    lists: SyncSender<List>,
    waiting: Vec<Frame>,
    /// Number of the last list that was sent.
    sent: u64,
    /// What waits is wanted soon.
    at_once: bool,
    /// Memory is tight.
    tight: bool,
    losses: Losses,
}

/// The namer's end.
#[derive(Debug)]
pub(super) struct Lists(Receiver<List>);

/// What the namer has of a window.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// Names.
    pub(super) names: Names,
    /// Some are missing because the namer was too slow.
    pub(super) late: bool,
    /// One line each: which names are missing, and why. Not told before.
    pub(super) problems: Vec<String>,
    /// What the namer turned away since it began.
    pub(super) losses: Losses,
}

/// Both ends of the way to the namer.
pub(super) fn offers() -> (Offers, Lists) {
    let (lists, receiver) = sync_channel(QUEUE);
    let losses = Losses::default();
    (
        Offers { lists, waiting: Vec::new(), sent: 0, at_once: false, tight: false, losses },
        Lists(receiver),
    )
}

impl Offers {
    /// Offers frames, now or when there is room.
    pub(super) fn offer(&mut self, frames: impl IntoIterator<Item = Frame>) {
        self.waiting.extend(frames);
        let beyond = self.waiting.len().saturating_sub(MAX_WAITING);
        self.waiting.truncate(MAX_WAITING);
        self.losses.add("frames_not_named_namer_busy", beyond as u64);
        if self.waiting.is_empty() && !self.at_once {
            return;
        }
        let frames = std::mem::take(&mut self.waiting);
        let list = List { number: self.sent + 1, frames, at_once: self.at_once, tight: self.tight };
        match self.lists.try_send(list) {
            Ok(()) => {
                self.sent += 1;
                self.at_once = false;
            }
            // A namer that is gone has panicked, and its join tells.
            Err(TrySendError::Full(list) | TrySendError::Disconnected(list)) => {
                self.waiting = list.frames;
            }
        }
    }

    /// Whether memory is tight: then names are kept for the windows that need them, and no longer.
    pub(super) fn tighten(&mut self, tight: bool) {
        self.tight = tight;
    }

    /// Asks for all that was offered to be named without waiting for more; the number to wait for.
    pub(super) fn hurry(&mut self) -> u64 {
        self.at_once = true;
        let before = self.sent;
        self.offer([]);
        if self.sent > before { self.sent } else { before + 1 }
    }

    /// Sends all that waits, however long that takes.
    pub(super) fn finish(self) {
        let list =
            List { number: self.sent + 1, frames: self.waiting, at_once: true, tight: self.tight };
        let _ = self.lists.send(list);
    }

    /// What was turned away so far.
    pub(super) fn losses(&self) -> &Losses {
        &self.losses
    }
}

impl Naming {
    /// The namer's thread: names lists until the collector hangs up.
    pub(super) fn serve(&self, config: symbolize::Config, lists: Lists) {
        let _over = Over(self);
        let mut symbolizer = Symbolizer::new(config);
        let mut waiting = Vec::new();
        let mut since = Instant::now();
        for list in lists.0 {
            symbolizer.tighten(list.tight);
            {
                let mut state = self.lock();
                state.names.tighten(list.tight);
                waiting.extend(state.names.unknown(list.frames));
            }
            if list.at_once || since.elapsed() >= GATHER {
                self.name(&mut symbolizer, std::mem::take(&mut waiting), list.number);
                since = Instant::now();
            }
        }
        self.name(&mut symbolizer, waiting, u64::MAX);
    }

    /// Names frames, one file after the other: a window that cannot wait for a large one has the names of
    /// those before it.
    fn name(&self, symbolizer: &mut Symbolizer, frames: Vec<Frame>, number: u64) {
        symbolizer.close_idle();
        for frames in by_file(frames) {
            let mut names = Names::default();
            symbolizer.symbolize(&frames, &mut names);
            self.lock().names.add(names);
        }
        let mut state = self.lock();
        state.done = number;
        state.losses = symbolizer.losses();
        let problems = symbolizer.take_problems();
        let room = MAX_PROBLEMS.saturating_sub(state.problems.len());
        let known = |line: &String| state.problems.contains(line);
        let new: Vec<_> = problems.into_iter().filter(|line| !known(line)).take(room).collect();
        state.problems.extend(new);
        self.named.notify_all();
    }

    /// The names of a window's frames, once list `number` is named; without those that take longer than
    /// `patience`.
    pub(super) fn of_window(
        &self,
        frames: impl Iterator<Item = FrameKey>,
        number: u64,
        patience: Duration,
    ) -> Named {
        let unnamed = |state: &mut State| state.done < number && !state.over;
        let waited = self.named.wait_timeout_while(self.lock(), patience, unnamed);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let named = Named {
            names: state.names.of(frames),
            late: state.done < number,
            problems: std::mem::take(&mut state.problems),
            losses: state.losses.clone(),
        };
        state.names.end_window();
        named
    }

    /// All names, when nothing more is named.
    pub(super) fn into_all(self) -> Named {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let State { names, losses, problems, .. } = state;
        Named { names: names.into_all(), late: false, problems, losses }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Frames by the file that their names are in, the kernel's first.
fn by_file(frames: Vec<Frame>) -> impl Iterator<Item = Vec<Frame>> {
    let mut files: BTreeMap<(u8, u32), Vec<Frame>> = BTreeMap::new();
    for frame in frames {
        let file = match &frame {
            Frame::Native { binary, .. } => (1, binary.id),
            Frame::Jit { map, .. } => (2, map.id),
            _ => (0, 0),
        };
        files.entry(file).or_default().push(frame);
    }
    files.into_values()
}

/// Says that nothing more is named, also where the namer panicked.
struct Over<'a>(&'a Naming);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.named.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(addresses: std::ops::Range<u64>) -> Vec<Frame> {
        addresses.map(|address| Frame::Kernel { address }).collect()
    }

    fn keys(addresses: std::ops::Range<u64>) -> impl Iterator<Item = FrameKey> {
        addresses.map(|address| Frame::Kernel { address }.key())
    }

    #[test]
    fn a_window_has_its_names_when_all_of_its_frames_were_looked_at() {
        let naming = Naming::default();
        let (mut offers, lists) = offers();
        std::thread::scope(|scope| {
            scope.spawn(|| naming.serve(symbolize::Config::default(), lists));
            offers.offer(frames(1..10));
            let number = offers.hurry();
            let named = naming.of_window(keys(1..20), number, Duration::from_secs(60));
            assert!(!named.late);
            assert_eq!(named.names.len(), 9);
            offers.finish();
        });
        assert_eq!(naming.into_all().names.len(), 9);
    }

    #[test]
    fn nobody_waits_for_a_namer_longer_than_wanted_nor_for_one_that_is_gone() {
        let naming = Naming::default();
        let (mut offers, lists) = offers();
        offers.offer(frames(1..3));
        let number = offers.hurry();
        assert!(naming.of_window(keys(1..3), number, Duration::from_millis(1)).late);
        drop(lists);
        drop(Over(&naming));
        assert!(naming.of_window(keys(1..3), number, Duration::from_secs(3600)).late);
    }

    #[test]
    fn what_has_no_room_waits_within_bounds() {
        let (mut offers, lists) = offers();
        for address in 0..QUEUE as u64 + 5 {
            offers.offer(frames(address..address + 1));
        }
        assert_eq!((offers.sent, offers.waiting.len()), (QUEUE as u64, 5));
        let number = offers.hurry();
        assert_eq!(number, QUEUE as u64 + 1);
        assert_eq!(lists.0.try_iter().count(), QUEUE);
        offers.offer([]);
        let list = lists.0.try_recv().unwrap();
        assert_eq!((list.number, list.frames.len(), list.at_once), (number, 5, true));
    }
}
