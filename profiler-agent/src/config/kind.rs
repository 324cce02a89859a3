//! What a key's value may be, how it is read and how it is shown.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::complaint::{Complaint, Place};
use super::services;
use super::units::{self, Share};
use crate::process::service::Rule;

/// A value as it was written, with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// What was written.
    pub raw: Raw,
    /// Where.
    pub place: Place,
}

/// A value as it was written, before anybody knows what it is for.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// A string of a file.
    Text(String),
    /// A whole number.
    Number(i64),
    /// `true` or `false`.
    Flag(bool),
    /// What no key takes: a fraction, a date.
    Other(&'static str),
    /// An array.
    List(Vec<Item>),
    /// A table: keys, where they stand, and values.
    Table(Vec<(String, Place, Item)>),
    /// A text from the environment, a flag or the table of defaults: its key says what it is.
    Outside(String),
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number without a unit, within these.
    Number(u64, u64),
    /// A duration, within these.
    Duration(Duration, Duration),
    /// A size, within these.
    Bytes(u64, u64),
    /// A share, more than nothing.
    Share,
    /// `true` or `false`.
    Flag,
    /// Any text.
    Text,
    /// An absolute path; empty for none.
    Path,
    /// `ADDRESS:PORT`; empty for none.
    Address,
    /// A list of texts.
    Texts,
    /// A list of whole numbers of 32 bits, from 1.
    Numbers,
    /// A list of absolute paths.
    Paths,
    /// The rules that name services.
    Rules,
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Parsed {
    /// Of [`Kind::Choice`] and [`Kind::Text`].
    Text(String),
    /// Of [`Kind::Number`].
    Number(u64),
    /// Of [`Kind::Duration`].
    Duration(Duration),
    /// Of [`Kind::Bytes`].
    Bytes(u64),
    /// Of [`Kind::Share`].
    Share(Share),
    /// Of [`Kind::Flag`].
    Flag(bool),
    /// Of [`Kind::Path`].
    Path(Option<PathBuf>),
    /// Of [`Kind::Address`].
    Address(Option<SocketAddr>),
    /// Of [`Kind::Texts`].
    Texts(Vec<String>),
    /// Of [`Kind::Numbers`].
    Numbers(Vec<u32>),
    /// Of [`Kind::Paths`].
    Paths(Vec<PathBuf>),
    /// Of [`Kind::Rules`].
    Rules(Vec<Rule>),
}

impl Kind {
    /// Reads a value of this kind.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(&self, item: &Item) -> Result<Parsed, Vec<Complaint>> {
        let single = match self {
            Self::Choice(words) => choice(words, item),
            Self::Number(least, most) => number(item)
                .and_then(|n| within(n, *least, *most, item, |n| n.to_string()))
                .map(Parsed::Number),
            Self::Duration(least, most) => measured(item, "\"10s\"", units::duration)
                .and_then(|d| within(d, *least, *most, item, units::show_duration))
                .map(Parsed::Duration),
            Self::Bytes(least, most) => measured(item, "\"64 MiB\"", units::bytes)
                .and_then(|b| within(b, *least, *most, item, units::show_bytes))
                .map(Parsed::Bytes),
            Self::Share => measured(item, "\"1%\"", units::share)
                .and_then(|s| {
                    within(s, Share::from_millionths(100), Share::WHOLE, item, units::show_share)
                })
                .map(Parsed::Share),
            Self::Flag => flag(item).map(Parsed::Flag),
            Self::Text => text(item).map(|text| Parsed::Text(text.to_owned())),
            Self::Path => path(item).map(Parsed::Path),
            Self::Address => address(item).map(Parsed::Address),
            Self::Texts => {
                return each(item, |item| text(item).map(str::to_owned)).map(Parsed::Texts);
            }
            Self::Numbers => return each(item, id).map(Parsed::Numbers),
            Self::Paths => return each(item, some_path).map(Parsed::Paths),
            Self::Rules => return services::parse(item).map(Parsed::Rules),
        };
        single.map_err(|complaint| vec![complaint])
    }

    /// What the key takes, for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Choice(words) => {
                words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
            }
            Self::Number(least, most) => format!("number, {least} to {most}"),
            Self::Duration(least, most) => format!(
                "duration, {} to {}",
                units::show_duration(*least),
                units::show_duration(*most)
            ),
            Self::Bytes(least, most) => {
                format!("size, {} to {}", units::show_bytes(*least), units::show_bytes(*most))
            }
            Self::Share => "share, up to 100%".to_owned(),
            Self::Flag => "`true`, `false`".to_owned(),
            Self::Text => "text".to_owned(),
            Self::Path => "absolute path".to_owned(),
            Self::Address => "`ADDRESS:PORT`".to_owned(),
            Self::Texts => "list of texts".to_owned(),
            Self::Numbers => "list of numbers".to_owned(),
            Self::Paths => "list of absolute paths".to_owned(),
            Self::Rules => "list of rules".to_owned(),
        }
    }
}

impl Parsed {
    /// The value as TOML, so that it reads back as the same.
    pub fn show(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Number(number) => number.to_string(),
            Self::Duration(duration) => quoted(units::show_duration(*duration)),
            Self::Bytes(bytes) => quoted(units::show_bytes(*bytes)),
            Self::Share(share) => quoted(units::show_share(*share)),
            Self::Flag(flag) => flag.to_string(),
            Self::Path(path) => quoted(path.as_deref().unwrap_or(Path::new("")).display()),
            Self::Address(address) => {
                quoted(address.map(|address| address.to_string()).unwrap_or_default())
            }
            Self::Texts(texts) => list(texts.iter().map(quoted)),
            Self::Numbers(numbers) => list(numbers.iter().map(u32::to_string)),
            Self::Paths(paths) => list(paths.iter().map(|path| quoted(path.display()))),
            Self::Rules(rules) => list(rules.iter().map(services::show)),
        }
    }
}

