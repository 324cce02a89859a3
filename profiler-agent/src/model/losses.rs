//! Every count of what was turned away, under one list of names: the same in metrics, in the
//! comments of a profile and in the last lines of a recording.

use std::collections::BTreeMap;

/// Counts by stable name. Only what is not zero is kept, so that two recordings compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses(BTreeMap<&'static str, u64>);

impl Losses {
    /// Adds to one count.
    pub fn add(&mut self, name: &'static str, n: u64) {
        if n > 0 {
            let count = self.0.entry(name).or_default();
            *count = count.saturating_add(n);
        }
    }

    /// Adds all counts of another.
    pub fn merge(&mut self, other: &Self) {
        for (name, n) in &other.0 {
            self.add(name, *n);
        }
    }

    /// What came since these counts, which are earlier ones of the same stages.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut since = Self::default();
        self.iter().for_each(|(name, n)| since.add(name, n.saturating_sub(before.get(name))));
        since
    }

    /// One count.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Sum of the counts whose name says that something was lost: what a title calls "lost".
    pub fn lost(&self) -> u64 {
        let lost = self.0.iter().filter(|(name, _)| super::conventions::comment::is_loss(name));
        lost.map(|(_, n)| *n).fold(0, u64::saturating_add)
    }

    /// Names and counts, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().map(|(name, n)| (*name, *n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_since() {
        let losses = |counts: &[(&'static str, u64)]| {
            let mut losses = Losses::default();
            counts.iter().for_each(|(name, n)| losses.add(name, *n));
            losses
        };
        let (before, now) =
            (losses(&[("a", 1), ("b", 2)]), losses(&[("a", 1), ("b", 5), ("c", 1)]));
        assert_eq!(now.since(&before), losses(&[("b", 3), ("c", 1)]));
        assert_eq!(before.since(&now), Losses::default());
    }
}
