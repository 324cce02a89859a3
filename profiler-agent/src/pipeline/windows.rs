//! When windows end, and when they began: cut by the clock of events, named by that of the calendar.
//!
//! A window ends where a multiple of its length does in Unix time, so that windows of several hosts
//! compare. What lies between two ends is measured by CLOCK_MONOTONIC, which nobody sets; the two
//! clocks are compared anew at each end, so a calendar that is set right moves the next end, not the
//! length of what was recorded.

use std::time::Duration;

/// A second request for an end, sooner than this after the one before, waits: windows without number
/// would cost more than what they show.
const SHORTEST_NS: u64 = 100_000_000;

/// After so many windows in a row that nobody cut in time, the next end is the newest that is due.
const MAX_BEHIND: u64 = 60;

/// Both clocks at one moment, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// CLOCK_MONOTONIC.
    pub monotonic_ns: u64,
    /// Since the Unix epoch.
    pub unix_ns: u64,
}

/// A window that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// When it began (CLOCK_MONOTONIC, ns).
    pub began_ns: u64,
    /// When it ended (CLOCK_MONOTONIC, ns).
    pub ended_ns: u64,
    /// When it began (Unix time, ns). No two windows begin alike.
    pub start_unix_ns: u64,
}

/// The windows of one recording, one after the other.
#[derive(Debug)]
pub struct Windows {
    /// `None`: one window, as long as the recording.
    length_ns: Option<u64>,
    began_ns: u64,
    start_unix_ns: u64,
    regular_end_ns: u64,
    wanted_end_ns: u64,
    /// How often the calendar was set back.
    set_back: u64,
}

impl Clocks {
    /// The calendar at a moment of the other clock, if nobody set it in between.
    pub fn unix_at(self, monotonic_ns: u64) -> u64 {
        let ago = self.monotonic_ns.abs_diff(monotonic_ns);
        if monotonic_ns <= self.monotonic_ns {
            self.unix_ns.saturating_sub(ago)
        } else {
            self.unix_ns.saturating_add(ago)
        }
    }
}

impl Span {
    /// How long it is.
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.ended_ns.saturating_sub(self.began_ns))
    }
}

impl Windows {
    /// One window without a length, from now on.
    pub fn one(now: Clocks) -> Self {
        Self {
            length_ns: None,
            began_ns: now.monotonic_ns,
            start_unix_ns: now.unix_ns,
            regular_end_ns: u64::MAX,
            wanted_end_ns: u64::MAX,
            set_back: 0,
        }
    }

    /// Windows of this length, the first from now on to an end that suits.
    pub fn of(length: Duration, now: Clocks) -> Self {
        let length_ns = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX).max(SHORTEST_NS);
        let mut windows = Self { length_ns: Some(length_ns), ..Self::one(now) };
        windows.start_unix_ns = distinct(now.unix_ns, 0);
        windows.regular_end_ns = next_end(length_ns, now, now.monotonic_ns);
        windows
    }

    /// When this window ends (CLOCK_MONOTONIC, ns); never, where it has no length.
    pub fn end_ns(&self) -> u64 {
        self.regular_end_ns.min(self.wanted_end_ns)
    }

    /// When this window began (Unix time, ns).
    pub fn start_unix_ns(&self) -> u64 {
        self.start_unix_ns
    }

    /// Asks for an end at this moment, which must not be past; it may be a little later.
    pub fn end_soon(&mut self, at_ns: u64) {
        let earliest = self.began_ns.saturating_add(SHORTEST_NS);
        self.wanted_end_ns = self.wanted_end_ns.min(at_ns.max(earliest));
    }

    /// How many lengths the end of this window is past.
    pub fn behind(&self, now_ns: u64) -> u64 {
        let length_ns = self.length_ns.unwrap_or(u64::MAX);
        now_ns.saturating_sub(self.end_ns()) / length_ns
    }

    /// Ends the window at [`Self::end_ns`], and begins the next there. `now` is not earlier.
    pub fn end(&mut self, now: Clocks) -> Span {
        let ended_ns = self.end_ns();
        self.end_at(ended_ns, now)
    }

    /// Ends the window at this moment, and begins the next there.
    pub fn end_at(&mut self, ended_ns: u64, now: Clocks) -> Span {
        let (began_ns, start_unix_ns) = (self.began_ns, self.start_unix_ns);
        let span = Span { began_ns, ended_ns, start_unix_ns };
        let unix_ns = now.unix_at(ended_ns);
        let expected = start_unix_ns.saturating_add(ended_ns.saturating_sub(began_ns));
        self.note_jump(expected, unix_ns);
        if unix_ns / 1000 <= start_unix_ns / 1000 {
            self.set_back += 1;
        }
        self.began_ns = ended_ns;
        self.start_unix_ns = distinct(unix_ns, self.set_back);
        if ended_ns >= self.wanted_end_ns {
            self.wanted_end_ns = u64::MAX;
        }
        if let Some(length_ns) = self.length_ns
            && ended_ns >= self.regular_end_ns
        {
            self.regular_end_ns = next_end(length_ns, now, ended_ns);
            let behind = now.monotonic_ns.saturating_sub(self.regular_end_ns) / length_ns;
            if behind > MAX_BEHIND {
                self.regular_end_ns = self.regular_end_ns.saturating_add(behind * length_ns);
            }
        }
        span
    }

    fn note_jump(&self, expected_unix_ns: u64, unix_ns: u64) {
        let Some(length_ns) = self.length_ns else { return };
        let by = Duration::from_nanos(expected_unix_ns.abs_diff(unix_ns));
        if by >= Duration::from_nanos(length_ns / 2) {
            let way = if unix_ns > expected_unix_ns { "forward" } else { "back" };
            tracing::warn!(
                "the clock of the host went {way} by {by:?}: it was set, or the host was suspended"
            );
        }
    }
}

