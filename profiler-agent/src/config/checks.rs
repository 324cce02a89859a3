//! What no single value tells: values that do not go together, and names that nobody would take.

use super::complaint::{Complaint, Place};
use super::kind::Parsed;
use super::settings;
use super::sinks;
use super::suggest;
use super::values::{Entry, Values};
use crate::kernel::plan::Plan;
use crate::kernel::user;

/// Labels of our own that the servers' limit of 30 leaves room for.
const MOST_LABELS: usize = 16;

/// Bytes of a label's value that every server takes.
const MOST_LABEL_BYTES: usize = 2048;

/// Labels that we give every series ourselves.
const OUR_LABELS: &[&str] = &["__name__", "service_name", "comm", "pid", "tid", "thread", "state"];

/// Everything that is wrong with the values together.
pub fn check(values: &Values) -> Vec<Complaint> {
    let mut found = Vec::new();
    sampling(values, &mut found);
    filters(values, &mut found);
    store(values, &mut found);
    http(values, &mut found);
    labels(values, "labels", &mut found);
    for (name, place) in &values.sinks {
        sink(values, name, place, &mut found);
    }
    found
}

fn sampling(values: &Values, found: &mut Vec<Complaint>) {
    let Some(Entry { value: Parsed::Texts(names), place, .. }) = values.get("sampling.without")
    else {
        return;
    };
    for name in names {
        if let Err(error) = name.parse::<crate::kernel::plan::Feature>() {
            found.push(Complaint::new(place, format!("sampling.without: {name:?}: {error}")));
        }
    }
}

/// What the kernel side cannot compare is said by its own check.
fn filters(values: &Values, found: &mut Vec<Complaint>) {
    for section in ["select", "exclude"] {
        let path = |key: &str| format!("{section}.{key}");
        let cgroups = values.paths(&path("cgroups")).unwrap_or_default();
        let comms = values.texts(&path("comms")).unwrap_or_default();
        let users = values.texts(&path("users")).unwrap_or_default();
        let unknown = users.iter().find_map(|name| user::number(name).err());
        if let (Some(error), Some(entry)) = (unknown, values.get(&path("users"))) {
            found.push(Complaint::new(&entry.place, format!("{}: {error}", path("users"))));
        }
        let users = vec![0; users.len()];
        for (key, plan) in [
            ("users", Plan { users, ..Plan::default() }),
            ("cgroups", Plan { cgroups, ..Plan::default() }),
            ("comms", Plan { comms, ..Plan::default() }),
        ] {
            if let (Err(error), Some(entry)) = (plan.validate(), values.get(&path(key))) {
                found.push(Complaint::new(&entry.place, format!("{}: {error}", path(key))));
            }
        }
    }
}

fn store(values: &Values, found: &mut Vec<Complaint>) {
    let needed = values.flag("store.enabled") == Some(true);
    if let (true, Some(Entry { value: Parsed::Path(None), place, .. })) =
        (needed, values.get("store.path"))
    {
        let message = "store.path: empty; to keep nothing on disk, set store.enabled = false";
        found.push(Complaint::new(place, message));
    }
    let (Some(age), Some(length)) =
        (values.duration("store.age"), values.duration("window.length"))
    else {
        return;
    };
    if let (true, Some(entry)) = (age < length, values.get("store.age")) {
        found
            .push(Complaint::new(&entry.place, "store.age: shorter than a window (window.length)"));
    }
}

fn http(values: &Values, found: &mut Vec<Complaint>) {
    pair(values, "http.tls.cert", "http.tls.key", found);
    let has = |path: &str| values.path(path).flatten().is_some();
    // A half of the pair is complained of already.
    if has("http.tls.cert") != has("http.tls.key") {
        return;
    }
    if let (Err(error), Some(entry)) = (settings::http(values).check(), values.get("http.listen")) {
        let tls = values.get("http.tls.cert").filter(|_| entry.place == Place::Default);
        found.push(Complaint::new(&tls.unwrap_or(entry).place, error.to_string()));
    }
}

/// Two paths of which each needs the other.
fn pair(values: &Values, one: &str, other: &str, found: &mut Vec<Complaint>) {
    for (given, missing) in [(one, other), (other, one)] {
        let has = |path| match values.get(path).map(|entry| &entry.value) {
            Some(Parsed::Path(path)) => path.is_some(),
            Some(_) => true,
            None => values.has(path),
        };
        if let (true, false, Some(entry)) = (has(given), has(missing), values.get(given)) {
            found.push(Complaint::new(&entry.place, format!("{given} needs {missing} as well")));
        }
    }
}

