//! The end of a recording: one moment, although its sources are shut one after the other.

use profiler_common::thread::ThreadEntry;

use crate::model::event::Event;
use crate::model::losses::Losses;

/// What is left when a recording ends.
#[derive(Debug)]
pub struct Ending {
    /// The last events, in the order of time, none later than `stopped_at_ns`.
    pub events: Vec<Event>,
    /// When the recording ended (CLOCK_MONOTONIC, ns).
    pub stopped_at_ns: u64,
    /// Threads that left a CPU at least once, by thread id; `blocked_at_ns` is not 0 where it has not
    /// come back.
    pub threads: Vec<(u32, ThreadEntry)>,
    /// All that was turned away.
    pub losses: Losses,
}

/// Ends the recording at one moment: what was seen later did not happen, a thread that came back later
/// came back at the end.
pub(super) fn cut_off(
    stopped_at_ns: u64,
    events: &mut Vec<Event>,
    threads: &mut [(u32, ThreadEntry)],
) {
    for event in events.iter_mut() {
        if let Event::Resume(resume) = event {
            resume.resumed_at_ns = resume.resumed_at_ns.min(stopped_at_ns);
        }
    }
    events.retain(|e| match e {
        Event::Resume(resume) => resume.blocked_at_ns <= stopped_at_ns,
        other => other.time_ns() <= stopped_at_ns,
    });
    for (_, entry) in threads {
        if entry.blocked_at_ns > stopped_at_ns {
            entry.blocked_at_ns = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::thread::{Skipped, THREAD_STATES};

    use super::*;
    use crate::model::event::{Exit, Resume};

    #[test]
    fn a_recording_ends_at_one_moment() {
        let resume = |blocked_at_ns, resumed_at_ns| {
            let skipped = [Skipped::default(); THREAD_STATES];
            Event::Resume(Resume { pid: 1, tid: 1, blocked_at_ns, resumed_at_ns, skipped })
        };
        let exit = |time_ns| Event::Exit(Exit { time_ns, pid: 1, tid: 1 });
        let mut events =
            vec![exit(99), resume(50, 100), resume(60, 130), resume(120, 130), exit(101)];
        let blocked = |blocked_at_ns| (1, ThreadEntry { blocked_at_ns, ..ThreadEntry::default() });
        let mut threads = [blocked(90), blocked(110)];
        cut_off(100, &mut events, &mut threads);
        let ends: Vec<u64> = events.iter().map(Event::time_ns).collect();
        assert_eq!(ends, [99, 100, 100]);
        assert_eq!(threads.map(|(_, t)| t.blocked_at_ns), [90, 0]);
    }
}
