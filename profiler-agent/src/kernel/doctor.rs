//! What works on this machine, what works less well than it could, and how to mend the rest.
//!
//! Nothing is guessed from a version where it can be tried: the last check makes a short recording.

mod host;
mod kernel;

use serde::Serialize;

use super::error::KernelError;
use super::features::Features;
use super::plan::Plan;
use super::privileges::Effective;

/// How well something works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As well as it can.
    Ok,
    /// Less well: a fallback is used, or a part of the profiles is missing.
    Degraded,
    /// Not at all: recordings are impossible.
    Missing,
}

impl Status {
    /// Lower-case name, for people and machines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Missing => "missing",
        }
    }
}

/// What was found out about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How well it works.
    pub status: Status,
    /// What was found.
    pub detail: String,
    /// What to do about it; empty where nothing is to be done.
    pub remedy: String,
}

impl Check {
    fn ok(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(name, Status::Ok, detail, "")
    }

    fn degraded(
        name: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(name, Status::Degraded, detail, remedy)
    }

    fn missing(
        name: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(name, Status::Missing, detail, remedy)
    }

    fn new(
        name: impl Into<String>,
        status: Status,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { name: name.into(), status, detail: detail.into(), remedy: remedy.into() }
    }
}

/// Looks at everything that a recording depends on, most fundamental first.
pub fn checks() -> Vec<Check> {
    let effective = Effective::of_self().ok();
    let mut checks = host::checks(effective);
    match Features::probe(&Plan::default()) {
        Ok(features) => {
            checks.extend(kernel::checks(&features));
            checks.push(kernel::recording());
        }
        Err(error) => checks.push(unusable(&error)),
    }
    checks
}

fn unusable(error: &KernelError) -> Check {
    Check::missing("recording", error.to_string(), "mend what is missing above first")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_not_ok_says_what_to_do() {
        let checks = checks();
        assert!(checks.len() > 10);
        for check in &checks {
            assert!(!check.detail.is_empty(), "{check:?}");
            assert_eq!(check.remedy.is_empty(), check.status == Status::Ok, "{check:?}");
        }
    }
}
