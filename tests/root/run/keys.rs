//! What keys of the configuration do, seen from outside. The list of all keys with their proofs is in
//! profiler-agent/src/config/tests/behaviour.rs.

use std::collections::BTreeSet;
use std::time::Duration;

use profiler_proto::pprof::Profile;
use profiler_tests::daemon::Room;
use profiler_tests::program::Program;
use profiler_tests::{agent, stacks, workload};

use super::windows::{samples_of, wait_for};
use crate::host;

const NONE: &[&str] = &[];

/// The comments of a window.
fn comments(window: &Profile) -> Vec<String> {
    let text = |index: &i64| window.string_table[usize::try_from(*index).unwrap()].clone();
    window.comment.iter().map(text).collect()
}

/// The values of a label in a window.
fn labels(window: &Profile, key: &str) -> BTreeSet<String> {
    stacks::of(window).iter().map(|stack| stack.label(key).to_owned()).collect()
}

/// Runs the agent with this configuration until it has so many windows, and ends it in order.
fn windows_of(room: &Room, count: usize) -> Vec<Profile> {
    let mut agent = room.start(NONE).unwrap();
    wait_for(room, count, Duration::from_secs(40)).unwrap();
    assert!(agent.terminate(Duration::from_secs(30)).unwrap().success(), "{}", room.log());
    room.windows().unwrap()
}

#[test]
fn sampling_windows_memory_and_log_are_as_configured() {
    let _host = host::claim();
    let room = Room::new().unwrap();
    let _load = Program::start(&workload::SPINNER, &["120"]).unwrap();
    let text = r#"
[sampling]
event = "on-cpu"
frequency = 250
without = ["task-pt-regs"]
[unwind_cache]
path = "DIR/unwind"
size = "8 MiB"
[budget]
memory = "16 MiB"
[log]
level = "debug"
format = "json"
"#;
    room.configure(text).unwrap();
    let windows = windows_of(&room, 3);
    let whole = &windows[1];
    let said = comments(whole);
    for expected in ["event: on-cpu", "frequency: 250 Hz"] {
        assert!(said.iter().any(|c| c == expected), "{expected}: {said:?}");
    }
    assert_eq!(whole.duration_nanos / 100_000_000, 20, "window.length");
    let samples = samples_of(whole, "spinner");
    assert!((60..=520).contains(&samples), "{samples} samples of one busy thread in two seconds");
    assert!(stacks::of(whole).iter().all(|stack| stack.value("off_cpu") == 0));
    assert!(std::fs::read_dir(room.path("unwind")).unwrap().count() > 0, "unwind_cache.path");
    let said: Vec<String> = windows.iter().flat_map(comments).collect();
    let is_tight = |c: &String| c.contains("of a budget of 16 MiB: caches are given up");
    assert!(said.iter().any(is_tight), "budget.memory: {said:?}");

    let log = room.log();
    let lines: Vec<&str> = log.lines().filter(|line| !line.is_empty()).collect();
    let is_object = |line: &&str| line.starts_with('{') && line.ends_with('}');
    assert!(!lines.is_empty() && lines.iter().all(is_object), "log.format: {log}");
    assert!(log.to_lowercase().contains("debug"), "log.level: {log}");
}

#[test]
fn filters_and_services_are_as_configured() {
    let _host = host::claim();
    let room = Room::new().unwrap();
    let wanted = Program::start(&workload::SPINNER, &["120"]).unwrap();
    let _other = Program::start(&workload::SATURATE, NONE).unwrap();
    let rule = "[[services]]\nname = \"turning-{comm}\"\nmatch = { exe = \"spin*\" }\n";

    let pid = wanted.pid().to_string();
    let all = windows_of(configured(&room, rule), 2).remove(1);
    assert!(samples_of(&all, "spinner") > 0 && samples_of(&all, "saturate") > 0);
    assert!(labels(&all, "service").contains("turning-spinner"), "{:?}", labels(&all, "service"));

    for (filter, has_spinner, has_saturate) in [
        (format!("[select]\npids = [{pid}]\n"), true, false),
        ("[select]\ncomms = [\"saturate\"]\n".to_owned(), false, true),
        ("[select]\nusers = [\"daemon\"]\n".to_owned(), false, false),
        (format!("[exclude]\npids = [{pid}]\n"), false, true),
        ("[exclude]\ncomms = [\"saturate\"]\n".to_owned(), true, false),
        ("[exclude]\nusers = [\"root\"]\n".to_owned(), false, false),
        ("[exclude]\nservices = [\"turning-*\"]\n".to_owned(), false, true),
    ] {
        let room = Room::new().unwrap();
        let windows = windows_of(configured(&room, &format!("{filter}{rule}")), 2);
        let window = &windows[1];
        let found = (samples_of(window, "spinner") > 0, samples_of(window, "saturate") > 0);
        assert_eq!(found, (has_spinner, has_saturate), "{filter}\n{}", room.log());
    }
}

fn configured<'a>(room: &'a Room, text: &str) -> &'a Room {
    room.configure(text).unwrap();
    room
}

/// The environment and flags reach the agent.
#[test]
fn what_cannot_be_is_refused_before_anything_is_started() {
    let _host = host::claim();
    let room = Room::new().unwrap();
    let refused = agent::finish(
        std::process::Command::new(agent::binary().unwrap())
            .args(["run", "--config"])
            .arg(room.path("agent.toml"))
            .args(["--set", "sampling.frequency=0"])
            .env("PROFILER_AGENT__STORE__SIZE", "12"),
    )
    .unwrap();
    assert!(!refused.status.success());
    for expected in
        ["environment PROFILER_AGENT__STORE__SIZE", "has no unit", "--set sampling.frequency"]
    {
        assert!(refused.stderr.contains(expected), "{expected}: {}", refused.stderr);
    }
}

#[test]
fn without_a_store_sinks_have_windows_and_short_blocks_are_only_counted() {
    let _host = host::claim();
    let room = Room::new().unwrap();
    let _short = Program::start(&workload::SWITCHER, &["8"]).unwrap();
    let _long = Program::start(&workload::HANGER, NONE).unwrap();
    room.configure("[sampling]\nmin_block = \"1s\"\n").unwrap();
    let mut agent = room.start(&["--set", "store.enabled=false"]).unwrap();
    let windows = wait_for(&room, 3, Duration::from_secs(40)).unwrap();
    assert!(!room.path("store").exists());
    assert!(agent.terminate(Duration::from_secs(30)).unwrap().success(), "{}", room.log());

    let window = &windows[1];
    let blocked = |function: &str| -> u64 {
        let stacks = stacks::of(window).into_iter().filter(|stack| stack.has(function));
        stacks.map(|stack| stack.value("off_cpu")).sum()
    };
    assert_eq!(blocked("hand_over"), 0, "sampling.min_block");
    assert!(blocked("hang_site") > 1_900_000_000, "{} ns", blocked("hang_site"));
    let said = comments(window);
    let short = said.iter().find_map(|c| c.strip_prefix("count.blocks_shorter_than_minimum: "));
    assert!(short.is_some_and(|n| n.parse::<u64>().unwrap() > 1000), "{said:?}");
}
