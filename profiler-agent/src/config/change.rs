//! What differs between two settings, and whether that can change while the agent runs.

use std::collections::BTreeSet;

use super::keys::{self, Change, Found};
use super::settings::Settings;

/// Keys that differ, all of which can change while the agent runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Their paths, sorted.
    pub keys: Vec<String>,
}

/// Keys that differ and need a restart: nothing of a reload is done then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} cannot change without a restart, so nothing was changed", keys.join(", "))]
pub struct RestartNeeded {
    /// Their paths, sorted.
    pub keys: Vec<String>,
}

impl Changes {
    /// Whether something in a section, or the key itself, differs.
    pub fn touch(&self, section: &str) -> bool {
        let inside = |key: &String| {
            key.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.keys.iter().any(inside)
    }
}

impl Settings {
    /// What a reload of `new` would change.
    ///
    /// # Errors
    /// Where a key differs that only a restart can change.
    pub fn difference(&self, new: &Self) -> Result<Changes, RestartNeeded> {
        let paths: BTreeSet<&String> = self.by_path.keys().chain(new.by_path.keys()).collect();
        let differs = |path: &&&String| self.by_path.get(**path) != new.by_path.get(**path);
        let keys: Vec<String> = paths.iter().filter(differs).map(|path| (*path).clone()).collect();
        let fixed: Vec<String> = keys.iter().filter(|path| needs_restart(path)).cloned().collect();
        if fixed.is_empty() { Ok(Changes { keys }) } else { Err(RestartNeeded { keys: fixed }) }
    }
}

fn needs_restart(path: &str) -> bool {
    let segments: Vec<&str> = path.split('.').collect();
    !matches!(keys::find(&segments), Found::Key(key) if key.change == Change::Reload)
}
