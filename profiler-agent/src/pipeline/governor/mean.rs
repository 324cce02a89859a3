//! A part of the host's time, as its mean over the last while.

use std::collections::VecDeque;
use std::time::Duration;

/// Over how long a mean is taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// What is of less says nothing yet.
    pub(super) least: Duration,
    /// What is older is left out, as far as that leaves enough.
    pub(super) most: Duration,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Mean {
    span: Span,
    parts: VecDeque<(f64, Duration)>,
    /// So long nothing is looked at.
    resting: Duration,
    /// The mean before the rest.
    before: f64,
}

impl Mean {
    /// Begins after a rest.
    pub(super) fn new(span: Span, resting: Duration) -> Self {
        Self { span, parts: VecDeque::new(), resting, before: 0.0 }
    }

    /// It was this part for so long.
    pub(super) fn add(&mut self, part: f64, elapsed: Duration) {
        if !self.resting.is_zero() {
            self.resting = self.resting.saturating_sub(elapsed);
            return;
        }
        self.parts.push_back((part, elapsed));
        // Readings are never of a second sharp: what is left must not be less than what is needed.
        while let Some((_, oldest)) = self.parts.front()
            && self.length() > self.span.most
            && self.length() - *oldest >= self.span.least
        {
            self.parts.pop_front();
        }
    }

    /// Whether it is of long enough to judge by.
    pub(super) fn is_known(&self) -> bool {
        self.length() >= self.span.least
    }

    /// The mean; as long as there is none, what it was before.
    pub(super) fn value(&self) -> f64 {
        let seconds = self.length().as_secs_f64();
        if seconds <= 0.0 {
            return self.before;
        }
        self.parts.iter().map(|(part, elapsed)| part * elapsed.as_secs_f64()).sum::<f64>() / seconds
    }

    /// Forgets all, and begins after a rest. One that is longer goes on.
    pub(super) fn rest(&mut self, resting: Duration) {
        self.before = self.value();
        self.parts.clear();
        self.resting = self.resting.max(resting);
    }

    fn length(&self) -> Duration {
        self.parts.iter().map(|(_, elapsed)| *elapsed).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn it_is_of_the_last_while_and_of_nothing_before_a_rest() {
        let mut mean = Mean::new(Span { least: S * 2, most: S * 3 }, S * 2);
        [0.9, 0.9, 0.1].into_iter().for_each(|part| mean.add(part, S));
        assert_eq!((mean.value(), mean.is_known()), (0.1, false));
        [0.2, 0.3, 0.4].into_iter().for_each(|part| mean.add(part, S));
        assert!((mean.value() - 0.3).abs() < 1e-9 && mean.is_known());
        mean.rest(S);
        assert!((mean.value() - 0.3).abs() < 1e-9 && !mean.is_known());
        [0.9, 0.5].into_iter().for_each(|part| mean.add(part, S));
        assert!((mean.value() - 0.5).abs() < 1e-9);
    }

    #[test]
    fn once_it_is_known_it_stays_known_whatever_the_length_of_readings() {
        for millis in [400, 999, 1_000, 1_070, 1_900, 3_100] {
            let mut mean = Mean::new(Span { least: S * 18, most: S * 20 }, Duration::ZERO);
            let elapsed = Duration::from_millis(millis);
            let readings = (S * 18).as_millis().div_ceil(elapsed.as_millis());
            (1..readings).for_each(|_| mean.add(0.5, elapsed));
            assert!(!mean.is_known(), "{millis}");
            for _ in 0..100 {
                mean.add(0.5, elapsed);
                let most = (S * 20).max(S * 18 + elapsed);
                assert!(mean.is_known() && mean.length() <= most, "{millis}");
            }
        }
    }

    #[test]
    fn a_long_reading_counts_for_its_length() {
        let mut mean = Mean::new(Span { least: S, most: S * 10 }, Duration::ZERO);
        mean.add(0.1, S * 3);
        mean.add(0.5, S);
        assert!((mean.value() - 0.2).abs() < 1e-9);
    }
}
