//! The configuration in force as a file that could be used, each value with its source.

use std::fmt::Write;

use super::keys::KEYS;
use super::values::{Entry, Values};

/// Stands for what is not shown.
const HIDDEN: &str = "\"(hidden)\"";

/// Draws the values, section by section, in the order of the table of keys.
pub fn show(values: &Values) -> String {
    let mut lines: Vec<(String, String, String)> = Vec::new();
    for key in KEYS.iter().filter(|key| !key.path.starts_with("sinks.")) {
        match key.path.strip_suffix(".*") {
            Some(section) => {
                lines.extend(values.below(section).map(|(name, entry)| line(section, name, entry)));
            }
            None => lines.extend(values.get(key.path).map(|entry| line_of(key.path, entry))),
        }
    }
    for name in values.sinks.keys() {
        let mine = values.below(&format!("sinks.{name}"));
        let mut mine: Vec<_> = mine.collect();
        mine.sort_by_key(|(path, entry)| {
            let place = KEYS.iter().position(|key| std::ptr::eq(key, entry.key));
            (section_of(path).0.to_owned(), place)
        });
        lines.extend(
            mine.iter().map(|(path, entry)| line_of(&format!("sinks.{name}.{path}"), entry)),
        );
    }
    draw(&lines)
}

/// Section, `key = value`, source.
fn line_of(path: &str, entry: &Entry) -> (String, String, String) {
    let (section, name) = section_of(path);
    line(section, name, entry)
}

fn line(section: &str, name: &str, entry: &Entry) -> (String, String, String) {
    let secret = entry.key.path.contains(".headers.");
    let value = if secret { HIDDEN.to_owned() } else { entry.value.show() };
    (section.to_owned(), format!("{name} = {value}"), entry.place.to_string())
}

fn section_of(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

fn draw(lines: &[(String, String, String)]) -> String {
    // TOML has what is in no section before the first one.
    let (loose, rest): (Vec<_>, Vec<_>) =
        lines.iter().partition(|(section, ..)| section.is_empty());
    let width = lines.iter().map(|(_, text, _)| text.len()).filter(|n| *n <= 60).max().unwrap_or(0);
    let mut text = String::new();
    let mut current = String::new();
    for (section, assignment, source) in loose.into_iter().chain(rest) {
        if *section != current {
            let gap = if text.is_empty() { "" } else { "\n" };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{gap}[{section}]");
            current.clone_from(section);
        }
        let _ = writeln!(text, "{assignment:width$}  # {source}");
    }
    text
}
