//! Every key that there is: what it takes, what it is when nobody says, and whether it can change while
//! the agent runs. The documentation's table is checked against this one.

use std::time::Duration;

use super::kind::Kind;

/// A key.
#[derive(Debug)]
pub struct Key {
    /// Its path; `*` stands for a name that the user chooses.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Its default, as a flag would say it; `None` where there is none.
    pub default: Option<&'static str>,
    /// What a change of it takes.
    pub change: Change,
    /// What it is for, in one sentence of Markdown.
    pub says: &'static str,
}

/// What a change of a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A reload (SIGHUP).
    Reload,
    /// A restart.
    Restart,
}

use Change::{Reload, Restart};
use Kind::{Address, Bytes, Choice, Flag, Number, Numbers, Path, Paths, Rules, Share, Text, Texts};

const fn key(
    path: &'static str,
    kind: Kind,
    default: &'static str,
    change: Change,
    says: &'static str,
) -> Key {
    Key { path, kind, default: Some(default), change, says }
}

/// A key without a default.
const fn open(path: &'static str, kind: Kind, change: Change, says: &'static str) -> Key {
    Key { path, kind, default: None, change, says }
}

const fn time(least: Duration, most: Duration) -> Kind {
    Kind::Duration(least, most)
}

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;
const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
const YEAR: Duration = seconds(365 * 86_400);

/// Types of sinks.
pub const SINK_TYPES: &[&str] = &["pyroscope", "parca", "otlp", "files"];

