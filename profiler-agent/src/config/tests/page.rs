//! The page of the documentation says what is: every key, its default, and an example that is right.

use super::super::keys::{Change, KEYS, Key};
use super::super::kind::{Item, Raw};
use super::*;

const PAGE: &str = include_str!("../../../../docs/configuration.md");

/// The example of the page.
pub fn example() -> &'static str {
    let (_, after) = PAGE.split_once("```toml\n").expect("an example in the page");
    after.split_once("```").expect("an end of the example").0
}

/// The line of the page's table for a key.
fn row(key: &Key) -> String {
    let default = key.default.map_or_else(String::new, |default| {
        let raw = Raw::Outside(default.to_owned());
        let item = Item { raw, place: complaint::Place::Default };
        let shown = key.kind.parse(&item).expect("a default that can be read").show();
        format!("`{shown}`")
    });
    let change = match key.change {
        Change::Reload => "reload",
        Change::Restart => "restart",
    };
    let path = key.path.replace("sinks.*", "sinks.NAME").replace('*', "LABEL");
    let path = path.replace("headers.LABEL", "headers.HEADER");
    format!("| `{path}` | {} | {default} | {change} | {} |", key.kind.describe(), key.says)
}

#[test]
fn the_page_has_every_key_and_no_other() {
    let wanted: Vec<String> = KEYS.iter().map(row).collect();
    let missing: Vec<&String> =
        wanted.iter().filter(|row| !PAGE.lines().any(|line| line == row.as_str())).collect();
    let rows = missing.iter().map(|row| row.as_str()).collect::<Vec<_>>().join("\n");
    assert!(missing.is_empty(), "docs/configuration.md lacks these lines:\n{rows}");

    let is_key = |line: &&str| line.starts_with("| `") && line.matches(" | ").count() == 4;
    for line in PAGE.lines().filter(is_key) {
        assert!(wanted.iter().any(|row| row == line), "no key has this line:\n{line}");
    }
}

#[test]
fn the_example_of_the_page_is_right_and_has_every_section() {
    let settings = settings(example());
    assert_eq!(settings.sinks.len(), 4, "a sink of each type");
    let sections = KEYS.iter().map(|key| key.path.split('.').next().unwrap_or_default());
    for section in sections {
        let named = [format!("[{section}"), format!("[[{section}")];
        assert!(named.iter().any(|name| example().contains(name.as_str())), "{section}");
    }
}
