//! Where it is proved that a key does what it says, once its value has reached the stage (which
//! [`super::proof`] shows of every key).

use std::path::Path;

use super::super::keys::KEYS;

const RUN: &str = "tests/root/run/keys.rs";
const AGENT: &str = "profiler-agent/src";

/// Key (or section), file from the repository or from the agent's sources, and the test in it.
const TESTS: &[(&str, &str, &str)] = &[
    ("sampling.event", RUN, "sampling_windows_memory_and_log_are_as_configured"),
    ("sampling.frequency", RUN, "sampling_windows_memory_and_log_are_as_configured"),
    ("sampling.max_blocks", "tests/root/off_cpu.rs", "a_rate_limit_keeps_the_totals"),
    (
        "sampling.without",
        "kernel/session/root_tests.rs",
        "every_fallback_gives_the_same_kinds_of_events",
    ),
    ("window.length", RUN, "sampling_windows_memory_and_log_are_as_configured"),
    ("select.pids", RUN, "filters_and_services_are_as_configured"),
    ("select.cgroups", "tests/root/filters.rs", "a_cgroup_is_recorded_with_those_below_it"),
    ("select.comms", RUN, "filters_and_services_are_as_configured"),
    ("select.users", RUN, "filters_and_services_are_as_configured"),
    ("exclude.pids", RUN, "filters_and_services_are_as_configured"),
    ("exclude.comms", RUN, "filters_and_services_are_as_configured"),
    ("exclude.users", RUN, "filters_and_services_are_as_configured"),
    ("exclude.services", RUN, "filters_and_services_are_as_configured"),
    ("services", "process/service.rs", "the_first_rule_that_holds_names_it"),
    (
        "memory.unwind",
        "tests/root/unwind_budget.rs",
        "a_working_set_of_twice_the_budget_is_mostly_unwound",
    ),
    (
        "memory.symbols",
        "symbolize/symbolizer/tests.rs",
        "past_the_budget_the_symbol_table_gives_the_names",
    ),
    ("unwind_cache.path", RUN, "sampling_windows_memory_and_log_are_as_configured"),
    (
        "unwind_cache.size",
        "runtime/native/cache/tests.rs",
        "the_files_that_were_not_used_for_longest_make_room",
    ),
    ("debug.dirs", "symbolize/symbolizer/tests.rs", "debug_files_are_found_by_build_id"),
    ("store.enabled", RUN, "without_a_store_sinks_have_windows_all_the_same"),
    ("store.path", "tests/root/run/kills.rs", "a_torn_store_opens_and_goes_on"),
    (
        "store.size",
        "store/tests/bounds.rs",
        "the_budget_is_kept_and_what_goes_unshipped_is_counted",
    ),
    ("store.age", "store/tests/bounds.rs", "what_is_too_old_goes_and_nothing_younger"),
    ("sinks.*.path", "export/files.rs", "a_window_is_a_file_and_a_retry_the_same"),
    ("sinks.*.size", "export/files.rs", "the_oldest_go_and_what_is_not_ours_stays"),
    ("sinks.*.files", "export/files.rs", "the_oldest_go_and_what_is_not_ours_stays"),
    ("sinks.*.max_age", "export/shipper/tests.rs", "windows_that_are_too_old_are_given_up"),
    ("http.socket", "http/tests/stopping.rs", "the_next_one_opens_the_same_socket"),
    ("http.listen", "tests/root/run/pprof.rs", "go_tool_pprof_reads_c_go_and_python"),
    ("http.token_file", "http/tests/bounds.rs", "a_wrong_token_gets_nothing_but_health"),
    ("http.tls", "http/tests/tls.rs", "a_new_certificate_is_taken_without_a_restart"),
    ("log", RUN, "sampling_windows_memory_and_log_are_as_configured"),
];

#[test]
fn the_tests_that_prove_the_keys_are_there() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (key, file, test) in TESTS {
        let of_agent = repository.join(AGENT).join(file);
        let path = if of_agent.exists() { of_agent } else { repository.join(file) };
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{key}: {file}: {e}"));
        assert!(text.contains(&format!("fn {test}(")), "{key}: no test {test} in {file}");
    }
}

/// Keys of which only the way to the stage is proved so far.
const UNPROVED: &[&str] = &[
    "sampling.min_block",
    "exclude.cgroups",
    "sinks.*.type",
    "sinks.*.url",
    "sinks.*.tenant",
    "sinks.*.labels.*",
    "sinks.*.headers.*",
    "sinks.*.token_file",
    "sinks.*.username",
    "sinks.*.password_file",
    "sinks.*.tls.ca",
    "sinks.*.tls.cert",
    "sinks.*.tls.key",
    "sinks.*.tls.server_name",
    "sinks.*.compression",
    "sinks.*.timeout",
    "sinks.*.in_flight",
    "budget.cpu",
    "budget.memory",
    "burst.frequency",
    "burst.duration",
    "labels.*",
];

#[test]
fn every_other_key_has_a_test_that_proves_it() {
    let is_proved = |path: &str| {
        TESTS.iter().any(|(key, ..)| path == *key || path.starts_with(&format!("{key}.")))
    };
    let missing: Vec<&str> =
        KEYS.iter().map(|key| key.path).filter(|path| !is_proved(path)).collect();
    assert_eq!(missing, UNPROVED, "the list of keys without a test is not up to date");
}
