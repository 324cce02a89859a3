//! A strict check of a profile: everything that one of the readers of the format is known to refuse,
//! to drop in silence, or to die of. Every violation is reported, with its place.
//!
//! Stricter than `go tool pprof` on purpose: what it merely tolerates, a backend may not.

mod profile;
mod samples;
mod symbols;
#[cfg(test)]
mod tests;

use std::fmt;

use super::Profile;

/// Most locations in one sample: readers cut deeper stacks, at the leaf.
pub const MAX_DEPTH: usize = 1000;

/// One rule that a profile breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where, as a path into the message: `sample[3].location_id[0]`.
    pub path: String,
    /// Which rule, and what was found.
    pub rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.rule)
    }
}

/// Checks a profile against every rule.
///
/// # Errors
/// All violations, in the order of the message's tables.
pub fn validate(profile: &Profile) -> Result<(), Vec<Violation>> {
    let mut report = Report { profile, violations: Vec::new() };
    profile::check(&mut report);
    symbols::check_mappings(&mut report);
    symbols::check_locations(&mut report);
    symbols::check_functions(&mut report);
    samples::check(&mut report);
    if report.violations.is_empty() { Ok(()) } else { Err(report.violations) }
}

/// The profile that is checked, and what was found so far.
struct Report<'a> {
    profile: &'a Profile,
    violations: Vec<Violation>,
}

impl<'a> Report<'a> {
    fn violation(&mut self, path: impl fmt::Display, rule: impl fmt::Display) {
        self.violations.push(Violation { path: path.to_string(), rule: rule.to_string() });
    }

    /// The string at an index; reports an index outside the table.
    fn string(&mut self, index: i64, path: impl fmt::Display) -> Option<&'a str> {
        let found = usize::try_from(index).ok().and_then(|i| self.profile.string_table.get(i));
        if found.is_none() {
            let size = self.profile.string_table.len();
            self.violation(path, format_args!("string index {index} is not in 0..{size}"));
        }
        found.map(String::as_str)
    }

    /// Like [`Self::string`], of a string that must say something.
    fn text(&mut self, index: i64, path: impl fmt::Display) {
        if self.string(index, &path) == Some("") {
            self.violation(path, "is empty");
        }
    }

    /// Ids must count 1, 2, 3, …: so they are unique, non-zero and in order at once.
    fn ids(&mut self, table: &str, ids: impl Iterator<Item = u64>) {
        for (index, id) in ids.enumerate() {
            let due = index as u64 + 1;
            if id != due {
                self.violation(
                    format_args!("{table}[{index}].id"),
                    format_args!("is {id}, not {due}: ids count from 1 without gaps"),
                );
            }
        }
    }

    /// A reference to an entry of a table with `size` entries.
    fn reference(&mut self, id: u64, size: usize, table: &str, path: impl fmt::Display) {
        if id == 0 || id > size as u64 {
            self.violation(path, format_args!("refers to {table} {id}, which does not exist"));
        }
    }
}
