//! Whether the stacks of a program are whole: from its entry point to its leaf, in order.

use std::collections::BTreeMap;
use std::fmt;

use crate::stacks::Stack;

/// What a program's stacks must look like.
#[derive(Clone, Debug)]
pub struct Expected<'a> {
    /// Functions from the program's entry point on, outermost first. What is outside of the first
    /// (libc's or the runtime's start code) does not matter.
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
        let mut wholeness = Wholeness::default();
        for stack in stacks {
            let samples = stack.value(kind);
            wholeness.samples += samples;
            if self.is_whole(&stack.user()) {
                wholeness.whole += samples;
            } else if samples > 0 {
                *wholeness.broken.entry(stack.line()).or_default() += samples;
            }
        }
        wholeness
    }

    fn is_whole(&self, frames: &[&str]) -> bool {
        let Some(entry) = self.outer.first() else { return false };
        let Some(start) = frames.iter().position(|frame| frame == entry) else { return false };
        let chain = frames.get(start..).unwrap_or_default();
        let Some(leaf) = chain.strip_prefix(self.outer.as_slice()) else { return false };
        self.leaves.iter().any(|expected| expected == leaf)
    }
}

impl Wholeness {
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
    fn a_stack_is_whole_only_with_every_frame_in_order() {
        let expected = Expected {
            outer: vec!["main", "descend", "descend"],
            leaves: vec![vec!["burn"], vec!["burn", "read"]],
        };
        for (stack, whole) in [
            ("_start main descend descend burn", true),
            ("main descend descend burn read", true),
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
