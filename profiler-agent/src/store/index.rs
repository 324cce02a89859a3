//! What the store knows by heart: every window, where it is, and which sinks wait for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::cursors::{Cursor, Mark, Outcome};
use super::status::{Counters, SinkStatus, Status};
use super::{MAX_WAITING, MAX_WAITING_BYTES};
use crate::model::finished::Finished;
use crate::model::query::Range;

/// One window of the store, without its profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its number: grows with every window, and is never given twice.
    pub id: u64,
    /// When it began (Unix time, ns).
    pub start_unix_ns: u64,
    /// How long it is, ns.
    pub duration_ns: u64,
    /// Bytes of its packed profile.
    pub bytes: u64,
}

impl Info {
    /// When it ended (Unix time, ns).
    pub fn end_unix_ns(&self) -> u64 {
        self.start_unix_ns.saturating_add(self.duration_ns)
    }

    /// Whether any of it lies in a stretch of time.
    pub fn is_in(&self, range: Range) -> bool {
        range.meets(self.start_unix_ns, self.duration_ns)
    }
}

/// Where a window is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// In the segment of this number.
    Segment(u64),
    /// In memory; `tried` once the disk has failed it, and sinks may have it all the same.
    Memory { window: Finished, tried: bool },
}

#[derive(Debug)]
struct Entry {
    info: Info,
    place: Place,
}

/// One sink.
#[derive(Debug, Default)]
struct Sink {
    first: u64,
    pending: BTreeSet<u64>,
    delivered: u64,
    refused: u64,
    evicted_unshipped: u64,
}

/// The index.
#[derive(Debug, Default)]
pub(super) struct Index {
    windows: BTreeMap<u64, Entry>,
    /// Windows in memory, oldest first.
    waiting: VecDeque<u64>,
    waiting_bytes: u64,
    sinks: BTreeMap<String, Sink>,
    /// Marks that the cursors do not have yet.
    unsaved: Vec<Mark>,
    last_id: u64,
    pub(super) counters: Counters,
    pub(super) degraded: Option<String>,
    /// Bytes and number of the segments.
    pub(super) on_disk: (u64, u64),
}

impl Index {
    /// With sinks of which nothing is known yet.
    pub(super) fn new(sinks: &[String]) -> Self {
        let sinks = sinks.iter().map(|name| (name.clone(), Sink::default())).collect();
        Self { sinks, ..Self::default() }
    }

    /// Takes in what is on the disk, after the sinks were set.
    pub(super) fn add_segment(&mut self, segment: u64, infos: &[Info]) {
        for info in infos {
            let place = Place::Segment(segment);
            self.windows.entry(info.id).or_insert(Entry { info: *info, place });
            self.last_id = self.last_id.max(info.id);
        }
    }

    /// Merges what the cursors knew of the sinks; gives where each begins. `known` is `None` where the
    /// cursors were lost: then everything is shipped again, rather than something not at all.
    pub(super) fn add_cursors(
        &mut self,
        known: Option<&BTreeMap<String, Cursor>>,
    ) -> BTreeMap<String, u64> {
        let on_disk = |entry: &Entry| matches!(entry.place, Place::Segment(_));
        let ids: Vec<u64> =
            self.windows.values().filter(|e| on_disk(e)).map(|e| e.info.id).collect();
        let next = ids.last().map_or(0, |id| id.saturating_add(1));
        let new = Cursor { first: next, settled: BTreeSet::new() };
        let all = Cursor::default();
        for (name, sink) in &mut self.sinks {
            let cursor = known.map_or(&all, |known| known.get(name).unwrap_or(&new));
            sink.first = cursor.first;
            let open = |id: &&u64| **id >= cursor.first && !cursor.settled.contains(*id);
            sink.pending.extend(ids.iter().filter(open));
        }
        self.firsts()
    }

    /// Where each sink begins.
    pub(super) fn firsts(&self) -> BTreeMap<String, u64> {
        self.sinks.iter().map(|(name, sink)| (name.clone(), sink.first)).collect()
    }

