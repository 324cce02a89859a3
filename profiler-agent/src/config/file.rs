//! A TOML file, as values with their places.

use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::complaint::{Complaint, Place, SourceFile};
use super::kind::{Item, Raw};

/// More is no configuration, but a wrong file.
const MOST_BYTES: u64 = 1 << 20;

/// Reads a file.
///
/// # Errors
/// One complaint for a file that cannot be read, each of them for one that is no TOML.
pub fn read(path: &Path) -> Result<Item, Vec<Complaint>> {
    let empty = Arc::new(SourceFile { path: path.to_owned(), text: String::new() });
    let complain = |message| vec![Complaint::new(&Place::File(Arc::clone(&empty), 0..0), message)];
    match std::fs::metadata(path) {
        Ok(found) if found.len() > MOST_BYTES => {
            return Err(complain(format!("{} bytes are no configuration", found.len())));
        }
        _ => {}
    }
    match std::fs::read_to_string(path) {
        Ok(text) => parse(SourceFile { path: path.to_owned(), text }),
        Err(error) => Err(complain(format!("cannot be read: {error}"))),
    }
}

/// Reads the text of a file.
///
/// # Errors
/// Every place where it is no TOML.
pub fn parse(file: SourceFile) -> Result<Item, Vec<Complaint>> {
    let file = Arc::new(file);
    let at = |span| Place::File(Arc::clone(&file), span);
    let (table, errors) = DeTable::parse_recoverable(&file.text);
    if !errors.is_empty() {
        let complaints = errors.iter().map(|error| {
            let end = file.text.len();
            Complaint::new(&at(error.span().unwrap_or(end..end)), error.message())
        });
        return Err(complaints.collect());
    }
    let span = table.span();
    Ok(Item { raw: raw_table(table.get_ref(), &at), place: at(span) })
}

/// Reads one value that stands in a flag or a variable; all of it has that place.
///
/// # Errors
/// Where it is no TOML.
pub fn value(text: &str, place: &Place) -> Result<Item, Vec<Complaint>> {
    match DeValue::parse(text) {
        Ok(value) => Ok(item(&value, &|_| place.clone())),
        Err(error) => Err(vec![Complaint::new(place, error.message())]),
    }
}

fn item(value: &Spanned<DeValue<'_>>, at: &impl Fn(std::ops::Range<usize>) -> Place) -> Item {
    let raw = match value.get_ref() {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            parsed.map_or(Raw::Other("a number of more than 64 bits"), Raw::Number)
        }
        DeValue::Float(_) => Raw::Other("a number with a fraction"),
        DeValue::Boolean(flag) => Raw::Flag(*flag),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Array(items) => Raw::List(items.iter().map(|value| item(value, at)).collect()),
        DeValue::Table(table) => raw_table(table, at),
    };
    Item { raw, place: at(value.span()) }
}

fn raw_table(table: &DeTable<'_>, at: &impl Fn(std::ops::Range<usize>) -> Place) -> Raw {
    let entries = table.iter();
    Raw::Table(
        entries
            .map(|(key, value)| (key.get_ref().to_string(), at(key.span()), item(value, at)))
            .collect(),
    )
}
