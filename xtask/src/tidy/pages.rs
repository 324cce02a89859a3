//! What a page says is there, is there: linked files and commands of ours.

use std::path::Path;

use super::Problem;
use super::source::Source;

/// Every link to a file of the repository leads to one.
pub fn link_to_files(root: &Path, page: &Source) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, line) in page.lines.iter().enumerate() {
        for target in links(line) {
            let directory = page.path.parent().unwrap_or(Path::new(""));
            if !root.join(directory).join(target).exists() {
                problems.push(Problem::new(
                    page,
                    index + 1,
                    format!("links to {target}, which is not there"),
                ));
            }
        }
    }
    problems
}

/// Every `cargo xtask COMMAND` is one of ours.
pub fn name_commands(commands: &[String], page: &Source) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, line) in page.lines.iter().enumerate() {
        for (at, prefix) in line.match_indices("cargo xtask ") {
            let rest = line.get(at + prefix.len()..).unwrap_or_default();
            let end =
                rest.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(rest.len());
            let name = rest.get(..end).unwrap_or_default();
            if !name.is_empty()
                && !name.starts_with('-')
                && !commands.iter().any(|known| known == name)
            {
                problems.push(Problem::new(
                    page,
                    index + 1,
                    format!("there is no `cargo xtask {name}`"),
                ));
            }
        }
    }
    problems
}

/// Targets of the links in a line of Markdown that are paths in the repository.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split([')', '#', ' ']).next()?;
        let is_path =
            !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:");
        is_path.then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Source {
        Source::new(Path::new("README.md"), text)
    }

    #[test]
    fn a_dead_link_is_found() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("HERE.md"), "").unwrap();
        let page = page("[a](HERE.md#part) [b](https://x.org/y)\n![c](gone.svg)\n");
        let problems = link_to_files(root.path(), &page);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].line, 2);
    }

    #[test]
    fn a_command_that_is_none_is_found() {
        let commands = ["test".to_owned(), "build-ebpf".to_owned()];
        let page = page(
            "`cargo xtask test`, `cargo xtask --help`\ncargo xtask build-ebpf\n`cargo xtask fly`\n",
        );
        let problems = name_commands(&commands, &page);
        assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [3]);
    }
}
