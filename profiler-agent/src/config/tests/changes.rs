//! What a reload may change.

use super::super::keys::{Change, KEYS};
use super::*;

#[test]
fn what_differs_is_named() {
    let old = settings("[labels]\na = \"1\"\nb = \"2\"\n");
    assert_eq!(old.difference(&old).unwrap().keys, [""; 0]);

    let new = "[labels]\na = \"9\"\nc = \"3\"\n[sinks.f]\ntype = \"files\"\npath = \"/f\"\n[budget]\ncpu = \"2%\"";
    let changes = old.difference(&settings(new)).unwrap();
    for key in ["labels.a", "labels.b", "labels.c", "sinks.f.path", "sinks.f.max_age", "budget.cpu"]
    {
        assert!(changes.keys.iter().any(|k| k == key), "{key}: {changes:?}");
    }
    assert!(changes.touch("sinks") && changes.touch("labels") && changes.touch("budget.cpu"));
    assert!(!changes.touch("label") && !changes.touch("store") && !changes.touch("budget.memory"));
}

#[test]
fn a_reload_is_refused_as_a_whole() {
    let old = settings("");
    let new = settings("[labels]\na = \"9\"\n[store]\npath = \"/x\"\n[http]\nsocket = \"\"\n");
    let refused = old.difference(&new).unwrap_err();
    assert_eq!(refused.keys, ["http.socket", "store.path"]);
    assert_eq!(
        refused.to_string(),
        "http.socket, store.path cannot change without a restart, so nothing was changed"
    );
}

/// The same value, written otherwise, is no change; nor is where it was written.
#[test]
fn only_meaning_counts() {
    let old = load("[store]\nsize = \"1024 MiB\"\n[window]\nlength = \"10s\"", &[], &[]).unwrap();
    let new = load("", &[], &["window.length=10000ms"]).unwrap();
    assert_eq!(old.settings.difference(&new.settings).unwrap().keys, [""; 0]);
}

/// Every key alone, changed to another value: the table says what that takes.
#[test]
fn every_key_changes_as_the_table_says() {
    let old = settings(proof::BASE);
    for (path, value) in proof::OTHER {
        let new = load(proof::BASE, &[], &[&format!("{path}={value}")]);
        let new = new.unwrap_or_else(|complaints| panic!("{complaints}")).settings;
        let segments: Vec<&str> = path.split('.').collect();
        let keys::Found::Key(key) = keys::find(&segments) else { panic!("{path}") };
        match (old.difference(&new), key.change) {
            (Ok(changes), Change::Reload) => assert_eq!(changes.keys, [*path]),
            (Err(refused), Change::Restart) => assert_eq!(refused.keys, [*path]),
            (other, _) => panic!("{path}: {other:?}"),
        }
    }
    let tried = |key: &&keys::Key| {
        let found = proof::OTHER.iter().any(|(path, _)| {
            let segments: Vec<&str> = path.split('.').collect();
            matches!(keys::find(&segments), keys::Found::Key(k) if std::ptr::eq(k, *key))
        });
        !found
    };
    let missing: Vec<&str> = KEYS.iter().filter(tried).map(|key| key.path).collect();
    assert!(missing.is_empty(), "no change of {missing:?} was tried");
}