/// The end of a window that begins at `began_ns`: where a multiple of its length ends in Unix time,
/// between a half and one and a half lengths later.
fn next_end(length_ns: u64, now: Clocks, began_ns: u64) -> u64 {
    let unix_ns = now.unix_at(began_ns);
    let whole = unix_ns.saturating_add(length_ns / 2) / length_ns;
    let end_unix_ns = whole.saturating_add(1).saturating_mul(length_ns);
    began_ns.saturating_add(end_unix_ns.saturating_sub(unix_ns))
}

/// A time that no window before a set-back of the calendar has: below a microsecond, it says how often
/// that happened.
fn distinct(unix_ns: u64, set_back: u64) -> u64 {
    unix_ns / 1000 * 1000 + set_back % 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    const LENGTH: Duration = Duration::from_secs(10);

    /// A host whose calendar is so much later than the clock of events.
    fn at(monotonic_s: u64, offset_s: u64) -> Clocks {
        Clocks { monotonic_ns: monotonic_s * S, unix_ns: (monotonic_s + offset_s) * S }
    }

    #[test]
    fn windows_end_at_multiples_of_their_length() {
        let mut windows = Windows::of(LENGTH, at(3, 1_000));
        let ends: Vec<_> = (0..4)
            .map(|_| {
                let now = Clocks { unix_ns: 0, ..at(0, 0) };
                assert_eq!(now.unix_at(0), 0);
                let end = windows.end_ns();
                let span = windows.end(at(end / S, 1_000));
                (span.start_unix_ns / S, span.duration().as_secs())
            })
            .collect();
        assert_eq!(ends, [(1_003, 7), (1_010, 10), (1_020, 10), (1_030, 10)]);
        // Where little of a length is left, the first window takes the next as well.
        assert_eq!(Windows::of(LENGTH, at(8, 1_000)).end_ns(), 20 * S);
    }

    #[test]
    fn an_end_that_is_asked_for_comes_between() {
        let mut windows = Windows::of(LENGTH, at(10, 0));
        windows.end_soon(12 * S);
        windows.end_soon(13 * S);
        assert_eq!(windows.end_ns(), 12 * S);
        assert_eq!(windows.end(at(12, 0)).ended_ns, 12 * S);
        assert_eq!(windows.end_ns(), 20 * S);
        windows.end_soon(12 * S);
        assert_eq!(windows.end_ns(), 12 * S + SHORTEST_NS, "not without number");
        // One that is due with the regular one is that.
        windows.end_soon(20 * S);
        windows.end(at(13, 0));
        windows.end_soon(20 * S);
        windows.end(at(20, 0));
        assert_eq!(windows.end_ns(), 30 * S);
        let mut one = Windows::one(at(10, 0));
        assert_eq!((one.end_ns(), one.behind(u64::MAX)), (u64::MAX, 0));
        assert_eq!(one.end_at(11 * S, at(12, 0)).duration(), Duration::from_secs(1));
    }

    #[test]
    fn a_calendar_that_is_set_moves_ends_and_not_lengths() {
        let mut windows = Windows::of(LENGTH, at(10, 0));
        // Set forward by 103 s, or suspended for as long.
        let span = windows.end(at(20, 103));
        assert_eq!((span.start_unix_ns, span.duration()), (10 * S, LENGTH));
        assert_eq!(windows.end_ns(), 27 * S);
        let span = windows.end(at(27, 103));
        assert_eq!((span.start_unix_ns, span.duration().as_secs()), (123 * S, 7));
        // Set back to where windows were before: no two begin alike.
        let mut starts = vec![windows.start_unix_ns];
        for _ in 0..20 {
            let end = windows.end_ns();
            windows.end(at(end / S, 0));
            starts.push(windows.start_unix_ns);
        }
        let count = starts.len();
        starts.extend([10 * S, 123 * S]);
        starts.sort_unstable();
        starts.dedup();
        assert_eq!(starts.len(), count + 2);
        assert!(starts.contains(&(50 * S + 1)), "{starts:?}");
    }

    #[test]
    fn an_agent_that_was_stopped_catches_up_within_bounds() {
        let mut windows = Windows::of(LENGTH, at(10, 0));
        assert_eq!(windows.behind(80 * S), 6);
        for expected in [20, 30, 40] {
            assert_eq!(windows.end(at(85, 0)).ended_ns, expected * S);
        }
        let mut windows = Windows::of(LENGTH, at(10, 0));
        windows.end(at(100_005, 0));
        assert_eq!(windows.end_ns(), 100_000 * S);
    }
}
