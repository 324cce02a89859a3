//! `tidy`: the rules of ARCHITECTURE.md that a compiler does not know.
//!
//! A rule is a function from a file to its problems, with a test on a small sample beside it:
//! [`shape`] of files, [`stages`] and [`doors`] of the architecture, [`pages`] of documentation.

mod doors;
mod pages;
mod shape;
mod source;
mod stages;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::sh;
use source::Source;

const RULES: &[fn(&Source) -> Vec<Problem>] = &[
    shape::opens_with_its_purpose,
    shape::is_within_the_budget,
    shape::is_finished,
    stages::know_no_sibling,
    stages::are_unknown_to_the_vocabulary,
    doors::are_used,
    doors::are_explained,
];

/// What a rule found.
#[derive(Debug)]
pub struct Problem {
    path: PathBuf,
    line: usize,
    message: String,
}

impl Problem {
    fn new(source: &Source, line: usize, message: impl Into<String>) -> Self {
        Self { path: source.path.clone(), line, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.message)
    }
}

/// Checks every file that git knows or would add; `commands` are the names of our own commands.
pub fn run(commands: &[String]) -> Result<()> {
    let root = sh::workspace();
    let mut problems = Vec::new();
    let files = files(&root)?;
    for path in &files {
        let rust = path.extension().is_some_and(|extension| extension == "rs");
        let page = path.extension().is_some_and(|extension| extension == "md");
        if !rust && !page {
            continue;
        }
        let text = std::fs::read_to_string(root.join(path))
            .with_context(|| format!("cannot read {}", path.display()))?;
        let source = Source::new(path, &text);
        if rust {
            problems.extend(RULES.iter().flat_map(|rule| rule(&source)));
        } else {
            problems.extend(pages::link_to_files(&root, &source));
            problems.extend(pages::name_commands(commands, &source));
        }
    }
    for problem in &problems {
        println!("{problem}");
    }
    if !problems.is_empty() {
        bail!("{} problems", problems.len());
    }
    println!("tidy: {} files, no problem", files.len());
    Ok(())
}

fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let list = sh::output(
        Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(root),
    )?;
    Ok(list.lines().map(PathBuf::from).filter(|path| root.join(path).is_file()).collect())
}

/// Applies a rule to a text and returns the lines that it complains of.
#[cfg(test)]
fn check_sample(rule: fn(&Source) -> Vec<Problem>, path: &str, text: &str) -> Vec<usize> {
    let source = Source::new(Path::new(path), text);
    rule(&source).into_iter().map(|problem| problem.line).collect()
}
