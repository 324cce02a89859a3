//! The layers of a configuration, laid over each other: defaults, file, environment, flags.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::complaint::{Complaint, Place};
use super::file;
use super::keys::{self, Found, KEYS};
use super::kind::{Item, Raw, name};
use super::suggest;

/// What variables of the environment begin with; `__` stands between the parts of a key.
pub const PREFIX: &str = "PROFILER_AGENT__";

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// Variables of the environment; those without [`PREFIX`] are passed over.
    pub environment: Vec<(String, String)>,
    /// `key=value` each.
    pub flags: Vec<String>,
}

/// What was written, by key, the last layer's; and the complaints about what is no key.
#[derive(Debug, Default)]
pub struct Written {
    /// Values by path.
    pub items: BTreeMap<String, Item>,
    /// Sinks that have a section of their own, even an empty one.
    pub sinks: BTreeMap<String, Place>,
    /// What is wrong.
    pub complaints: Vec<Complaint>,
}

impl Layers {
    /// A file (if there is one), this process's environment and these flags.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<String>) -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
        Self { file, environment: environment.collect(), flags }
    }

    /// Lays them over each other.
    pub fn read(&self) -> Written {
        let mut written = Written::default();
        match self.file.as_deref().map(file::read) {
            Some(Ok(item)) => written.table(&[], item),
            Some(Err(complaints)) => written.complaints.extend(complaints),
            None => {}
        }
        for (variable, value) in &self.environment {
            if let Some(name) = variable.strip_prefix(PREFIX) {
                let path = name.to_lowercase().replace("__", ".");
                written.outside(&path, value, Place::Environment(variable.clone()));
            }
        }
        for flag in &self.flags {
            let place = Place::Flag(flag.clone());
            match flag.split_once('=') {
                Some((path, value)) => written.outside(path.trim(), value, place),
                None => {
                    written.complaints.push(Complaint::new(&place, "no value; write key=value"))
                }
            }
        }
        written
    }
}

impl Written {
    /// A table of a file: a section.
    fn table(&mut self, path: &[&str], item: Item) {
        let Raw::Table(entries) = item.raw else {
            let message =
                format!("{} where a section belongs: [{}]", name(&item.raw), path.join("."));
            self.complaints.push(Complaint::new(&item.place, message));
            return;
        };
        for (key, place, value) in entries {
            let path: Vec<&str> = path.iter().copied().chain([key.as_str()]).collect();
            match keys::find(&path) {
                Found::Nothing => self.unknown(&path, &place),
                // A dot inside of a name would make it another key.
                _ if key.contains('.') || key.is_empty() => self
                    .complaints
                    .push(Complaint::new(&place, format!("{key:?} cannot be a name here"))),
                Found::Key(_) => {
                    self.items.insert(path.join("."), value);
                }
                Found::Section => {
                    if let ["sinks", name] = path[..] {
                        self.sinks.insert(name.to_owned(), place);
                    }
                    self.table(&path, value);
                }
            }
        }
    }

    /// A value of a variable or a flag.
    fn outside(&mut self, path: &str, value: &str, place: Place) {
        let segments: Vec<&str> = path.split('.').collect();
        match keys::find(&segments) {
            Found::Key(_) if !segments.contains(&"") => {
                if let ["sinks", name, ..] = segments[..] {
                    self.sinks.entry(name.to_owned()).or_insert_with(|| place.clone());
                }
                let item = Item { raw: Raw::Outside(value.to_owned()), place };
                self.items.insert(path.to_owned(), item);
            }
            Found::Section => {
                let names = keys::children(&segments).join(", ");
                let message = format!("{path} is a section, not a key; in it are {names}");
                self.complaints.push(Complaint::new(&place, message));
            }
            _ => self.unknown(&segments, &place),
        }
    }

    fn unknown(&mut self, path: &[&str], place: &Place) {
        let (parent, last) = match path.split_last() {
            Some((last, parent)) => (parent, *last),
            None => return,
        };
        let whole = path.join(".");
        let siblings = keys::children(parent);
        // The name may be right and only stand in a wrong section.
        let elsewhere =
            || KEYS.iter().map(|key| key.path).find(|path| path.rsplit('.').next() == Some(last));
        // Where the section is wrong too.
        let anywhere = || suggest::nearest(&whole, KEYS.iter().map(|key| key.path));
        let anywhere = || siblings.is_empty().then(anywhere).flatten();
        let meant = match suggest::nearest(last, siblings.iter().copied()) {
            Some(name) => Some(parent.iter().copied().chain([name]).collect::<Vec<_>>().join(".")),
            None => elsewhere().or_else(anywhere).map(str::to_owned),
        };
        let meant = meant.map(|path| match place {
            Place::Environment(_) => format!("{PREFIX}{}", path.to_uppercase().replace('.', "__")),
            _ => path,
        });
        let hint = meant.map_or_else(
            || format!("; there are {}", siblings.join(", ")),
            |meant| format!("; did you mean {meant}?"),
        );
        self.complaints.push(Complaint::new(place, format!("there is no key {whole}{hint}")));
    }
}
