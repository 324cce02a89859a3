//! What `deploy/` ships for those who are on call: rules, dashboard, and the pages that they lead to.
//!
//! They name nothing that the agent does not export, and Prometheus's own tool takes them.

use std::collections::BTreeSet;
use std::fs;

use profiler_agent::telemetry::Metric;
use profiler_tests::promtool;
use profiler_tests::workload::repository;

const RULES: &str = "deploy/prometheus/rules.yaml";
const DASHBOARD: &str = "deploy/grafana/dashboard.json";
const PAGES: &str = "https://github.com/profiler-agent/profiler-agent/blob/main/";

fn text(file: &str) -> std::io::Result<String> {
    fs::read_to_string(repository().join(file))
}

/// What stands behind a key, of each line that has it.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| line.trim().strip_prefix(key)).map(str::trim)
}

/// Names of metrics and of recorded series in a text.
fn named(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = text.split(|c| !is_part(c));
    words
        .filter(|word| word.starts_with("profiler_agent_") || word.starts_with("profiler_agent:"))
        .collect()
}

/// What may be asked for: what the agent exports, and what the rules record.
fn known(rules: &str) -> BTreeSet<String> {
    let exported = Metric::ALL.iter().map(|metric| metric.full_name());
    exported.chain(values(rules, "- record:").map(str::to_owned)).collect()
}

/// What may be lost is shown from the start: a rate sees no change from nothing to one.
#[test]
fn what_may_be_lost_is_shown_at_zero() {
    let shown = text("profiler-agent/src/cli/run/metrics.rs").unwrap()
        + &text("profiler-common/src/counter.rs").unwrap();
    let mut folders = vec![repository().join("profiler-agent/src")];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            let literals = text.split('"').skip(1).step_by(2);
            for name in literals.filter(|text| is_loss(text)) {
                count += 1;
                assert!(shown.contains(&format!("\"{name}\"")), "{}: {name}", path.display());
            }
        }
    }
    assert!(count > 10, "{count}");
}

fn is_loss(literal: &str) -> bool {
    let is_name = literal.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    is_name
        && ["samples", "blocks", "windows"]
            .iter()
            .any(|what| literal.starts_with(&format!("{what}_lost_")))
}

#[test]
fn the_rules_are_well_formed_and_do_what_their_tests_say() {
    promtool::check(&promtool::rules()).unwrap();
    promtool::test(&repository().join("deploy/prometheus/rules.test.yaml")).unwrap();
}

#[test]
fn only_what_the_agent_exports_is_asked_for() {
    let rules = text(RULES).unwrap();
    let known = known(&rules);
    for file in [RULES, DASHBOARD, "deploy/prometheus/rules.test.yaml"] {
        let text = text(file).unwrap();
        let named = named(&text);
        assert!(named.len() > 10, "{file}: {named:?}");
        for name in named {
            assert!(known.contains(name), "{file} names {name}, which nobody exports");
        }
    }
}

#[test]
fn the_runbook_names_only_what_there_is() {
    let rules = text(RULES).unwrap();
    let known = known(&rules);
    for entry in fs::read_dir(repository().join("docs/runbook")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for name in named(&text) {
            assert!(known.contains(name), "{} names {name}", path.display());
        }
    }
}

/// Each alert is tried firing and quiet, and leads to a page that says what to do.
#[test]
fn each_alert_has_a_page_and_a_test() {
    let (rules, tests) = (text(RULES).unwrap(), text("deploy/prometheus/rules.test.yaml").unwrap());
    let index = text("docs/runbook/README.md").unwrap();
    let alerts = promtool::alerts().unwrap();
    let pages: Vec<&str> = values(&rules, "runbook_url:").collect();
    assert!(alerts.len() >= 8 && alerts.len() == pages.len(), "{alerts:?} {pages:?}");
    for (alert, page) in alerts.iter().zip(pages) {
        let file = page.strip_prefix(PAGES).unwrap();
        let page = text(file).unwrap();
        assert!(page.contains(&format!("`{alert}`")), "{file} does not speak of {alert}");
        for part in
            ["What it means", "How to see it", "How to stop the pain", "How to find the cause"]
        {
            assert!(page.contains(&format!("\n## {part}\n")), "{file} does not say: {part}");
        }
        assert!(index.contains(&format!("`{alert}`")), "{alert}");
        assert!(
            tests.contains(&format!("alertname: {alert}, exp_alerts: [] }}")),
            "{alert}: never quiet"
        );
        assert!(
            tests.contains(&format!("alertname: {alert}\n        exp_alerts:\n")),
            "{alert}: never fires"
        );
    }
}

/// Grafana's variables stand for what they mostly are, and each query becomes a rule.
#[test]
fn the_queries_of_the_dashboard_are_well_formed() {
    let dashboard: serde_json::Value = serde_json::from_str(&text(DASHBOARD).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries: Vec<&str> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    assert!(queries.len() > 20, "{}", queries.len());
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (n, query) in queries.iter().enumerate() {
        let query = query
            .replace("$__rate_interval", "5m")
            .replace("$job", ".*")
            .replace("$instance", ".*");
        assert!(!query.contains('$'), "{query}");
        rules += &format!("      - record: query:{n}\n        expr: |\n          {query}\n");
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dashboard.yaml");
    fs::write(&file, rules).unwrap();
    promtool::check(&file).unwrap();
}
