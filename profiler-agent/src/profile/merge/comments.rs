//! What windows say of themselves, put together.

use std::collections::BTreeMap;

use ahash::RandomState;
use indexmap::IndexMap;

use crate::model::conventions::comment as key;
use crate::model::query::Filter;

/// Different values of a key, and different notes, that are kept; of the others their number is.
const KEPT: usize = 32;

/// Different keys that are kept.
const KEYS: usize = 64;

/// Counts, and how many windows said what.
#[derive(Clone, Debug, Default)]
pub(super) struct Comments {
    counts: BTreeMap<String, u64>,
    said: IndexMap<String, IndexMap<String, u64, RandomState>, RandomState>,
}

impl Comments {
    /// Takes in a comment `key: value`.
    pub(super) fn add(&mut self, comment: &str) {
        let Some((name, value)) = comment.split_once(": ") else { return };
        match name.strip_prefix(key::COUNTER).zip(value.parse().ok()) {
            Some((counter, n)) => self.count(counter, n),
            None => self.say(name, value, 1),
        }
    }

    /// Adds to a counter.
    pub(super) fn count(&mut self, counter: &str, n: u64) {
        if let Some(sum) = self.counts.get_mut(counter) {
            *sum = sum.saturating_add(n);
        } else if self.counts.len() < KEYS * 4 {
            self.counts.insert(counter.to_owned(), n);
        }
    }

    fn say(&mut self, name: &str, value: &str, windows: u64) {
        if !self.said.contains_key(name) && self.said.len() >= KEYS {
            return;
        }
        if !self.said.contains_key(name) {
            self.said.insert(name.to_owned(), IndexMap::default());
        }
        let Some(values) = self.said.get_mut(name) else { return };
        let value =
            if values.len() >= KEPT && !values.contains_key(value) { OTHERS } else { value };
        match values.get_mut(value) {
            Some(n) => *n = n.saturating_add(windows),
            None => drop(values.insert(value.to_owned(), windows)),
        }
    }

    /// Takes in those of other windows.
    pub(super) fn join(&mut self, other: Self) {
        for (counter, n) in other.counts {
            self.count(&counter, n);
        }
        for (name, values) in other.said {
            for (value, windows) in values {
                self.say(&name, &value, windows);
            }
        }
    }

    /// As comments of the merged profile.
    pub(super) fn finish(&self, filter: &Filter, windows: u64) -> Vec<String> {
        let mut comments = Vec::new();
        for (name, values) in &self.said {
            match name.as_str() {
                key::NOTE => continue,
                key::SCOPE => {
                    let scope = scope(filter).unwrap_or_else(|| listed(values));
                    comments.push(format!("{name}: {scope}"));
                }
                key::EVENT => comments.push(format!("{name}: {}", self.event(filter))),
                key::CLOCK | key::FREQUENCY if !filter.event.on_cpu() => {}
                key::MIN_BLOCK if !filter.event.off_cpu() => {}
                key::FREQUENCY => comments.push(format!("{name}: {}", frequency(values))),
                _ => comments.push(format!("{name}: {}", listed(values))),
            }
        }
        comments.extend(self.counts.iter().map(|(name, n)| format!("{}{name}: {n}", key::COUNTER)));
        for (note, n) in self.said.get(key::NOTE).into_iter().flatten() {
            let times = if *n == windows {
                String::new()
            } else {
                format!(" (in {n} of {windows} windows)")
            };
            comments.push(format!("{}: {note}{times}", key::NOTE));
        }
        comments
    }

    /// What is in the merged profile: what was recorded, as far as it was asked for.
    fn event(&self, filter: &Filter) -> &'static str {
        use crate::model::choice::EventChoice::{OffCpu, OnCpu, Wall};
        let recorded = self.said.get(key::EVENT);
        let was = |event: crate::model::choice::EventChoice| {
            recorded.is_none_or(|values| values.contains_key(event.name()))
        };
        let on = filter.event.on_cpu() && (was(Wall) || was(OnCpu));
        let off = filter.event.off_cpu() && (was(Wall) || was(OffCpu));
        match (on, off) {
            (true, true) => Wall.name(),
            (false, true) => OffCpu.name(),
            _ => OnCpu.name(),
        }
    }
}

/// Stands for the values beyond those that are kept.
const OTHERS: &str = "others";

fn listed(values: &IndexMap<String, u64, RandomState>) -> String {
    values.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// `99 Hz`, or `49 to 99 Hz` where it changed.
fn frequency(values: &IndexMap<String, u64, RandomState>) -> String {
    let hertz = |value: &String| value.strip_suffix(" Hz")?.parse::<u64>().ok();
    let all: Option<Vec<u64>> = values.keys().map(hertz).collect();
    let all = all.unwrap_or_default();
    match (all.iter().min(), all.iter().max()) {
        (Some(least), Some(most)) if least < most => format!("{least} to {most} Hz"),
        _ => listed(values),
    }
}

/// What was asked for, where that is a part only.
fn scope(filter: &Filter) -> Option<String> {
    let pid = filter.pid.map(|pid| format!("pid {pid}"));
    let service = filter.service.as_ref().map(|service| format!("service {service}"));
    let labels = filter.labels.iter().map(|(key, value)| format!("{key} {value}"));
    let parts: Vec<String> = service.into_iter().chain(pid).chain(labels).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}
