//! Rules that name the service of a process: `[[services]]`, the first that holds decides.

use super::complaint::{Complaint, Place};
use super::kind::{Item, Raw, name, quoted, text};
use super::suggest;
use crate::process::service::{Match, Rule};

/// What a rule can look at.
const MATCHES: &[&str] = &["container", "unit", "exe", "comm", "label"];

/// A rule as TOML.
pub fn show(rule: &Rule) -> String {
    let Match { container, unit, exe, comm, labels } = &rule.matches;
    let mut conditions = Vec::new();
    for (key, glob) in [("container", container), ("unit", unit), ("exe", exe), ("comm", comm)] {
        conditions.extend(glob.iter().map(|glob| format!("{key} = {}", quoted(glob))));
    }
    let labels: Vec<String> = labels.iter().map(|(k, v)| quoted(format!("{k}={v}"))).collect();
    if !labels.is_empty() {
        conditions.push(format!("label = [{}]", labels.join(", ")));
    }
    format!("{{ name = {}, match = {{ {} }} }}", quoted(&rule.name), conditions.join(", "))
}

/// Reads the rules.
///
/// # Errors
/// Everything that is wrong with them.
pub fn parse(item: &Item) -> Result<Vec<Rule>, Vec<Complaint>> {
    let read;
    let rules = match &item.raw {
        Raw::List(rules) => rules,
        Raw::Outside(text) => {
            read = super::file::value(text, &item.place)?;
            match &read.raw {
                Raw::List(rules) => rules,
                raw => return Err(vec![not_rules(&item.place, raw)]),
            }
        }
        raw => return Err(vec![not_rules(&item.place, raw)]),
    };
    let (mut parsed, mut complaints) = (Vec::new(), Vec::new());
    for rule in rules {
        match one(rule) {
            Ok(rule) => parsed.push(rule),
            Err(more) => complaints.extend(more),
        }
    }
    if complaints.is_empty() { Ok(parsed) } else { Err(complaints) }
}

fn not_rules(place: &Place, raw: &Raw) -> Complaint {
    Complaint::new(place, format!("{} where rules belong: write [[services]]", name(raw)))
}

fn one(item: &Item) -> Result<Rule, Vec<Complaint>> {
    let Raw::Table(entries) = &item.raw else {
        return Err(vec![not_rules(&item.place, &item.raw)]);
    };
    let mut complaints = Vec::new();
    let mut rule = Rule::default();
    // What the rule's own check finds wrong stands there.
    let mut place = item.place.clone();
    for (key, key_place, value) in entries {
        match key.as_str() {
            "name" => match text(value) {
                Ok(name) => (rule.name, place) = (name.to_owned(), value.place.clone()),
                Err(complaint) => complaints.push(complaint),
            },
            "match" => conditions(value, &mut rule.matches, &mut complaints),
            _ => complaints.push(Complaint::new(
                key_place,
                format!("a rule has no key {key:?}{}", suggest::among(key, ["name", "match"])),
            )),
        }
    }
    if complaints.is_empty() {
        complaints.extend(rule.check().err().map(|e| Complaint::new(&place, e.to_string())));
    }
    if complaints.is_empty() { Ok(rule) } else { Err(complaints) }
}

fn conditions(item: &Item, matches: &mut Match, complaints: &mut Vec<Complaint>) {
    let Raw::Table(entries) = &item.raw else {
        let message = format!("{} where conditions belong: {{ unit = \"…\" }}", name(&item.raw));
        complaints.push(Complaint::new(&item.place, message));
        return;
    };
    for (key, place, value) in entries {
        let glob = match key.as_str() {
            "container" => &mut matches.container,
            "unit" => &mut matches.unit,
            "exe" => &mut matches.exe,
            "comm" => &mut matches.comm,
            "label" => {
                labels(value, &mut matches.labels, complaints);
                continue;
            }
            _ => {
                let hint = suggest::among(key, MATCHES.iter().copied());
                let message = format!("nothing to match by: {key:?}{hint}");
                complaints.push(Complaint::new(place, message));
                continue;
            }
        };
        match text(value) {
            Ok("") => {
                complaints.push(Complaint::new(&value.place, "an empty pattern fits nothing"))
            }
            Ok(text) => *glob = Some(text.to_owned()),
            Err(complaint) => complaints.push(complaint),
        }
    }
}

/// One `"KEY=GLOB"`, or a list of them.
fn labels(item: &Item, labels: &mut Vec<(String, String)>, complaints: &mut Vec<Complaint>) {
    let items = match &item.raw {
        Raw::List(items) => items.as_slice(),
        _ => std::slice::from_ref(item),
    };
    for item in items {
        match text(item).map(|text| (text, text.split_once('='))) {
            Ok((_, Some((key, glob)))) => labels.push((key.to_owned(), glob.to_owned())),
            Ok((text, None)) => {
                let message = format!("{text:?} has no value; write \"KEY=GLOB\"");
                complaints.push(Complaint::new(&item.place, message));
            }
            Err(complaint) => complaints.push(complaint),
        }
    }
}