    /// Changes which sinks there are: a new one begins with the next window.
    pub(super) fn set_sinks(&mut self, names: &[String]) -> BTreeMap<String, u64> {
        let first = self.last_id.saturating_add(1);
        self.sinks.retain(|name, _| names.contains(name));
        for name in names {
            self.sinks.entry(name.clone()).or_insert_with(|| Sink { first, ..Sink::default() });
        }
        self.unsaved.retain(|mark| names.contains(&mark.sink));
        self.firsts()
    }

    /// Takes a window in, which waits for the disk from now on. Numbers are times, so that they need
    /// nothing from the disk; where the clock went back, they go on from the last.
    pub(super) fn add(&mut self, window: Finished) -> u64 {
        let id = window.start_unix_ns.max(self.last_id.saturating_add(1));
        self.last_id = id;
        let bytes = window.profile.len() as u64;
        let (start_unix_ns, duration_ns) = (window.start_unix_ns, window.duration_ns);
        let info = Info { id, start_unix_ns, duration_ns, bytes };
        self.windows.insert(id, Entry { info, place: Place::Memory { window, tried: false } });
        self.waiting.push_back(id);
        self.waiting_bytes = self.waiting_bytes.saturating_add(bytes);
        self.counters.put += 1;
        while self.waiting.len() > 1
            && (self.waiting.len() > MAX_WAITING || self.waiting_bytes > MAX_WAITING_BYTES)
        {
            if let Some(oldest) = self.waiting.front().copied() {
                self.counters.dropped += 1;
                self.remove(oldest);
            }
        }
        id
    }

    /// A window that has no place in the budget.
    pub(super) fn too_large(&mut self, id: u64) {
        self.counters.dropped += 1;
        self.remove(id);
    }

    /// The window that has waited longest for the disk.
    pub(super) fn next_waiting(&self) -> Option<(u64, Finished)> {
        let id = *self.waiting.front()?;
        match &self.windows.get(&id)?.place {
            Place::Memory { window, .. } => Some((id, window.clone())),
            Place::Segment(_) => None,
        }
    }

    /// A window is on the disk.
    pub(super) fn written(&mut self, id: u64, segment: u64) {
        let Some(entry) = self.windows.get_mut(&id) else { return };
        let bytes = entry.info.bytes;
        let first_try = matches!(entry.place, Place::Memory { tried: false, .. });
        entry.place = Place::Segment(segment);
        self.no_longer_waits(id, bytes);
        self.counters.written += 1;
        self.counters.written_bytes += bytes;
        if first_try {
            self.offer(id);
        }
    }

    /// The disk fails: whatever waits is for the sinks all the same.
    pub(super) fn not_written(&mut self) {
        let waiting: Vec<u64> = self.waiting.iter().copied().collect();
        for id in waiting {
            if let Some(Entry { place: Place::Memory { tried, .. }, .. }) =
                self.windows.get_mut(&id)
                && !std::mem::replace(tried, true)
            {
                self.offer(id);
            }
        }
    }

    fn offer(&mut self, id: u64) {
        for sink in self.sinks.values_mut().filter(|sink| id >= sink.first) {
            sink.pending.insert(id);
        }
    }

