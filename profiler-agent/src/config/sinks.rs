//! `[sinks.NAME]`: where windows are shipped.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::settings::small;
use super::values::Values;

/// A sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    /// Its name, by which the store keeps its cursor.
    pub name: String,
    /// What it speaks, and where.
    pub target: Target,
    /// Labels of every series, over those of all sinks.
    pub labels: BTreeMap<String, String>,
    /// How long one request may take.
    pub timeout: Duration,
    /// Requests that may be under way at once.
    pub in_flight: u32,
    /// Older windows are not shipped any more.
    pub max_age: Duration,
}

/// What a sink speaks, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A Pyroscope server, and the tenant there.
    Pyroscope(Server, Option<String>),
    /// A Parca server.
    Parca(Server),
    /// Whatever takes OTLP profiles over gRPC.
    Otlp(Server),
    /// A directory, the bytes that it may take, and how many files there may be.
    Files(PathBuf, u64, u32),
}

/// A server, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where it is.
    pub url: String,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
    /// Who we are.
    pub credentials: Credentials,
    /// Certificates.
    pub tls: Tls,
    /// Whether requests are packed.
    pub gzip: bool,
}

/// Who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody.
    None,
    /// Who has the token in this file.
    Token(PathBuf),
    /// This name, with the password in this file.
    Basic(String, PathBuf),
}

/// Certificates; nothing of it means those of the system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Authorities to trust.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// The name that the server's certificate must have.
    pub server_name: Option<String>,
}

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
pub(super) fn build(values: &Values, name: &str) -> Option<Sink> {
    let path = |key: &str| format!("sinks.{name}.{key}");
    let server = || server(values, name);
    let target = match values.text(&path("type"))?.as_str() {
        "pyroscope" => Target::Pyroscope(server(), values.text(&path("tenant"))),
        "parca" => Target::Parca(server()),
        "otlp" => Target::Otlp(server()),
        _ => Target::Files(
            values.path(&path("path")).flatten()?,
            values.bytes(&path("size")).unwrap_or_default(),
            small(values, &path("files")),
        ),
    };
    Some(Sink {
        name: name.to_owned(),
        target,
        labels: values.map(&path("labels")),
        timeout: values.duration(&path("timeout")).unwrap_or_default(),
        in_flight: small(values, &path("in_flight")),
        max_age: values.duration(&path("max_age")).unwrap_or_default(),
    })
}

fn server(values: &Values, name: &str) -> Server {
    let path = |key: &str| format!("sinks.{name}.{key}");
    let file = |key: &str| values.path(&path(key)).flatten();
    let basic = values.text(&path("username")).zip(file("password_file"));
    Server {
        url: values.text(&path("url")).unwrap_or_default(),
        headers: values.map(&path("headers")),
        credentials: match (file("token_file"), basic) {
            (Some(token), _) => Credentials::Token(token),
            (None, Some((user, password))) => Credentials::Basic(user, password),
            (None, None) => Credentials::None,
        },
        tls: Tls {
            ca: file("tls.ca"),
            client: file("tls.cert").zip(file("tls.key")),
            server_name: values.text(&path("tls.server_name")),
        },
        gzip: values.text(&path("compression")).as_deref() != Some("none"),
    }
}
