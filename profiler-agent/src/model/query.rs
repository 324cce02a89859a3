//! What can be asked of profiles: which samples, and of which time.

use serde::{Deserialize, Serialize};

use super::choice::EventChoice;

/// Which samples. Every part that is given must fit; without any, all do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Of this process.
    pub pid: Option<u32>,
    /// Of this service, by its whole name.
    pub service: Option<String>,
    /// With these labels of [`super::conventions::label`] (name and whole text or number).
    pub labels: Vec<(String, String)>,
    /// One kind of time, or both.
    pub event: EventChoice,
}

/// A stretch of time, the end not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Range {
    /// Where it begins (Unix time, ns).
    pub from_unix_ns: u64,
    /// Where it ends (Unix time, ns).
    pub to_unix_ns: u64,
}

impl Range {
    /// All time.
    pub const ALL: Self = Self { from_unix_ns: 0, to_unix_ns: u64::MAX };

    /// How long it is, ns; 0 where it ends before it begins.
    pub fn length_ns(self) -> u64 {
        self.to_unix_ns.saturating_sub(self.from_unix_ns)
    }

    /// Whether a window of this beginning and length has a part in it.
    pub fn meets(self, start_unix_ns: u64, duration_ns: u64) -> bool {
        let end = start_unix_ns.saturating_add(duration_ns);
        start_unix_ns < self.to_unix_ns && end > self.from_unix_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_that_only_touches_is_not_in_it() {
        let range = Range { from_unix_ns: 100, to_unix_ns: 200 };
        assert_eq!(range.length_ns(), 100);
        for (start, duration, meets) in
            [(90, 10, false), (90, 11, true), (199, 1, true), (200, 5, false), (50, 500, true)]
        {
            assert_eq!(range.meets(start, duration), meets, "{start} {duration}");
        }
    }
}