    fn no_longer_waits(&mut self, id: u64, bytes: u64) {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| *waiting != id);
        if self.waiting.len() < before {
            self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
        }
    }

    fn remove(&mut self, id: u64) {
        let Some(entry) = self.windows.remove(&id) else { return };
        self.no_longer_waits(id, entry.info.bytes);
        let never_offered = matches!(entry.place, Place::Memory { tried: false, .. });
        for sink in self.sinks.values_mut() {
            if sink.pending.remove(&id) || never_offered && id >= sink.first {
                sink.evicted_unshipped += 1;
            }
        }
        self.unsaved.retain(|mark| mark.id != id);
    }

    /// A segment is gone; says how many windows went with it.
    pub(super) fn remove_segment(&mut self, segment: u64) -> u64 {
        let is_in = |entry: &&Entry| matches!(entry.place, Place::Segment(s) if s == segment);
        let gone: Vec<u64> = self.windows.values().filter(is_in).map(|e| e.info.id).collect();
        gone.iter().for_each(|id| self.remove(*id));
        gone.len() as u64
    }

    /// A window that cannot be read is one that nobody needs to ask for again.
    pub(super) fn unreadable(&mut self, id: u64) {
        if self.windows.contains_key(&id) {
            self.counters.unreadable += 1;
            self.remove(id);
        }
    }

    pub(super) fn place(&self, id: u64) -> Option<Place> {
        self.windows.get(&id).map(|entry| entry.place.clone())
    }

    /// The windows of a stretch of time, oldest first.
    pub(super) fn infos(&self, range: Range) -> Vec<Info> {
        let mut infos: Vec<Info> =
            self.windows.values().map(|e| e.info).filter(|info| info.is_in(range)).collect();
        infos.sort_by_key(|info| (info.start_unix_ns, info.id));
        infos
    }

    /// The newest windows that a sink has not settled, newest first.
    pub(super) fn pending(&self, sink: &str, limit: usize) -> Vec<Info> {
        let Some(sink) = self.sinks.get(sink) else { return Vec::new() };
        let newest = sink.pending.iter().rev();
        newest.filter_map(|id| self.windows.get(id)).map(|e| e.info).take(limit).collect()
    }

    /// A sink is done with a window. Says whether that is news.
    pub(super) fn settle(&mut self, sink: &str, id: u64, outcome: Outcome) -> bool {
        let Some(state) = self.sinks.get_mut(sink) else { return false };
        if !state.pending.remove(&id) {
            return false;
        }
        match outcome {
            Outcome::Delivered => state.delivered += 1,
            Outcome::Refused => state.refused += 1,
        }
        self.unsaved.push(Mark { sink: sink.to_owned(), id, outcome });
        true
    }

    /// Marks to save now: a mark of a window that is not on the disk would outlive it.
    pub(super) fn take_unsaved(&mut self) -> Vec<Mark> {
        let windows = &self.windows;
        let on_disk = |mark: &mut Mark| {
            windows.get(&mark.id).is_some_and(|e| matches!(e.place, Place::Segment(_)))
        };
        self.unsaved.extract_if(.., on_disk).collect()
    }

    /// Marks that could not be saved.
    pub(super) fn give_back(&mut self, marks: Vec<Mark>) {
        let windows = &self.windows;
        self.unsaved.extend(marks.into_iter().filter(|mark| windows.contains_key(&mark.id)));
    }

    /// The number of the oldest window.
    pub(super) fn oldest(&self) -> u64 {
        self.windows.keys().next().copied().unwrap_or(self.last_id)
    }

    /// How a sink does; one that is not known has nothing to do.
    pub(super) fn sink(&self, name: &str) -> SinkStatus {
        let Some(sink) = self.sinks.get(name) else { return SinkStatus::default() };
        let pending = || sink.pending.iter().filter_map(|id| self.windows.get(id)).map(|e| e.info);
        let oldest = pending().min_by_key(|info| info.start_unix_ns);
        SinkStatus {
            pending: sink.pending.len() as u64,
            oldest_pending_unix_ns: oldest.map(|info| info.start_unix_ns),
            oldest_pending_end_unix_ns: oldest.map(|info| info.end_unix_ns()),
            delivered: sink.delivered,
            refused: sink.refused,
            evicted_unshipped: sink.evicted_unshipped,
        }
    }

    pub(super) fn status(&self, max_bytes: u64) -> Status {
        let starts = |ids: &mut dyn Iterator<Item = &u64>| {
            ids.filter_map(|id| self.windows.get(id)).map(|e| e.info.start_unix_ns).min()
        };
        let sinks = self.sinks.keys().map(|name| (name.clone(), self.sink(name)));
        Status {
            windows: self.windows.len() as u64,
            bytes: self.on_disk.0,
            max_bytes,
            segments: self.on_disk.1,
            oldest_unix_ns: starts(&mut self.windows.keys()),
            newest_unix_ns: self.windows.values().map(|e| e.info.end_unix_ns()).max(),
            waiting: self.waiting.len() as u64,
            waiting_bytes: self.waiting_bytes,
            degraded: self.degraded.clone(),
            counters: self.counters,
            sinks: sinks.collect(),
        }
    }
}
