//! That every key does what it says: first that its value reaches the settings, then, in the last test,
//! where the behaviour behind it is proved.

use super::*;

/// A configuration in which every section has something.
pub const BASE: &str = r#"
[sinks.a]
type = "pyroscope"
url = "https://a"
token_file = "/token"
tls.cert = "/cert"
tls.key = "/key"
tls.ca = "/ca"
tls.server_name = "name"
tenant = "one"
labels.team = "one"
headers.extra = "one"

[sinks.b]
type = "otlp"
url = "http://b"
username = "one"
password_file = "/password"

[sinks.f]
type = "files"
path = "/files"

[http]
listen = "127.0.0.1:7070"
token_file = "/token"
tls.cert = "/cert"
tls.key = "/key"

[labels]
env = "one"
"#;

/// Every key with another value than in [`BASE`].
pub const OTHER: &[(&str, &str)] = &[
    ("sampling.event", "on-cpu"),
    ("sampling.frequency", "49"),
    ("sampling.min_block", "5us"),
    ("sampling.max_blocks", "500"),
    ("sampling.without", "btf"),
    ("window.length", "20s"),
    ("select.pids", "1"),
    ("select.cgroups", "/c"),
    ("select.comms", "c"),
    ("select.users", "root"),
    ("exclude.pids", "1"),
    ("exclude.cgroups", "/c"),
    ("exclude.comms", "c"),
    ("exclude.users", "root"),
    ("exclude.services", "s"),
    ("services", "[{ name = \"x\", match = { exe = \"y\" } }]"),
    ("memory.unwind", "32 MiB"),
    ("memory.symbols", "8 MiB"),
    ("unwind_cache.path", "/cache"),
    ("unwind_cache.size", "1 MiB"),
    ("debug.dirs", "/debug"),
    ("store.enabled", "false"),
    ("store.path", "/store"),
    ("store.size", "2 GiB"),
    ("store.age", "1h"),
    ("sinks.a.url", "https://other"),
    ("sinks.f.path", "/other"),
    ("sinks.a.tenant", "two"),
    ("sinks.a.labels.team", "two"),
    ("sinks.a.headers.extra", "two"),
    ("sinks.a.token_file", "/other"),
    ("sinks.b.username", "two"),
    ("sinks.b.password_file", "/other"),
    ("sinks.a.tls.ca", "/other"),
    ("sinks.a.tls.cert", "/other"),
    ("sinks.a.tls.key", "/other"),
    ("sinks.a.tls.server_name", "other"),
    ("sinks.a.compression", "none"),
    ("sinks.a.timeout", "3s"),
    ("sinks.a.in_flight", "7"),
    ("sinks.a.max_age", "2h"),
    ("sinks.f.size", "2 GiB"),
    ("sinks.f.files", "7"),
    ("http.socket", "/socket"),
    ("http.listen", "127.0.0.1:1"),
    ("http.token_file", "/other"),
    ("http.tls.cert", "/other"),
    ("http.tls.key", "/other"),
    ("budget.cpu", "2%"),
    ("budget.memory", "128 MiB"),
    ("burst.frequency", "500"),
    ("burst.duration", "10s"),
    ("log.level", "debug"),
    ("log.format", "json"),
    ("labels.env", "two"),
    ("sinks.b.type", "parca"),
];

/// Every value reaches the typed settings, and nothing but its own field differs.
#[test]
fn every_key_reaches_the_settings() {
    let mut old = settings(BASE);
    old.by_path.clear();
    for (path, value) in OTHER {
        let new = load(BASE, &[], &[&format!("{path}={value}")]);
        let mut new = new.unwrap_or_else(|complaints| panic!("{path}: {complaints}")).settings;
        new.by_path.clear();
        assert_ne!(old, new, "{path} = {value} changes nothing");
    }
}

/// What the stages are told differs too.
#[test]
fn every_key_of_a_stage_reaches_the_stage() {
    let told = |settings: &Settings| {
        let Settings { sinks, http, budget, burst, log, .. } = settings;
        let line = settings.line();
        format!("{line:?} {:?} {sinks:?} {http:?} {budget:?} {burst:?} {log:?}", settings.store())
    };
    let old = told(&settings(BASE));
    for (path, value) in OTHER {
        let new = load(BASE, &[], &[&format!("{path}={value}")]);
        let new = new.unwrap_or_else(|complaints| panic!("{path}: {complaints}")).settings;
        assert_ne!(old, told(&new), "{path} = {value} reaches no stage");
    }
}
