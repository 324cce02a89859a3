//! A backend that is away for ten minutes of windows.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use profiler_agent::export::SinkKind;
use profiler_tests::backends::moods::Mood;
use profiler_tests::backends::proxy::{Proxy, Weather};
use profiler_tests::backends::pyroscope::Pyroscope;
use profiler_tests::backends::windows::LENGTH;

use super::rig::{Rig, START, clock, reading, remote, small, values_of};

/// Ten minutes.
const WINDOWS: u64 = 60;

/// Resident memory of this process, in bytes.
fn memory() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// How often each window was taken (the times of its parts differ by nanoseconds), at most.
fn copies(server: &Pyroscope) -> BTreeMap<u64, usize> {
    let mut by_part = BTreeMap::new();
    for one in server.ledger.received() {
        *by_part.entry(one.identity()).or_insert(0_usize) += 1;
    }
    let mut windows = BTreeMap::new();
    for ((_, _, time), count) in by_part {
        let number = (u64::try_from(time).unwrap() - START) / LENGTH;
        let most = windows.entry(number).or_insert(0);
        *most = count.max(*most);
    }
    windows
}

/// In a process of its own, so that its memory is its own.
#[test]
fn nothing_is_missing_after_ten_minutes_without_a_backend() {
    let name = "outage::ten_minutes_without_a_backend";
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).args(["--ignored", "--exact", name]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test above runs it"]
async fn ten_minutes_without_a_backend() {
    let clock = clock();
    let server = Pyroscope::start(reading(&clock), false).await.unwrap();
    let proxy = Proxy::start(server.address).await.unwrap();
    let rig = Rig::start(SinkKind::Pyroscope(remote(proxy.address)));
    let known: Vec<_> = (0..=WINDOWS + 1).map(small).collect();
    rig.put(0, &known[0]);
    rig.until_settled().await;

    proxy.set(Weather::Refused);
    let before = memory();
    for number in 1..=WINDOWS {
        let now = START + (number + 1) * LENGTH;
        rig.clock.store(now, Ordering::Relaxed);
        clock.store(now, Ordering::Relaxed);
        rig.put(number, &known[usize::try_from(number).unwrap()]);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    rig.until("the sink to say so", |rig| {
        let status = rig.status();
        status.failing && status.pending == WINDOWS
    })
    .await;
    let oldest = rig.status().oldest_pending.unwrap();
    assert_eq!(oldest, Duration::from_secs((WINDOWS - 1) * 10));
    let grown = memory().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");

    proxy.set(Weather::Fair);
    let back = rig.until("a first window", |rig| rig.store.windows().delivered.len() > 1).await;
    assert!(back <= Duration::from_secs(5), "{back:?}");
    // A window of now goes before those that waited.
    rig.put(WINDOWS + 1, known.last().unwrap());
    rig.until_settled().await;
    let delivered = rig.store.windows().delivered.clone();
    let place = delivered.iter().position(|id| *id == WINDOWS + 1).unwrap();
    assert!(place < 20, "{place} of {delivered:?}");
    assert_eq!(delivered.iter().copied().collect::<BTreeSet<_>>(), (0..=WINDOWS + 1).collect());

    assert_eq!(server.ledger.violations(), [""; 0]);
    assert_eq!(copies(&server).len() as u64, WINDOWS + 2);
    assert!(copies(&server).values().all(|n| *n == 1), "no answer was lost: {:?}", copies(&server));
    let status = rig.status();
    assert_eq!((status.shipped, status.refused, status.sent_again), (WINDOWS + 2, 0, 0));
    let mut due = BTreeMap::new();
    for (series, stacks) in known.iter().flat_map(|k| &k.values) {
        let all: &mut BTreeMap<_, i64> = due.entry(series.clone()).or_default();
        stacks.iter().for_each(|(stack, n)| *all.entry(stack.clone()).or_default() += n);
    }
    assert_eq!(values_of(&server.compacted()), due);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_comes_twice_only_where_an_answer_was_lost_and_is_counted() {
    let clock = clock();
    let server = Pyroscope::start(reading(&clock), false).await.unwrap();
    let proxy = Proxy::start(server.address).await.unwrap();
    let rig = Rig::start(SinkKind::Pyroscope(remote(proxy.address)));
    server.moods.set(Mood::LoseAnswers);
    rig.put(0, &small(0));
    rig.until("the server to have it", |_| !server.ledger.is_empty()).await;
    // The answers that are due go down with the connection.
    server.moods.set(Mood::Well);
    proxy.set(Weather::Refused);
    proxy.set(Weather::Fair);
    rig.until("the sink to notice", |rig| rig.status().retried > 0).await;
    rig.put(1, &small(1));
    rig.until_settled().await;
    let copies = copies(&server);
    assert_eq!((copies[&0], copies[&1]), (2, 1));
    let status = rig.status();
    assert_eq!((status.shipped, status.sent_again, status.refused), (2, 1, 0));
    // The very same, so that the server keeps one.
    let due: Vec<_> = [small(0), small(1)].into_iter().map(|k| k.values).collect();
    let mut sum = due[0].clone();
    for (series, stacks) in &due[1] {
        let all = sum.entry(series.clone()).or_default();
        stacks.iter().for_each(|(stack, n)| *all.entry(stack.clone()).or_default() += n);
    }
    assert_eq!(values_of(&server.compacted()), sum);
    assert_eq!(server.ledger.violations(), [""; 0]);
}
