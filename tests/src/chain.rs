//! Whether the stacks of a program are whole: from its entry point to its leaf, in order.

use std::collections::BTreeMap;
use std::fmt;

use crate::stacks::Stack;

/// One frame of any name: a function whose name is not the same everywhere, like those of libc that only
/// its debug information names.
pub const ONE: &str = "*";
/// Any number of frames, and a marker where outer frames are missing.
pub const ANY: &str = "**";
/// How the frame begins that stands where outer frames are missing.
pub const MARKER: &str = "[truncated";

/// What a program's stacks must look like.
#[derive(Clone, Debug)]
pub struct Expected<'a> {
    /// Functions, outermost first; [`ONE`] and [`ANY`] stand for others.
    pub outer: Vec<&'a str>,
    /// The functions that may be innermost: after `outer`, exactly one of these lists must follow.
    pub leaves: Vec<Vec<&'a str>>,
}

/// How many samples were whole.
#[derive(Debug, Default)]
pub struct Wholeness {
    /// All samples that were looked at.
    pub samples: u64,
    /// Those that were as expected.
    pub whole: u64,
    /// The others, by stack.
    pub broken: BTreeMap<String, u64>,
}

impl Expected<'_> {
    /// Judges stacks by their user frames, weighted by their samples.
    pub fn judge<'s>(&self, stacks: impl IntoIterator<Item = &'s Stack>, kind: &str) -> Wholeness {
        Wholeness::of(stacks, kind, |stack| self.is_whole(&stack.user()))
    }

    /// Whether one stack is as expected.
    pub fn is_whole(&self, frames: &[&str]) -> bool {
        self.leaves.iter().any(|leaf| {
            let pattern: Vec<&str> = self.outer.iter().chain(leaf).copied().collect();
            matches(&pattern, frames)
        })
    }
}

fn matches(pattern: &[&str], frames: &[&str]) -> bool {
    match (pattern, frames) {
        ([ANY, rest @ ..], _) => (0..=frames.len())
            .any(|skipped| frames.get(skipped..).is_some_and(|left| matches(rest, left))),
        ([name, rest @ ..], [frame, left @ ..]) => {
            let is_function = !frame.starts_with(MARKER);
            ((*name == ONE && is_function) || name == frame) && matches(rest, left)
        }
        ([], []) => true,
        _ => false,
    }
}

impl Wholeness {
    /// Counts stacks, weighted by one kind of value.
    pub fn of<'s>(
        stacks: impl IntoIterator<Item = &'s Stack>,
        kind: &str,
        is_whole: impl Fn(&Stack) -> bool,
    ) -> Self {
        let mut wholeness = Self::default();
        for stack in stacks {
            let samples = stack.value(kind);
            wholeness.samples += samples;
            if samples > 0 && is_whole(stack) {
                wholeness.whole += samples;
            } else if samples > 0 {
                *wholeness.broken.entry(stack.line()).or_default() += samples;
            }
        }
        wholeness
    }

    /// Whether the share of whole samples is at least this, 0 to 1, to the nearest sample: of fewer than a
    /// thousand, one may be odd at a bar of 0.999.
    pub fn reaches(&self, bar: f64) -> bool {
        let odd = self.samples - self.whole;
        self.samples > 0 && odd as f64 <= ((1.0 - bar) * self.samples as f64).ceil()
    }

    /// The share of whole samples, 0 to 1; 0 where there were none.
    pub fn share(&self) -> f64 {
        if self.samples == 0 { 0.0 } else { self.whole as f64 / self.samples as f64 }
    }
}

impl fmt::Display for Wholeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} samples are whole", self.whole, self.samples)?;
        let mut broken: Vec<_> = self.broken.iter().collect();
        broken.sort_by_key(|(_, samples)| std::cmp::Reverse(**samples));
        for (stack, samples) in broken.into_iter().take(5) {
            write!(f, "\n  {samples} × {stack}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_reached_to_the_nearest_sample() {
        for (samples, whole, reached) in [
            (0, 0, false),
            (900, 900, true),
            (900, 899, true),
            (900, 898, false),
            (10_000, 9_990, true),
            (10_000, 9_988, false),
        ] {
            let wholeness = Wholeness { samples, whole, ..Wholeness::default() };
            assert_eq!(wholeness.reaches(0.999), reached, "{whole} of {samples}");
        }
    }

    #[test]
    fn a_stack_is_whole_only_with_every_frame_in_order() {
        let expected = Expected {
            outer: vec![ANY, "main", "descend", "descend"],
            leaves: vec![vec!["burn"], vec!["burn", "read"], vec!["burn", ONE, "write"]],
        };
        for (stack, whole) in [
            ("_start main descend descend burn", true),
            ("main descend descend burn read", true),
            ("main descend descend burn libc write", true),
            ("[truncated] main descend descend burn", true),
            ("main descend descend burn write", false),
            ("main descend descend burn [truncated] write", false),
            ("main descend burn", false),
            ("main descend descend descend burn", false),
            ("main descend descend", false),
            ("descend descend burn", false),
            ("main descend descend burn other", false),
            ("", false),
        ] {
            let frames: Vec<&str> = stack.split_whitespace().collect();
            assert_eq!(expected.is_whole(&frames), whole, "{stack}");
        }
    }
}
