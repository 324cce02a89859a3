//! Prometheus's own tool, which checks and tries the rules that `deploy/` ships.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::workload::repository;

/// The rules that are shipped.
pub fn rules() -> PathBuf {
    repository().join("deploy/prometheus/rules.yaml")
}

/// The names of the alerts among them.
pub fn alerts() -> Result<Vec<String>> {
    let rules = fs::read_to_string(rules())?;
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert:"));
    Ok(names.map(|name| name.trim().to_owned()).collect())
}

/// Checks a file of rules.
pub fn check(rules: &Path) -> Result<()> {
    run(Command::new("promtool").args(["check", "rules", "--lint=all", "--lint-fatal"]).arg(rules))
}

/// Runs the tests in a file.
pub fn test(tests: &Path) -> Result<()> {
    run(Command::new("promtool").args(["test", "rules"]).arg(tests))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .context("cannot run promtool; on Debian it is in the package `prometheus`")?;
    if !output.status.success() {
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        bail!("{command:?}: {}{}", said(&output.stdout), said(&output.stderr));
    }
    Ok(())
}

/// A test of the shipped rules: series, and which alerts fire when.
#[derive(Debug, Default)]
pub struct Case {
    series: Vec<(String, String)>,
    alerts: Vec<String>,
    firing: Vec<(String, u32)>,
}

impl Case {
    /// Adds a series that begins with a value and grows by so much in each minute.
    pub fn series(&mut self, series: &str, begin: f64, growth: f64) {
        // In single quotes, a quote is written twice.
        let series = series.replace('\'', "''");
        self.series.push((series, format!("{begin}{growth:+}x600")));
    }

    /// Says that an alert does not fire after so many minutes.
    pub fn quiet(&mut self, alert: &str, minutes: u32) {
        self.alerts.push(format!(
            "      - {{ eval_time: {minutes}m, alertname: {alert}, exp_alerts: [] }}\n"
        ));
    }

    /// Says that an alert fires after so many minutes, whatever it says.
    pub fn fires(&mut self, alert: &str, minutes: u32) {
        self.firing.push((alert.to_owned(), minutes));
    }

    /// Runs it, with each value at each minute.
    pub fn run(&self) -> Result<()> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("case.test.yaml");
        fs::write(&file, self.text())?;
        test(&file)
    }

    fn text(&self) -> String {
        let rules = rules();
        let mut text = format!(
            "rule_files: [{}]\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n",
            rules.display()
        );
        for (series, values) in &self.series {
            text += &format!("      - {{ series: '{series}', values: {values} }}\n");
        }
        if !self.alerts.is_empty() {
            text += "    alert_rule_test:\n";
            text += &self.alerts.concat();
        }
        if !self.firing.is_empty() {
            text += "    promql_expr_test:\n";
        }
        for (alert, minutes) in &self.firing {
            text += &format!(
                "      - expr: 'count(ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}})'\n        \
                 eval_time: {minutes}m\n        exp_samples: [{{ labels: '{{}}', value: 1 }}]\n"
            );
        }
        text
    }
}
