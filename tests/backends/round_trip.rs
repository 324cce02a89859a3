//! What a backend gets decodes to the very samples that went in.

use std::collections::{BTreeMap, BTreeSet};

use profiler_agent::export::SinkKind;
use profiler_tests::backends::otlp::Otlp;
use profiler_tests::backends::parca::Parca;
use profiler_tests::backends::pyroscope::Pyroscope;
use profiler_tests::backends::windows::{self, BURST_PERIOD, PERIOD, SAID, Values};
use profiler_tests::backends::{Ledger, Received};

use super::rig::{Rig, START, clock, reading, remote, values_of};

/// More samples than one part may have, of the same service and kind.
const STACKS: u64 = 36_000;

/// What a part says of its window.
fn comments(one: &Received) -> Vec<&str> {
    let text = |index: &i64| one.profile.string_table[usize::try_from(*index).unwrap()].as_str();
    one.profile.comment.iter().map(text).collect()
}

async fn check(rig: Rig, ledger: &Ledger, compacted: impl Fn() -> Vec<Received>) {
    let known = windows::window_with_a_burst(START, STACKS).unwrap();
    rig.put(1, &known);
    rig.until_settled().await;
    assert_eq!(ledger.violations(), [""; 0]);
    let received = compacted();
    // Compared one by one: a difference of all would print for minutes.
    let (found, due): (Values, Values) = (values_of(&received), known.values);
    assert!(found.keys().eq(due.keys()), "{:?}, not {:?}", found.keys(), due.keys());
    for (series, stacks) in &due {
        let found = &found[series];
        assert_eq!(found.len(), stacks.len(), "{series:?}");
        let different = stacks.iter().find(|(stack, value)| found.get(*stack) != Some(*value));
        assert_eq!(different, None, "{series:?}");
    }
    assert!(received.len() >= 8, "{} parts", received.len());
    for one in &received {
        assert_eq!(
            one.labels.get("deployment_env").or(one.labels.get("deployment.env")).unwrap(),
            "prod"
        );
        assert_eq!(one.profile.duration_nanos, 10_000_000_000);
        assert_eq!(comments(one), SAID);
        let first = &one.profile.mapping[0];
        let first = one.profile.string_table[usize::try_from(first.filename).unwrap()].as_str();
        let due = match one.service() {
            "web" => "/usr/bin/web",
            "db.service" => "/usr/sbin/db",
            _ => "[kernel.kallsyms]",
        };
        assert_eq!(first, due);
    }
    // No part is taken for another.
    let identities: BTreeSet<_> = received.iter().map(Received::identity).collect();
    assert_eq!(identities.len(), received.len());
    let mut periods: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
    for one in &received {
        periods.entry(one.identity().1).or_default().insert(one.profile.period);
    }
    let due = match periods.contains_key("cpu") {
        true => [("cpu", vec![PERIOD]), ("off_cpu", vec![1])],
        // What was sampled at two rates goes by the nanosecond.
        false => [("off_cpu", vec![1]), ("samples", vec![1, BURST_PERIOD, PERIOD])],
    };
    assert_eq!(periods, due.map(|(k, v)| (k.to_owned(), v.into_iter().collect())).into());
    let status = rig.status();
    assert_eq!((status.shipped, status.malformed, status.dropped_samples), (1, 0, 0));
    assert_eq!((status.retried, status.sent_again), (0, 0), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pyroscope_gets_the_very_samples_and_parts_with_times_of_their_own() {
    let server = Pyroscope::start(reading(&clock()), false).await.unwrap();
    let rig = Rig::start(SinkKind::Pyroscope(remote(server.address)));
    check(rig, &server.ledger, || server.compacted()).await;
    assert_eq!(server.compacted().len(), server.ledger.len());
    let one = &server.ledger.received()[0];
    assert_eq!(one.labels["node"], "node-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn parca_gets_the_very_samples_and_addresses_that_it_can_name() {
    let server = Parca::start().await.unwrap();
    let rig = Rig::start(SinkKind::Parca(remote(server.address)));
    check(rig, &server.ledger, || server.ledger.received()).await;
    let bare = |one: &Received| one.profile.location.iter().filter(|l| l.line.is_empty()).count();
    let received = server.ledger.received();
    assert!(received.iter().filter(|one| one.service() == "web").all(|one| bare(one) > 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn otlp_gets_the_very_samples() {
    let server = Otlp::start().await.unwrap();
    for compression in [true, false] {
        let mut remote = remote(server.address);
        remote.compression = compression;
        let rig = Rig::start(SinkKind::Otlp(remote));
        let seen = server.ledger.len();
        let received = || server.ledger.received().split_off(seen);
        check(rig, &server.ledger, received).await;
    }
    let one = &server.ledger.received()[0];
    assert_eq!(one.labels["host.name"], "node-1");
}