/// A text as a TOML string.
pub fn quoted(text: impl Display) -> String {
    toml::Value::String(text.to_string()).to_string()
}

fn list(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(", "))
}

/// The text of an item.
pub fn text(item: &Item) -> Result<&str, Complaint> {
    match &item.raw {
        Raw::Text(text) | Raw::Outside(text) => Ok(text),
        _ => Err(Complaint::new(&item.place, format!("{} where a text belongs", name(&item.raw)))),
    }
}

/// What something is, for people.
pub fn name(raw: &Raw) -> &'static str {
    match raw {
        Raw::Text(_) | Raw::Outside(_) => "a text",
        Raw::Number(_) => "a number",
        Raw::Flag(_) => "true or false",
        Raw::Other(name) => name,
        Raw::List(_) => "a list",
        Raw::Table(_) => "a table",
    }
}

fn choice(words: &[&'static str], item: &Item) -> Result<Parsed, Complaint> {
    let text = text(item)?;
    if words.contains(&text) {
        return Ok(Parsed::Text(text.to_owned()));
    }
    let list: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    Err(Complaint::new(&item.place, format!("{text:?} is not among {}", list.join(", "))))
}

fn number(item: &Item) -> Result<u64, Complaint> {
    let number = match &item.raw {
        Raw::Number(number) => u64::try_from(*number).ok(),
        Raw::Outside(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| {
        let what = match &item.raw {
            Raw::Outside(text) => format!("{text:?}"),
            Raw::Number(number) => number.to_string(),
            raw => name(raw).to_owned(),
        };
        Complaint::new(&item.place, format!("{what} where a whole number without unit belongs"))
    })
}

fn id(item: &Item) -> Result<u32, Complaint> {
    let number = number(item)?;
    within(number, 1, u64::from(u32::MAX), item, |n| n.to_string())
        .map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}

fn flag(item: &Item) -> Result<bool, Complaint> {
    match &item.raw {
        Raw::Flag(flag) => Ok(*flag),
        Raw::Outside(text) if text == "true" => Ok(true),
        Raw::Outside(text) if text == "false" => Ok(false),
        raw => {
            Err(Complaint::new(&item.place, format!("{} where true or false belongs", name(raw))))
        }
    }
}

/// A value with a unit.
fn measured<T>(
    item: &Item,
    example: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Complaint> {
    let complain = |message| Complaint::new(&item.place, message);
    match &item.raw {
        Raw::Text(text) | Raw::Outside(text) => read(text).map_err(complain),
        // The reader's own words about numbers.
        Raw::Number(number) => read(&number.to_string()).map_err(complain),
        raw => Err(complain(format!(
            "{} where a text with a unit belongs, such as {example}",
            name(raw)
        ))),
    }
}

fn within<T: PartialOrd + Copy>(
    value: T,
    least: T,
    most: T,
    item: &Item,
    show: impl Fn(T) -> String,
) -> Result<T, Complaint> {
    if value < least || value > most {
        let (least, most) = (show(least), show(most));
        let message = format!("{} is out of range: {least} to {most}", show(value));
        return Err(Complaint::new(&item.place, message));
    }
    Ok(value)
}

fn path(item: &Item) -> Result<Option<PathBuf>, Complaint> {
    match text(item)? {
        "" => Ok(None),
        _ => some_path(item).map(Some),
    }
}

fn some_path(item: &Item) -> Result<PathBuf, Complaint> {
    let text = text(item)?;
    let path = PathBuf::from(text);
    if !path.is_absolute() || text.contains('\0') {
        return Err(Complaint::new(
            &item.place,
            format!("{text:?} is no absolute path: a service has no directory of its own"),
        ));
    }
    Ok(path)
}

fn address(item: &Item) -> Result<Option<SocketAddr>, Complaint> {
    let text = text(item)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        Complaint::new(
            &item.place,
            format!(
                "{text:?} is no address with a port; write \"127.0.0.1:7070\" or \"[::1]:7070\""
            ),
        )
    })
}

/// Reads each item of a list. Outside of a file, a list is `a,b` or as TOML writes it: `["a", "b"]`.
fn each<T>(
    item: &Item,
    read: impl Fn(&Item) -> Result<T, Complaint>,
) -> Result<Vec<T>, Vec<Complaint>> {
    let items = match &item.raw {
        Raw::List(items) => items.clone(),
        Raw::Outside(text) if text.trim_start().starts_with('[') => {
            match super::file::value(text, &item.place)?.raw {
                Raw::List(items) => items,
                _ => Vec::new(),
            }
        }
        Raw::Outside(text) => {
            let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
            words
                .map(|word| Item { raw: Raw::Outside(word.to_owned()), place: item.place.clone() })
                .collect()
        }
        raw => {
            let message = format!("{} where a list belongs: [{}]", name(raw), "…");
            return Err(vec![Complaint::new(&item.place, message)]);
        }
    };
    let (mut values, mut complaints) = (Vec::new(), Vec::new());
    for item in &items {
        match read(item) {
            Ok(value) => values.push(value),
            Err(complaint) => complaints.push(complaint),
        }
    }
    if complaints.is_empty() { Ok(values) } else { Err(complaints) }
}
