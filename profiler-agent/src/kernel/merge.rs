//! One order of time for two sources. The ring and the side-band are drained one after the other, and
//! the buffers of CPUs know nothing of each other: what is young waits for the next round, what is
//! older than the cutoff can have no predecessor any more.

use crate::model::event::{Event, ROOM};

/// Events that wait for their turn.
#[derive(Default)]
pub struct Merge {
    pending: Vec<Event>,
    released_until_ns: u64,
    late: u64,
}

impl Merge {
    /// Takes an event, in any order.
    pub fn push(&mut self, event: Event) {
        // Its producer was held up between taking the time and handing over the record.
        self.late += u64::from(event.time_ns() < self.released_until_ns);
        self.pending.push(event);
    }

    /// Appends every event up to and including the cutoff, oldest first. Of two at the same moment, the
    /// one that changes a process comes before the one that happens in it.
    pub fn release(&mut self, cutoff_ns: u64, out: &mut Vec<Event>) {
        // Nearly sorted already, which this sort exploits.
        self.pending.sort_by_key(|e| (e.time_ns(), is_sample(e)));
        let ready = self.pending.partition_point(|e| e.time_ns() <= cutoff_ns);
        out.extend(self.pending.drain(..ready));
        self.pending.shrink_to(ROOM);
        self.released_until_ns = self.released_until_ns.max(cutoff_ns);
    }

    /// Appends all that is left.
    pub fn release_all(&mut self, out: &mut Vec<Event>) {
        self.release(u64::MAX, out);
    }

    /// The newest cutoff.
    pub fn released_until_ns(&self) -> u64 {
        self.released_until_ns
    }

    /// Events that came after a younger one had been released.
    pub fn late(&self) -> u64 {
        self.late
    }
}

fn is_sample(event: &Event) -> bool {
    matches!(event, Event::OnCpu(_) | Event::Block(_) | Event::Resume(_))
}

#[cfg(test)]
mod tests {
    use profiler_common::thread::{Skipped, THREAD_STATES};

    use super::*;
    use crate::model::event::{Exit, Resume};

    fn exit(time_ns: u64) -> Event {
        Event::Exit(Exit { time_ns, pid: 1, tid: 1 })
    }

    fn resume(resumed_at_ns: u64) -> Event {
        let skipped = [Skipped::default(); THREAD_STATES];
        Event::Resume(Resume { pid: 1, tid: 1, blocked_at_ns: 0, resumed_at_ns, skipped })
    }

    fn times(events: &[Event]) -> Vec<u64> {
        events.iter().map(Event::time_ns).collect()
    }

    #[test]
    fn any_order_in_gives_time_order_out() {
        // A permutation of 0..101 by a generator of that group, from both sources by turns.
        let mut merge = Merge::default();
        for i in 0..101 {
            let time = i * 37 % 101;
            merge.push(if i % 2 == 0 { exit(time) } else { resume(time) });
        }
        let mut out = Vec::new();
        merge.release(49, &mut out);
        assert_eq!(times(&out), (0..=49).collect::<Vec<_>>());
        merge.release_all(&mut out);
        assert_eq!(times(&out), (0..101).collect::<Vec<_>>());
        assert_eq!(merge.late(), 0);
    }

    #[test]
    fn young_events_wait_and_meet_their_predecessors() {
        let (mut merge, mut out) = (Merge::default(), Vec::new());
        merge.push(exit(10));
        merge.push(exit(30));
        merge.release(20, &mut out);
        assert_eq!(times(&out), [10]);
        merge.push(resume(25));
        merge.release(40, &mut out);
        assert_eq!(times(&out), [10, 25, 30]);
    }

    #[test]
    fn at_the_same_moment_a_process_changes_first() {
        let (mut merge, mut out) = (Merge::default(), Vec::new());
        merge.push(resume(5));
        merge.push(exit(5));
        merge.release_all(&mut out);
        assert!(matches!(out[..], [Event::Exit(_), Event::Resume(_)]));
    }

    #[test]
    fn what_comes_too_late_is_passed_on_and_counted() {
        let (mut merge, mut out) = (Merge::default(), Vec::new());
        merge.release(100, &mut out);
        merge.push(exit(50));
        merge.release(200, &mut out);
        assert_eq!((times(&out), merge.late()), (vec![50], 1));
    }
}
