//! Where it is proved that a key does what it says, once its value has reached the stage (which
//! [`super::proof`] shows of every key).

use std::path::Path;

use super::super::keys::KEYS;

const RUN: &str = "tests/root/run/keys.rs";
const STEERED: &str = "kernel/session/root_tests/steered.rs";
const TOLD: &str = "tests/root/run/told.rs";
const SINKS: &str = "tests/backends/keys.rs";
const SAID: &str = "each_type_sends_what_is_configured_to_its_own_server";
const TLS: (&str, &str) =
    ("tests/backends/tls.rs", "certificates_are_checked_and_read_again_when_they_change");
const AGENT: &str = "profiler-agent/src";

/// Key (or section), file from the repository or from the agent's sources, and the test in it.
const TESTS: &[(&str, &str, &str)] = &[
    ("sampling.event", RUN, "sampling_windows_memory_and_log_are_as_configured"),
    ("sampling.frequency", RUN, "sampling_windows_memory_and_log_are_as_configured"),
    (
        "sampling.min_block",
        RUN,
        "without_a_store_sinks_have_windows_and_short_blocks_are_only_counted",
    ),
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
    ("exclude.cgroups", STEERED, "what_is_excluded_is_recorded_neither_awake_nor_asleep"),
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
    ("store.enabled", RUN, "without_a_store_sinks_have_windows_and_short_blocks_are_only_counted"),
    ("store.path", "tests/root/run/kills.rs", "a_torn_store_opens_and_goes_on"),
    (
        "store.size",
        "store/tests/bounds.rs",
        "the_budget_is_kept_and_what_goes_unshipped_is_counted",
    ),
    ("store.age", "store/tests/bounds.rs", "what_is_too_old_goes_and_nothing_younger"),
    ("sinks.*.type", SINKS, SAID),
    ("sinks.*.url", SINKS, SAID),
    ("sinks.*.tenant", SINKS, SAID),
    ("sinks.*.labels.*", SINKS, SAID),
    ("sinks.*.headers.*", SINKS, SAID),
    ("sinks.*.token_file", SINKS, SAID),
    ("sinks.*.username", SINKS, SAID),
    ("sinks.*.password_file", SINKS, SAID),
    ("sinks.*.tls", TLS.0, TLS.1),
    ("sinks.*.compression", SINKS, SAID),
    ("sinks.*.timeout", SINKS, "a_request_takes_no_longer_than_its_timeout"),
    ("sinks.*.in_flight", SINKS, "no_more_requests_are_under_way_than_are_allowed"),
    ("sinks.*.path", "export/files.rs", "a_window_is_a_file_and_a_retry_the_same"),
    ("sinks.*.size", "export/files.rs", "the_oldest_go_and_what_is_not_ours_stays"),
    ("sinks.*.files", "export/files.rs", "the_oldest_go_and_what_is_not_ours_stays"),
    (
        "sinks.*.max_age",
        "export/shipper/tests/ordinary.rs",
        "windows_that_are_too_old_are_given_up",
    ),
    ("http.socket", "http/tests/stopping.rs", "the_next_one_opens_the_same_socket"),
    ("http.listen", "tests/root/run/pprof.rs", "go_tool_pprof_reads_c_go_and_python"),
    ("http.token_file", "http/tests/bounds.rs", "a_wrong_token_gets_nothing_but_health"),
    ("http.tls", "http/tests/tls.rs", "a_new_certificate_is_taken_without_a_restart"),
    (
        "budget.cpu",
        "pipeline/governor/tests.rs",
        "a_storm_is_brought_into_the_budget_and_nothing_is_silent",
    ),
    ("budget.memory", RUN, "sampling_windows_memory_and_log_are_as_configured"),
    ("burst", TOLD, "it_does_as_signals_and_people_say_and_tells_the_service_manager"),
    ("labels.*", SINKS, SAID),
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

#[test]
fn every_key_has_a_test_that_proves_it() {
    let is_proved = |path: &str| {
        TESTS.iter().any(|(key, ..)| path == *key || path.starts_with(&format!("{key}.")))
    };
    let missing: Vec<&str> =
        KEYS.iter().map(|key| key.path).filter(|path| !is_proved(path)).collect();
    assert_eq!(missing, [""; 0], "keys without a test of what they do");
}