/// All keys, in the order in which they are shown. A table: one key a paragraph.
#[rustfmt::skip]
pub static KEYS: &[Key] = &[
    key("sampling.event", Choice(&["wall", "on-cpu", "off-cpu"]), "wall", Restart,
        "What is recorded: time on the CPU, time off it, or both."),
    key("sampling.frequency", Number(1, 10_000), "99", Reload,
        "On-CPU samples per second and CPU. The budget may lower it for a while."),
    key("sampling.min_block", time(Duration::ZERO, seconds(1)), "1us", Reload,
        "Blocks shorter than this are counted, but no stack of them is kept."),
    key("sampling.max_blocks", Number(10, 1_000_000), "2000", Reload,
        "Blocks per second and CPU whose stack is kept; the time of the rest is shared out."),
    key("sampling.without", Texts, "[]", Restart,
        "Kernel features to do without although they are there; for tests of the fallbacks."),
    key("window.length", time(seconds(1), seconds(600)), "10s", Restart,
        "How much time one profile covers. Windows begin at multiples of it."),
    key("select.pids", Numbers, "[]", Reload, "Only these processes; empty for all."),
    key("select.cgroups", Paths, "[]", Restart,
        "Only processes in these cgroups of the v2 hierarchy, or below them; at most 8."),
    key("select.comms", Texts, "[]", Restart, "Only threads of exactly these names; at most 8."),
    key("select.users", Texts, "[]", Restart, "Only processes of these users, names or numbers; at most 8."),
    key("exclude.pids", Numbers, "[]", Reload, "Not these processes."),
    key("exclude.cgroups", Paths, "[]", Restart, "Not processes in these cgroups, or below them; at most 8."),
    key("exclude.comms", Texts, "[]", Restart, "Not threads of exactly these names; at most 8."),
    key("exclude.users", Texts, "[]", Restart, "Not processes of these users, names or numbers; at most 8."),
    key("exclude.services", Texts, "[]", Reload,
        "Not processes of these services (globs). They are left out after the kernel, so prefer the other filters."),
    key("services", Rules, "[]", Reload,
        "Rules that name the service of a process; the first that matches decides."),
    key("memory.unwind", Bytes(8 * MIB, 64 << 30), "64 MiB", Restart,
        "What unwind tables may take: in the agent, and in the kernel, there a fourth of `budget.memory` at most."),
    key("memory.symbols", Bytes(0, 64 << 30), "24 MiB", Restart,
        "What debug information may take; with `0 B`, functions have names but no lines."),
    key("unwind_cache.path", Path, "/var/cache/profiler-agent/unwind", Restart,
        "Where unwind tables are kept for the next start; empty for nowhere."),
    key("unwind_cache.size", Bytes(0, TIB), "128 MiB", Restart, "What they may take there; `0 B` for none."),
    key("debug.dirs", Paths, r#"["/usr/lib/debug"]"#, Restart, "Where separate debug files are looked for."),
    key("store.enabled", Flag, "true", Restart,
        "Whether windows are kept on disk; without, a few are kept in memory for the sinks."),
    key("store.path", Path, "/var/lib/profiler-agent/store", Restart,
        "The directory of the flight recorder."),
    key("store.size", Bytes(16 * MIB, 64 * TIB), "1 GiB", Reload,
        "What it may take; the oldest windows go first."),
    key("store.age", time(seconds(60), YEAR), "24h", Reload, "How long windows are kept."),
    open("sinks.*.type", Choice(SINK_TYPES), Reload, "What the sink speaks. Needed."),
    open("sinks.*.url", Text, Reload,
        "Where the server is, `http://` or `https://`. Needed, but for `files`."),
    open("sinks.*.path", Path, Reload, "`files`: the directory. Needed there."),
    open("sinks.*.tenant", Text, Reload, "The tenant, sent as `X-Scope-OrgID`."),
    open("sinks.*.labels.*", Text, Reload, "Labels of every series to this sink, over those of `[labels]`."),
    open("sinks.*.headers.*", Text, Reload,
        "Further headers of every request. `config show` hides their values."),
    open("sinks.*.token_file", Path, Reload, "A file with the bearer token; read again when it changes."),
    open("sinks.*.username", Text, Reload, "Name for basic authentication, together with `password_file`."),
    open("sinks.*.password_file", Path, Reload, "A file with the password; read again when it changes."),
    open("sinks.*.tls.ca", Path, Reload,
        "Certificates (PEM) of the authorities to trust, instead of the system's."),
    open("sinks.*.tls.cert", Path, Reload, "The client's certificate (PEM), together with `tls.key`."),
    open("sinks.*.tls.key", Path, Reload, "The key of the client's certificate (PEM)."),
    open("sinks.*.tls.server_name", Text, Reload,
        "The name that the server's certificate must have, when it is not that of the URL."),
    key("sinks.*.compression", Choice(&["gzip", "none"]), "gzip", Reload, "How requests are packed."),
    key("sinks.*.timeout", time(Duration::from_millis(100), seconds(600)), "10s", Reload,
        "How long one request may take."),
    key("sinks.*.in_flight", Number(1, 256), "4", Reload,
        "Requests that may be under way at once; 32 for `pyroscope`, where each waits for a flush."),
    key("sinks.*.max_age", time(seconds(10), YEAR), "24h", Reload,
        "Windows that ended longer ago are not shipped any more; `1h` for `pyroscope`, which takes none that are older."),
    key("sinks.*.size", Bytes(MIB, 64 * TIB), "1 GiB", Reload,
        "`files`: what the directory may take; the oldest files go first."),
    key("sinks.*.files", Number(1, 10_000_000), "8640", Reload,
        "`files`: how many there may be, one for each window."),
    key("http.socket", Path, "/run/profiler-agent/agent.sock", Restart,
        "The Unix socket that `query`, `top` and `burst` use; empty for none."),
    key("http.listen", Address, "", Restart,
        "A TCP address to listen on as well; beyond loopback only with `tls` and `token_file`."),
    key("http.token_file", Path, "", Restart, "A file with the token that TCP clients must send."),
    key("http.tls.cert", Path, "", Restart, "The certificate for TCP (PEM), together with `http.tls.key`."),
    key("http.tls.key", Path, "", Restart, "Its key (PEM)."),
    key("budget.cpu", Share, "1%", Reload,
        "What the agent and its BPF programs may take of all CPUs; past it, the rates give way."),
    key("budget.memory", Bytes(16 * MIB, TIB), "96 MiB", Reload, "What the agent may take of memory."),
    key("burst.frequency", Number(1, 10_000), "1000", Reload,
        "Samples per second and CPU of a burst (SIGUSR1)."),
    key("burst.duration", time(seconds(1), seconds(600)), "30s", Reload, "How long a burst takes."),
    key("log.level", Choice(&["error", "warn", "info", "debug", "trace"]), "info", Reload,
        "How much is logged, on standard error."),
    key("log.format", Choice(&["text", "json"]), "text", Restart,
        "Lines for people, or one JSON object each."),
    open("labels.*", Text, Reload, "Labels of every series, such as `env = \"prod\"`."),
];

/// What a path is.
#[derive(Clone, Copy, Debug)]
pub enum Found {
    /// A key.
    Key(&'static Key),
    /// The way to keys.
    Section,
    /// Nothing.
    Nothing,
}

/// Looks a path up.
pub fn find(path: &[&str]) -> Found {
    let mut found = Found::Nothing;
    for key in KEYS {
        match after(key, path) {
            Some(None) => return Found::Key(key),
            Some(Some(_)) => found = Found::Section,
            None => {}
        }
    }
    found
}

/// The names that may follow a path; those that the user chooses are not among them.
pub fn children(path: &[&str]) -> Vec<&'static str> {
    let mut names: Vec<&str> = KEYS.iter().filter_map(|key| after(key, path)?).collect();
    names.retain(|name| *name != "*");
    names.dedup();
    names
}

/// Whether the key lies at the path or below it, and the segment that comes next there.
fn after(key: &'static Key, path: &[&str]) -> Option<Option<&'static str>> {
    let mut segments = key.path.split('.');
    for name in path {
        let segment = segments.next()?;
        if segment != "*" && segment != *name {
            return None;
        }
    }
    Some(segments.next())
}
