//! What the service manager is told (`sd_notify(3)`): when the agent is ready, when it reads its
//! configuration again, when it ends, and that it is alive.
//!
//! Alive is only an agent that makes progress: the collector comes by, and windows reach the store. One
//! that hangs is not, and is started anew.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// A window may be so many lengths late, and this much more, before the store counts as stuck.
const LATE_WINDOWS: u32 = 3;
const LATE_MORE: Duration = Duration::from_secs(30);

/// The way to the service manager, if there is one.
#[derive(Debug)]
pub(super) struct Notifier {
    /// So often it wants to hear from a living agent.
    every: Option<Duration>,
    progress: Progress,
}

impl Notifier {
    /// As the environment says. `length` is that of a window.
    pub(super) fn new(length: Duration) -> Self {
        let mut micros = 0;
        let is_wanted = sd_notify::watchdog_enabled(false, &mut micros);
        let every = is_wanted.then(|| Duration::from_micros(micros));
        Self { every, progress: Progress::new(length, Instant::now()) }
    }

    /// So often [`Self::beat`] is to be called: twice as often as is wanted.
    pub(super) fn interval(&self) -> Duration {
        const MOST: Duration = Duration::from_secs(3600);
        self.every.map_or(MOST, |every| (every / 2).clamp(Duration::from_millis(10), MOST))
    }

    /// The agent records.
    pub(super) fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// The agent reads its configuration again; [`Self::ready`] follows, whatever comes of it.
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(_) => tell(&[NotifyState::Reloading]),
        }
    }

    /// The agent ends.
    pub(super) fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// The agent lives, if the collector has come by and windows have reached the store.
    pub(super) fn beat(&mut self, rounds: u64, windows: u64) {
        if self.every.is_none() {
            return;
        }
        if self.progress.lives(rounds, windows, Instant::now()) {
            tell(&[NotifyState::Watchdog]);
        } else {
            tracing::error!(
                rounds,
                windows,
                "no progress: the service manager is not told to wait"
            );
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        tracing::warn!("the service manager could not be told {states:?}: {error}");
    }
}

/// What was seen of the agent's progress.
#[derive(Debug)]
struct Progress {
    patience: Duration,
    rounds: u64,
    windows: u64,
    window_at: Instant,
}

impl Progress {
    fn new(length: Duration, now: Instant) -> Self {
        let patience = length.saturating_mul(LATE_WINDOWS).saturating_add(LATE_MORE);
        Self { patience, rounds: 0, windows: 0, window_at: now }
    }

    /// Whether the collector came by since this was last asked, and the last window is not too long ago.
    fn lives(&mut self, rounds: u64, windows: u64, now: Instant) -> bool {
        if windows != self.windows {
            (self.windows, self.window_at) = (windows, now);
        }
        let came_by = rounds != self.rounds;
        self.rounds = rounds;
        came_by && now.duration_since(self.window_at) <= self.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alive_is_who_makes_progress() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut progress = Progress::new(Duration::from_secs(10), start);
        assert!(!progress.lives(0, 0, at(1)), "the collector has not begun");
        assert!(progress.lives(1, 0, at(2)));
        assert!(!progress.lives(1, 0, at(3)), "the collector hangs");
        assert!(progress.lives(2, 0, at(60)));
        assert!(!progress.lives(3, 0, at(61)), "no window came");
        assert!(progress.lives(4, 1, at(62)));
        assert!(progress.lives(5, 1, at(122)));
        assert!(!progress.lives(6, 1, at(123)), "the store hangs");
    }
}