fn labels(values: &Values, section: &str, found: &mut Vec<Complaint>) {
    let mut count = 0;
    for (name, entry) in values.below(section) {
        let Parsed::Text(value) = &entry.value else { continue };
        count += 1;
        let wrong = if !is_label_name(name) {
            "no name of a label: letters, digits and underscores, no digit first"
        } else if OUR_LABELS.contains(&name) {
            "a label that the agent gives itself"
        } else if value.is_empty() || value.len() > MOST_LABEL_BYTES {
            "a label's value has 1 to 2048 bytes"
        } else if count > MOST_LABELS {
            "too many labels: servers take 30, and 16 may be yours"
        } else {
            continue;
        };
        found.push(Complaint::new(&entry.place, format!("{section}.{name}: {wrong}")));
    }
}

fn is_label_name(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn sink(values: &Values, name: &str, place: &Place, found: &mut Vec<Complaint>) {
    let path = |key: &str| format!("sinks.{name}.{key}");
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(allowed) {
        let message =
            format!("sinks.{name}: a sink's name has lower-case letters, digits, - and _");
        found.push(Complaint::new(place, message));
    }
    let Some(ty) = values.text(&path("type")) else {
        if !values.has(&path("type")) {
            let types = super::keys::SINK_TYPES.join(", ");
            found.push(Complaint::new(
                place,
                format!("sinks.{name} has no type; there are {types}"),
            ));
        }
        return;
    };
    for (key, entry) in values.below(&format!("sinks.{name}")) {
        if !sinks::takes(&ty, key) {
            let message = format!("{}: sinks of type {ty} have no such key", path(key));
            found.push(Complaint::new(&entry.place, message));
        }
    }
    let needed = if ty == "files" { "path" } else { "url" };
    if !values.has(&path(needed)) {
        found.push(Complaint::new(place, format!("{} is needed for type {ty}", path(needed))));
    }
    url(values, name, found);
    credentials(values, name, found);
    labels(values, &path("labels"), found);
    for (header, entry) in values.below(&path("headers")) {
        let Parsed::Text(value) = &entry.value else { continue };
        let name = http::HeaderName::from_bytes(header.as_bytes());
        if name.is_err() || http::HeaderValue::from_str(value).is_err() {
            let message = format!("{}.{header}: no header that can be sent", path("headers"));
            found.push(Complaint::new(&entry.place, message));
        }
    }
}

fn url(values: &Values, name: &str, found: &mut Vec<Complaint>) {
    let path = format!("sinks.{name}.url");
    let Some(Entry { value: Parsed::Text(url), place, .. }) = values.get(&path) else { return };
    let mut complain =
        |message: &str| found.push(Complaint::new(place, format!("{path}: {message}")));
    let Ok(uri) = url.parse::<http::Uri>() else {
        return complain("no URL; write \"http://HOST:PORT\" or \"https://HOST:PORT\"");
    };
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(host)) if host.as_str().contains('@') => {
            complain("a password in a URL is seen by everybody; use username and password_file");
        }
        (Some("http" | "https"), Some(_)) => {}
        (Some(scheme), _) if suggest::nearest(scheme, ["http", "https"]).is_none() => {
            complain("only http:// and https:// can be spoken");
        }
        _ => complain("no URL; write \"http://HOST:PORT\" or \"https://HOST:PORT\""),
    }
    let plain = uri.scheme_str() == Some("http");
    for (key, entry) in values.below(&format!("sinks.{name}.tls")) {
        if plain {
            let message = format!("sinks.{name}.tls.{key}: no use without https:// in {path}");
            found.push(Complaint::new(&entry.place, message));
        }
    }
}

fn credentials(values: &Values, name: &str, found: &mut Vec<Complaint>) {
    let path = |key: &str| format!("sinks.{name}.{key}");
    pair(values, &path("username"), &path("password_file"), found);
    pair(values, &path("tls.cert"), &path("tls.key"), found);
    if let (Some(entry), Some(_)) = (values.get(&path("token_file")), values.get(&path("username")))
    {
        let message = format!("{}: either a token or a name and password", path("token_file"));
        found.push(Complaint::new(&entry.place, message));
    }
}
