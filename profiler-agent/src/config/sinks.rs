//! `[sinks.NAME]`: where windows are shipped.

use std::path::PathBuf;

use super::settings::small;
use super::values::Values;
use crate::export::{Credentials, Files, Remote, SinkConfig, SinkKind, Tls};

/// Whether sinks of a type have a key (its path below the sink's).
pub fn takes(ty: &str, key: &str) -> bool {
    let only: &[&str] = match key.split('.').next().unwrap_or_default() {
        "path" | "size" | "files" => &["files"],
        "type" | "labels" | "max_age" => return true,
        _ => &["pyroscope", "parca", "otlp"],
    };
    only.contains(&ty)
}

/// A default that is not that of the table of keys: Pyroscope takes no window that is older than an hour,
/// and each push waits there for a flush of half a second, so that many have to wait at once.
pub fn default_of(ty: &str, key: &str) -> Option<&'static str> {
    match (ty, key) {
        ("pyroscope", "max_age") => Some("1h"),
        ("pyroscope", "in_flight") => Some("32"),
        _ => None,
    }
}

/// Builds a sink of values that were checked; `None` where it has no type.
pub(super) fn build(values: &Values, name: &str) -> Option<SinkConfig> {
    let path = |key: &str| format!("sinks.{name}.{key}");
    let remote = || remote(values, name);
    let kind = match values.text(&path("type"))?.as_str() {
        "pyroscope" => SinkKind::Pyroscope(remote()),
        "parca" => SinkKind::Parca(remote()),
        "otlp" => SinkKind::Otlp(remote()),
        _ => SinkKind::Files(Files {
            path: values.path(&path("path")).flatten()?,
            max_bytes: values.bytes(&path("size")).unwrap_or_default(),
            max_files: small(values, &path("files")) as usize,
        }),
    };
    // The sink's own labels win over those of all sinks.
    let mut labels = values.map("labels");
    labels.extend(values.map(&path("labels")));
    let max_age = values.duration(&path("max_age")).unwrap_or_default();
    Some(SinkConfig { name: name.to_owned(), kind, labels, max_age })
}

fn remote(values: &Values, name: &str) -> Remote {
    let path = |key: &str| format!("sinks.{name}.{key}");
    let text = |key: &str| values.text(&path(key));
    let file = |key: &str| -> Option<PathBuf> { values.path(&path(key)).flatten() };
    let bearer = file("token_file").map(|token_file| Credentials::Bearer { token_file });
    let basic = text("username").zip(file("password_file"));
    let basic =
        basic.map(|(username, password_file)| Credentials::Basic { username, password_file });
    Remote {
        url: text("url").unwrap_or_default(),
        tenant: text("tenant"),
        headers: values.map(&path("headers")),
        credentials: bearer.or(basic),
        tls: Tls {
            ca: file("tls.ca"),
            cert: file("tls.cert"),
            key: file("tls.key"),
            server_name: text("tls.server_name"),
        },
        compression: text("compression").as_deref() != Some("none"),
        timeout: values.duration(&path("timeout")).unwrap_or_default(),
        in_flight: small(values, &path("in_flight")) as usize,
    }
}
