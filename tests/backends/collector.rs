//! A real OpenTelemetry Collector takes what the OTLP sink sends.

use std::collections::BTreeMap;

use profiler_agent::export::SinkKind;
use profiler_tests::backends::collector::Collector;
use profiler_tests::backends::otlp::Otlp;
use profiler_tests::backends::windows::{PERIOD, Values};

use super::rig::{Rig, remote, small, values_of};

/// What its debug exporter says of each sample: its value, by the service of its resource, with the
/// kind of time that the strings of its request name. (It does not print stacks.)
fn printed(output: &str) -> BTreeMap<(String, &'static str), Vec<i64>> {
    let (mut kind, mut service) = ("", String::new());
    let mut values: BTreeMap<_, Vec<i64>> = BTreeMap::new();
    for line in output.lines().map(str::trim) {
        if line == "String table:" {
            kind = "cpu";
        } else if line == "off_cpu" {
            kind = "off_cpu";
        } else if let Some(name) = line.strip_prefix("-> service.name: Str(") {
            service = name.trim_end_matches(')').to_owned();
        } else if let Some(value) = line.strip_prefix("Values: [") {
            let value: i64 = value.trim_end_matches(']').parse().unwrap();
            let value = if kind == "cpu" { value * PERIOD } else { value };
            values.entry((service.clone(), kind)).or_default().push(value);
        }
    }
    values.values_mut().for_each(|values| values.sort_unstable());
    values
}

fn due(values: &Values) -> BTreeMap<(String, &'static str), Vec<i64>> {
    let mut due: BTreeMap<_, Vec<i64>> = BTreeMap::new();
    for (series, stacks) in values {
        due.entry(series.clone()).or_default().extend(stacks.values());
    }
    due.values_mut().for_each(|values| values.sort_unstable());
    due
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_collector_prints_and_passes_on_the_very_samples() {
    let behind = Otlp::start_behind_collector().await.unwrap();
    let next = behind.address;
    let collector = tokio::task::spawn_blocking(move || Collector::start(next));
    let collector = collector.await.unwrap().unwrap();
    let rig = Rig::start(SinkKind::Otlp(remote(collector.address)));
    let known = small(0);
    rig.put(0, &known);
    rig.until_settled().await;
    let status = rig.status();
    assert_eq!((status.shipped, status.refused), (1, 0), "{}", collector.output().unwrap());
    let series = known.values.len();
    let is_passed_on = |_: &Rig| {
        assert_eq!(behind.ledger.violations(), [""; 0]);
        behind.ledger.len() >= series
    };
    rig.until("the Collector to pass it on", is_passed_on).await;
    assert_eq!(values_of(&behind.ledger.received()), known.values);
    let is_printed = |_: &Rig| {
        let output = collector.output().unwrap();
        output.matches("Profile #0").count() >= series && output.ends_with('\n')
    };
    rig.until("the Collector to print it", is_printed).await;
    let output = collector.output().unwrap();
    assert_eq!(printed(&output), due(&known.values), "{output}");
    for due in ["host.name: Str(node-1)", "deployment.env: Str(prod)", "[libz.so.1+0x1010]"] {
        assert!(output.contains(due), "{due} is not in {output}");
    }
}
