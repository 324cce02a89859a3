//! What the stage has to say of its work: to the user in words, to the metrics in counts.

use crate::model::losses::Losses;

/// What went wrong so far.
#[derive(Default)]
pub(super) struct Notes {
    /// For the user.
    pub problems: Problems,
    /// For the metrics.
    pub losses: Losses,
}

/// Lines that are kept; the rest is counted.
const MAX_LINES: usize = 20;

/// What the user should know about missing names: one line each, in the order in which they came up.
#[derive(Default)]
pub(super) struct Problems {
    lines: Vec<String>,
    more: usize,
}

impl Problems {
    /// Adds a line, unless it is there.
    pub fn add(&mut self, line: String) {
        if self.lines.contains(&line) {
            return;
        }
        if self.lines.len() < MAX_LINES {
            self.lines.push(line);
        } else {
            self.more += 1;
        }
    }

    /// All of them, and how many were left out.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.lines.clone();
        if self.more > 0 {
            lines.push(format!("{} more problems with names", self.more));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_distinct_and_bounded() {
        let mut problems = Problems::default();
        for i in 0..25 {
            problems.add(format!("problem {}", i / 2 * 2));
            problems.add(format!("problem {i}"));
        }
        let lines = problems.lines();
        assert_eq!(lines.len(), MAX_LINES + 1);
        assert_eq!(lines[1], "problem 1");
        assert!(lines[MAX_LINES].ends_with("more problems with names"));
    }
}
