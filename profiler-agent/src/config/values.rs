//! The values in force, by key, each with its source.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::complaint::{Complaint, Place};
use super::keys::{self, Found, KEYS, Key};
use super::kind::{Item, Parsed, Raw};
use super::layers::Written;
use super::sinks;
use super::units::Share;
use crate::process::service::Rule;

/// A value in force.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What its key is.
    pub key: &'static Key,
    /// The value.
    pub value: Parsed,
    /// Where it was written.
    pub place: Place,
}

/// All values in force, by path.
#[derive(Clone, Debug, Default)]
pub struct Values {
    entries: BTreeMap<String, Entry>,
    /// Paths that were written and cannot be read.
    unread: BTreeSet<String>,
    /// Names of the sinks, and where they were first named.
    pub sinks: BTreeMap<String, Place>,
}

impl Values {
    /// Reads what was written, and fills in the defaults. What cannot be read is complained of and is
    /// not among the values.
    pub fn read(written: Written) -> (Self, Vec<Complaint>) {
        let Written { items, sinks, mut complaints } = written;
        let mut values = Self { sinks, ..Self::default() };
        for (path, item) in items {
            values.add(path, &item, &mut complaints);
        }
        for key in KEYS {
            for (path, default) in values.defaults_of(key) {
                if !values.entries.contains_key(&path) {
                    let item =
                        Item { raw: Raw::Outside(default.to_owned()), place: Place::Default };
                    values.add(path, &item, &mut complaints);
                }
            }
        }
        (values, complaints)
    }

    fn add(&mut self, path: String, item: &Item, complaints: &mut Vec<Complaint>) {
        let segments: Vec<&str> = path.split('.').collect();
        let Found::Key(key) = keys::find(&segments) else { return };
        match key.kind.parse(item) {
            Ok(value) => {
                let place = item.place.clone();
                self.entries.insert(path, Entry { key, value, place });
            }
            Err(more) => {
                let named =
                    |c: Complaint| Complaint { message: format!("{path}: {}", c.message), ..c };
                complaints.extend(more.into_iter().map(named));
                self.unread.insert(path);
            }
        }
    }

    /// Whether a path was written, well or badly, or has a default.
    pub fn has(&self, path: &str) -> bool {
        self.entries.contains_key(path) || self.unread.contains(path)
    }

    /// The paths for which a key has a default, with it: one path, or one for each sink that takes it.
    fn defaults_of(&self, key: &Key) -> Vec<(String, &'static str)> {
        let Some(default) = key.default else { return Vec::new() };
        let Some(rest) = key.path.strip_prefix("sinks.*.") else {
            return vec![(key.path.to_owned(), default)];
        };
        let of_sink = |name: &String| {
            let ty = self.text(&format!("sinks.{name}.type"))?;
            let default = sinks::default_of(&ty, rest).unwrap_or(default);
            sinks::takes(&ty, rest).then(|| (format!("sinks.{name}.{rest}"), default))
        };
        self.sinks.keys().filter_map(of_sink).collect()
    }

    /// The value of a path.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// All of them, in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// What stands below a path, by the rest of its name.
    pub fn below<'a>(&'a self, path: &str) -> impl Iterator<Item = (&'a str, &'a Entry)> + use<'a> {
        let prefix = format!("{path}.");
        self.iter().filter_map(move |(path, entry)| Some((path.strip_prefix(&prefix)?, entry)))
    }

    /// Texts below a path, by their names: labels, headers.
    pub fn map(&self, path: &str) -> BTreeMap<String, String> {
        let texts = self.below(path).filter_map(|(name, entry)| match &entry.value {
            Parsed::Text(text) => Some((name.to_owned(), text.clone())),
            _ => None,
        });
        texts.collect()
    }
}

/// A getter for each kind of value: `None` where the key has no value, or one of another kind.
macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident: $variant:ident -> $type:ty;)*) => {
        impl Values {
            $($(#[$doc])* pub fn $name(&self, path: &str) -> Option<$type> {
                match &self.get(path)?.value {
                    Parsed::$variant(value) => Some(value.clone()),
                    _ => None,
                }
            })*
        }
    };
}

getters! {
    /// A text or a choice.
    text: Text -> String;
    /// A whole number.
    number: Number -> u64;
    /// A duration.
    duration: Duration -> Duration;
    /// A size in bytes.
    bytes: Bytes -> u64;
    /// A share.
    share: Share -> Share;
    /// True or false.
    flag: Flag -> bool;
    /// A path, which may be none.
    path: Path -> Option<PathBuf>;
    /// An address, which may be none.
    address: Address -> Option<SocketAddr>;
    /// A list of texts.
    texts: Texts -> Vec<String>;
    /// A list of numbers.
    numbers: Numbers -> Vec<u32>;
    /// A list of paths.
    paths: Paths -> Vec<PathBuf>;
    /// Rules that name services.
    rules: Rules -> Vec<Rule>;
}
