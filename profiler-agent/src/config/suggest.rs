//! What somebody may have meant.

/// As unlike as this, a name is no help any more (1 is the same).
const ALIKE: f64 = 0.8;

/// The name that is most like `text`, if one is.
pub fn nearest<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let alike = |name: &str| strsim::jaro_winkler(text, name);
    names
        .into_iter()
        .map(|name| (alike(name), name))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// The end of a message: `; did you mean "x"?`, or all names where none is alike.
pub fn among<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match nearest(text, names.iter().copied()) {
        Some(name) => format!("; did you mean {name:?}?"),
        None => format!("; there are {}", names.join(", ")),
    }
}
