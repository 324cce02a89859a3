//! Judges a machine by the lines of its console.

use std::fmt;

/// What a kernel prints when it has gone wrong; any of them fails the machine.
const CRASHES: &[&str] =
    &["Oops", "Kernel panic", "BUG:", "Call Trace:", "rcu_sched self-detected"];

/// What a machine has shown so far.
#[derive(Debug, Default)]
pub struct Verdict {
    passes: Vec<String>,
    failures: Vec<String>,
    notes: Vec<String>,
    done: bool,
    ended: bool,
}

impl Verdict {
    /// Takes in one line of the console.
    pub fn read(&mut self, line: &str) {
        if let Some(what) = line.strip_prefix("PASS ") {
            self.passes.push(what.to_owned());
        } else if let Some(what) = line.strip_prefix("FAIL ") {
            self.failures.push(what.to_owned());
        } else if let Some(what) = line.strip_prefix("NOTE ") {
            self.notes.push(what.to_owned());
        } else if line == "DONE" {
            self.done = true;
        } else if CRASHES.iter().any(|crash| line.contains(crash)) {
            self.failures.push(line.to_owned());
        }
    }

    /// The machine will say no more.
    pub fn fail(&mut self, why: String) {
        self.failures.push(why);
        self.ended = true;
    }

    /// Whether there is nothing to wait for.
    pub fn is_final(&self) -> bool {
        self.done || self.ended
    }

    /// Whether it ran to its end with at least one check passed and none failed.
    pub fn passed(&self) -> bool {
        self.done && self.failures.is_empty() && !self.passes.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (word, lines) in
            [("PASS", &self.passes), ("FAIL", &self.failures), ("    ", &self.notes)]
        {
            for line in lines {
                writeln!(f, "   {word} {line}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(console: &str) -> Verdict {
        let mut verdict = Verdict::default();
        console.lines().for_each(|line| verdict.read(line));
        verdict
    }

    #[test]
    fn only_a_machine_that_ran_to_its_end_passes() {
        assert!(judge("booting\nPASS chain\nDONE").passed());
        assert!(!judge("PASS chain").passed(), "no DONE");
        assert!(!judge("DONE").passed(), "nothing was checked");
        assert!(!judge("PASS a\nFAIL b\nDONE").passed());
        assert!(!judge("PASS a\n[ 1.0] BUG: unable to handle page fault\nDONE").passed());
    }

    #[test]
    fn a_machine_that_goes_down_fails_with_the_reason() {
        let mut verdict = judge("PASS a");
        verdict.fail("the machine went down".to_owned());
        assert!(verdict.is_final() && !verdict.passed());
        assert!(verdict.to_string().contains("FAIL the machine went down"));
    }
}
