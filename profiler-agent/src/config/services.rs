//! Rules that name the service of a process: `[[services]]`, the first that matches decides.

use super::complaint::{Complaint, Place};
use super::kind::{Item, Raw, name, quoted, text};
use super::suggest;

/// What a rule can look at.
pub const MATCHES: &[&str] = &["container", "unit", "exe", "comm", "label"];

/// What a name may be made of, in braces.
const PLACEHOLDERS: &[&str] = &["container", "unit", "exe", "comm"];

/// One rule. All of its conditions must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Name of the service; `{unit}` and the like stand for what the process has.
    pub name: String,
    /// Conditions: what is looked at, one of [`MATCHES`], and the glob (for a label `KEY=GLOB`).
    pub conditions: Vec<(&'static str, String)>,
}

impl Rule {
    /// The rule as TOML.
    pub fn show(&self) -> String {
        let conditions: Vec<String> =
            self.conditions.iter().map(|(key, glob)| format!("{key} = {}", quoted(glob))).collect();
        format!("{{ name = {}, match = {{ {} }} }}", quoted(&self.name), conditions.join(", "))
    }
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
    let (mut service, mut conditions) = (None, Vec::new());
    for (key, place, value) in entries {
        match key.as_str() {
            "name" => match text(value) {
                Ok(name) => {
                    complaints
                        .extend(wrong_template(name).map(|m| Complaint::new(&value.place, m)));
                    service = Some(name.to_owned());
                }
                Err(complaint) => complaints.push(complaint),
            },
            "match" => conditions = self::conditions(value, &mut complaints),
            _ => complaints.push(Complaint::new(
                place,
                format!("a rule has no key {key:?}{}", suggest::among(key, ["name", "match"])),
            )),
        }
    }
    match service {
        Some(name) if complaints.is_empty() => Ok(Rule { name, conditions }),
        Some(_) => Err(complaints),
        None => {
            complaints.push(Complaint::new(&item.place, "a rule needs a name: name = \"…\""));
            Err(complaints)
        }
    }
}

fn conditions(item: &Item, complaints: &mut Vec<Complaint>) -> Vec<(&'static str, String)> {
    let Raw::Table(entries) = &item.raw else {
        let message = format!("{} where conditions belong: {{ unit = \"…\" }}", name(&item.raw));
        complaints.push(Complaint::new(&item.place, message));
        return Vec::new();
    };
    let mut conditions = Vec::new();
    for (key, place, value) in entries {
        let Some(known) = MATCHES.iter().find(|known| *known == key) else {
            let hint = suggest::among(key, MATCHES.iter().copied());
            complaints.push(Complaint::new(place, format!("nothing to match by: {key:?}{hint}")));
            continue;
        };
        match text(value) {
            Ok(glob) if *known == "label" && !glob.contains('=') => complaints.push(
                Complaint::new(&value.place, format!("{glob:?} has no value; write \"KEY=GLOB\"")),
            ),
            Ok("") => {
                complaints.push(Complaint::new(&value.place, "an empty pattern matches nothing"))
            }
            Ok(glob) => conditions.push((*known, glob.to_owned())),
            Err(complaint) => complaints.push(complaint),
        }
    }
    conditions
}

/// What is wrong with a name that has placeholders.
fn wrong_template(name: &str) -> Option<String> {
    if name.trim().is_empty() {
        return Some("a service needs a name that is not empty".to_owned());
    }
    let mut rest = name;
    while let Some((_, after)) = rest.split_once('{') {
        let Some((inside, after)) = after.split_once('}') else {
            return Some(format!("a brace is not closed in {name:?}"));
        };
        if !PLACEHOLDERS.contains(&inside) {
            let hint = suggest::among(inside, PLACEHOLDERS.iter().copied());
            return Some(format!("nothing known as {{{inside}}}{hint}"));
        }
        rest = after;
    }
    None
}
