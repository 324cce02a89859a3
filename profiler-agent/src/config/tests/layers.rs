//! Which layer wins, and what is shown of it.

use super::*;
use std::time::Duration;

#[test]
fn the_later_layer_wins_key_by_key() {
    let file = "[store]\nsize = \"2 GiB\"\nage = \"2h\"\npath = \"/file\"\n";
    let variables = &[
        ("PROFILER_AGENT__STORE__AGE", "3h"),
        ("PROFILER_AGENT__STORE__PATH", "/environment"),
        ("PROFILER_AGENT", "no business of ours"),
        ("HOME", "/root"),
    ];
    let store = load(file, variables, &["store.path=/flag"]).unwrap().settings.store;
    assert!(store.enabled, "the default");
    assert_eq!(store.size, 2 << 30, "the file's");
    assert_eq!(store.age, Duration::from_secs(3 * 3600), "the environment's");
    assert_eq!(store.path.to_str(), Some("/flag"));
}

#[test]
fn every_kind_of_value_can_be_given_outside_of_a_file() {
    let flags = [
        "sampling.event=off-cpu",
        "sampling.frequency = 49",
        "window.length=20s",
        "budget.cpu=0.5%",
        "store.enabled=false",
        "http.listen=127.0.0.1:7070",
        "select.pids=1,2, 3",
        "exclude.comms=[\"a,b\", \"c\"]",
        "exclude.cgroups=/a,/b",
        "debug.dirs=",
        "services=[{ name = \"db\", match = { exe = \"postgres\" } }]",
        "labels.env=a=b",
        "sinks.x.type=files",
        "sinks.x.path=/f",
        "sinks.x.labels.team=core",
    ];
    let variables = flags.map(|flag| {
        let (key, value) = flag.split_once('=').unwrap();
        (format!("PROFILER_AGENT__{}", key.trim().to_uppercase().replace('.', "__")), value.trim())
    });
    let variables: Vec<(&str, &str)> = variables.iter().map(|(k, v)| (k.as_str(), *v)).collect();
    let by_flag = load("", &[], &flags).unwrap().settings;
    let by_variable = load("", &variables, &[]).unwrap().settings;
    assert_eq!(by_flag, by_variable);

    assert_eq!(by_flag.sampling.frequency, 49);
    assert_eq!(by_flag.select.pids, [1, 2, 3]);
    assert_eq!(by_flag.exclude.comms, ["a,b", "c"]);
    assert_eq!(by_flag.exclude.cgroups.len(), 2);
    assert!(by_flag.debug_dirs.is_empty() && !by_flag.store.enabled);
    assert_eq!(by_flag.sinks[0].labels["env"], "a=b");
    assert_eq!(by_flag.services.rules.len(), 1);
    assert_eq!(by_flag.sinks.len(), 1);
}

/// What is shown is a file, and means the same.
#[test]
fn what_is_shown_reads_back_as_the_same() {
    let config = load(page::example(), &[], &["labels.odd=a \"b\" \\ c\n# d"]).unwrap();
    let shown = config.show();
    let again = load(&shown.replace("\"(hidden)\"", "\"a-header\""), &[], &[]);
    let mut again = again.unwrap_or_else(|complaints| panic!("{shown}\n{complaints}")).settings;
    for (path, value) in &config.settings.by_path {
        if path.contains(".headers.") {
            again.by_path.insert(path.clone(), value.clone());
        }
        assert_eq!(again.by_path.get(path), Some(value), "{path}\n{shown}");
    }
    assert_eq!(again.by_path, config.settings.by_path);
}

#[test]
fn each_value_is_shown_with_its_source_and_secrets_are_not() {
    let text = "[sinks.cloud]\ntype = \"otlp\"\nurl = \"https://h\"\ntoken_file = \"/etc/token\"\n\
                [sinks.cloud.headers]\nauthorization = \"Bearer VERY-SECRET\"\n";
    let variables = &[("PROFILER_AGENT__STORE__SIZE", "3 GiB")];
    let shown = load(text, variables, &["window.length=20s"]).unwrap().show();
    assert!(!shown.contains("SECRET"), "{shown}");
    let line = |start: &str| {
        let found = shown.lines().find(|line| line.starts_with(start));
        found.unwrap_or_else(|| panic!("no {start} in\n{shown}")).to_owned()
    };
    for (start, source) in [
        ("size = \"3 GiB\"", "# environment PROFILER_AGENT__STORE__SIZE"),
        ("length = \"20s\"", "# --set window.length"),
        ("frequency = 99", "# default"),
        ("url = \"https://h\"", "agent.toml:3:7"),
        ("token_file = \"/etc/token\"", "agent.toml:4:14"),
        ("authorization = \"(hidden)\"", "agent.toml:6:17"),
        ("in_flight = 4", "# default"),
    ] {
        assert!(line(start).ends_with(source), "{start}: {}", line(start));
    }
}

/// A secret may also come by the environment.
#[test]
fn a_complaint_about_a_header_does_not_quote_a_variable() {
    let variables = &[
        ("PROFILER_AGENT__SINKS__X__TYPE", "otlp"),
        ("PROFILER_AGENT__SINKS__X__URL", "http://h"),
        ("PROFILER_AGENT__SINKS__X__HEADERS__KEY", "SECRET\n"),
    ];
    let error = load("", variables, &[]).unwrap_err().to_string();
    assert!(error.contains("sinks.x.headers.key") && !error.contains("SECRET"), "{error}");
}
