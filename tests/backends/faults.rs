//! Each fault of a network and of a server: nothing is lost, and all is well within seconds of its end.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use profiler_agent::export::{Environment, Resolve, Resolved, SinkKind};
use profiler_tests::backends::moods::Mood;
use profiler_tests::backends::otlp::Otlp;
use profiler_tests::backends::parca::Parca;
use profiler_tests::backends::proxy::{Proxy, Weather};
use profiler_tests::backends::pyroscope::Pyroscope;
use tokio::time::Instant;
use tonic::Code;

use super::rig::{Rig, clock, reading, remote, small};

/// All is well again within this.
const RECOVERY: Duration = Duration::from_secs(5);

/// How long a fault lasts.
const FAULT: Duration = Duration::from_secs(4);

/// Ships a window, brings on the fault, puts windows meanwhile, ends it; how long until all were there.
async fn survive(rig: &Rig, begin: impl FnOnce(), end: impl FnOnce()) -> Duration {
    rig.put(0, &small(0));
    rig.until_settled().await;
    begin();
    for number in 1..=3 {
        rig.put(number, &small(number));
        tokio::time::sleep(FAULT / 3).await;
    }
    end();
    let took = rig.until_settled().await;
    assert_eq!(rig.status().shipped, 4, "{:?}", rig.status());
    assert!(took <= RECOVERY, "{took:?} after the fault: {:?}", rig.status());
    took
}

async fn survive_weather(weather: Weather) -> Rig {
    let server = Pyroscope::start(reading(&clock()), false).await.unwrap();
    let proxy = Proxy::start(server.address).await.unwrap();
    let rig = Rig::start(SinkKind::Pyroscope(remote(proxy.address)));
    let took = survive(&rig, || proxy.set(weather), || proxy.set(Weather::Fair)).await;
    println!("{weather:?}: well {took:?} after its end");
    assert_eq!(server.ledger.violations(), [""; 0]);
    server.compacted();
    assert_eq!(server.ledger.violations(), [""; 0]);
    rig
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_connections() {
    let rig = survive_weather(Weather::Refused).await;
    assert!(rig.status().last_error.is_some_and(|e| e.contains("refused")));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_taken_and_never_answered() {
    survive_weather(Weather::Silent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_in_mid_stream() {
    survive_weather(Weather::Reset(600)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_a_second() {
    survive_weather(Weather::Trickle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn latency_and_loss() {
    survive_weather(Weather::Lossy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_answers() {
    survive_weather(Weather::WrongAnswers).await;
}

/// The dead connection is given up though nobody says that it is dead.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_behind_an_open_connection() {
    let server = Parca::start().await.unwrap();
    let rig = Rig::start(SinkKind::Parca(remote(server.address)));
    let (moods, again) = (Arc::clone(&server.moods), Arc::clone(&server.moods));
    survive(&rig, || moods.set(Mood::Silent), || again.set(Mood::Well)).await;
    assert_eq!(server.ledger.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_what_may_pass() {
    let starting = Mood::Starting;
    let unavailable = Mood::Refuse(Code::Unavailable, None);
    let exhausted = Mood::Refuse(Code::ResourceExhausted, None);
    for mood in [starting, unavailable, exhausted] {
        let server = Pyroscope::start(reading(&clock()), false).await.unwrap();
        let rig = Rig::start(SinkKind::Pyroscope(remote(server.address)));
        survive(&rig, || server.moods.set(mood), || server.moods.set(Mood::Well)).await;
        assert_eq!(server.ledger.violations(), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exhausted_means_what_the_backend_means_by_it() {
    // OTLP: with RetryInfo, after that time.
    let server = Otlp::start().await.unwrap();
    let rig = Rig::start(SinkKind::Otlp(remote(server.address)));
    let wait = Duration::from_secs(2);
    server.moods.set(Mood::Refuse(Code::ResourceExhausted, Some(wait)));
    let begun = Instant::now();
    rig.put(0, &small(0));
    rig.until("a first try", |rig| rig.status().retried > 0).await;
    server.moods.set(Mood::Well);
    rig.until_settled().await;
    assert!(begun.elapsed() >= wait);
    assert_eq!(rig.status().shipped, 1);

    // Without, never again.
    server.moods.set(Mood::Refuse(Code::ResourceExhausted, None));
    rig.put(1, &small(1));
    rig.until_settled().await;
    assert_eq!((rig.status().shipped, rig.status().refused), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_is_counted_and_holds_up_nothing() {
    let server = Parca::start().await.unwrap();
    let rig = Rig::start(SinkKind::Parca(remote(server.address)));
    server.moods.set(Mood::Refuse(Code::InvalidArgument, None));
    rig.put(0, &small(0));
    rig.until_settled().await;
    let status = rig.status();
    assert_eq!((status.shipped, status.refused, status.retried), (0, 1, 0));
    assert!(status.refused_parts > 0 && status.requests == status.refused_parts);
    assert!(rig.store.windows().refused[0].1.contains("InvalidArgument"));
    server.moods.set(Mood::Well);
    rig.put(1, &small(1));
    rig.until_settled().await;
    assert_eq!(rig.status().shipped, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_profile_is_refused_here_and_never_leaves() {
    let server = Parca::start().await.unwrap();
    let rig = Rig::start(SinkKind::Parca(remote(server.address)));
    let mut known = small(0);
    known.bytes.truncate(known.bytes.len() / 2);
    rig.put(0, &known);
    rig.until_settled().await;
    assert_eq!((rig.status().refused, rig.status().requests), (1, 0));
    assert_eq!(server.ledger.violations(), [""; 0]);
}

/// A resolver that does as it is told.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<Option<SocketAddr>>>);

impl Resolve for Names {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> Resolved<'a> {
        let address = *self.0.lock().unwrap();
        let none = || std::io::Error::other("Temporary failure in name resolution");
        Box::pin(async move { Ok(vec![address.ok_or_else(none)?]) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_found_and_then_means_another_address() {
    let clock = clock();
    let first = Pyroscope::start(reading(&clock), false).await.unwrap();
    let second = Pyroscope::start(reading(&clock), false).await.unwrap();
    let proxy = Proxy::start(first.address).await.unwrap();
    let names = Names::default();
    let environment = Environment {
        now: reading(&clock),
        resolve: Arc::new(names.clone()),
        ..Environment::new("node-1")
    };
    *names.0.lock().unwrap() = Some(proxy.address);
    let remote = remote("pyroscope.example:4040");
    let rig = Rig::with(SinkKind::Pyroscope(remote), environment, clock);
    let fail = || {
        *names.0.lock().unwrap() = None;
        proxy.set(Weather::Refused);
    };
    survive(&rig, fail, || *names.0.lock().unwrap() = Some(second.address)).await;
    let services = 6;
    assert_eq!((first.ledger.len(), second.ledger.len()), (services, 3 * services));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_is_sent_with_each_request() {
    let server = Pyroscope::start(reading(&clock()), true).await.unwrap();
    let mut remote = remote(server.address);
    remote.tenant = Some("team-a".to_owned());
    let rig = Rig::start(SinkKind::Pyroscope(remote));
    rig.put(0, &small(0));
    rig.until_settled().await;
    assert_eq!(rig.status().shipped, 1, "{:?}", rig.status());
}
