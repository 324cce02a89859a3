//! What is in force when nobody says anything.

use super::super::keys::KEYS;
use super::super::settings::LogLevel;
use super::super::units::Share;
use super::*;
use crate::model::choice::EventChoice;
use std::path::PathBuf;
use std::time::Duration;

#[test]
fn nothing_written_is_right_and_useful() {
    let settings = Config::load(&Layers::default()).unwrap().settings;
    assert_eq!(settings, self::settings(""));
    assert_eq!(settings.sampling.event, EventChoice::Wall);
    assert_eq!(settings.sampling.frequency, 99);
    assert_eq!(settings.sampling.max_blocks, 2000);
    assert_eq!(settings.window_length, Duration::from_secs(10));
    assert_eq!(settings.memory.unwind, 64 << 20);
    assert_eq!(settings.memory.symbols, 24 << 20);
    assert_eq!(settings.unwind_cache.unwrap().size, 128 << 20);
    assert_eq!(settings.debug_dirs, [PathBuf::from("/usr/lib/debug")]);
    assert!(settings.store.enabled);
    assert_eq!(settings.store.size, 1 << 30);
    assert_eq!(settings.store.age, Duration::from_secs(86_400));
    assert_eq!(settings.http.socket, Some("/run/profiler-agent/agent.sock".into()));
    assert_eq!(settings.http.listen, None);
    assert_eq!(settings.budget.cpu, Share::from_millionths(10_000));
    assert_eq!(settings.budget.memory, 96 << 20);
    assert_eq!(settings.burst.frequency, 1000);
    assert_eq!(settings.burst.duration, Duration::from_secs(30));
    assert_eq!(settings.log.level, LogLevel::Info);
    assert!(settings.sinks.is_empty());
}

/// A default that cannot be read would be missing, silently.
#[test]
fn every_default_of_the_table_is_in_force() {
    let text = "[sinks.f]\ntype = \"files\"\npath = \"/f\"\n[sinks.p]\ntype = \"parca\"\nurl = \"http://p\"";
    let settings = settings(text);
    for key in KEYS.iter().filter(|key| key.default.is_some()) {
        let paths = ["f", "p"].map(|name| key.path.replace('*', name));
        assert!(paths.iter().any(|path| settings.by_path.contains_key(path)), "{}", key.path);
    }
}
