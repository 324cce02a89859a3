//! What the keys of `[sinks.NAME]` and `[labels]` do, seen by the servers. The list of all keys with their
//! proofs is in profiler-agent/src/config/tests/behaviour.rs.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use profiler_agent::config::Config;
use profiler_agent::config::layers::Layers;
use profiler_agent::export::SinkConfig;
use profiler_tests::backends::Ledger;
use profiler_tests::backends::moods::Mood;
use profiler_tests::backends::otlp::Otlp;
use profiler_tests::backends::parca::Parca;
use profiler_tests::backends::pyroscope::Pyroscope;
use tokio::time::Instant;

use super::rig::{Rig, clock, reading, small, values_of};

/// A sink as it is configured: what every one here has, and this. `DIR` stands for the place.
fn configured(place: &Path, ty: &str, address: SocketAddr, more: &str) -> SinkConfig {
    let text = format!(
        "[labels]\nenv = \"prod\"\nregion = \"eu\"\n\
         [sinks.test]\ntype = \"{ty}\"\nurl = \"http://{address}\"\n{more}"
    );
    let file = place.join("agent.toml");
    std::fs::write(&file, text.replace("DIR", &place.display().to_string())).unwrap();
    let config = Config::load(&Layers { file: Some(file), ..Layers::default() });
    config.unwrap_or_else(|complaints| panic!("{complaints}")).settings.sinks.remove(0)
}

/// Ships one window with a sink of this type to a server that speaks nothing else, with all that can be
/// said of requests; and another with nothing said.
async fn ship_both_ways(ty: &str, address: SocketAddr, ledger: &Ledger) {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("password"), "open sesame\n").unwrap();
    std::fs::write(place.path().join("token"), "t0ken\n").unwrap();
    let said = r#"
tenant = "team-a"
headers = { X-Team = "platform" }
username = "agent"
password_file = "DIR/password"
compression = "none"
labels = { region = "us" }
"#;
    for (more, basic, region) in [(said, true, "us"), ("token_file = \"DIR/token\"", false, "eu")] {
        let before = (ledger.len(), ledger.headers().len());
        let rig = Rig::of(&configured(place.path(), ty, address, more));
        rig.put(0, &small(0));
        rig.until_settled().await;
        assert_eq!((rig.status().shipped, rig.status().retried), (1, 0), "{ty}: {more}");
        assert_eq!(ledger.violations(), [""; 0], "{ty}");
        let received = ledger.received().split_off(before.0);
        assert_eq!(values_of(&received), small(0).values, "{ty}");
        for one in &received {
            assert_eq!((&*one.labels["env"], &*one.labels["region"]), ("prod", region), "{ty}");
            assert_eq!(one.packed, !basic, "{ty}: compression");
        }
        for headers in ledger.headers().split_off(before.1) {
            let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
            assert_eq!(header("x-scope-orgid"), basic.then_some("team-a"), "{ty}");
            assert_eq!(header("x-team"), basic.then_some("platform"), "{ty}");
            // `agent:open sesame`.
            let due = if basic { "Basic YWdlbnQ6b3BlbiBzZXNhbWU=" } else { "Bearer t0ken" };
            assert_eq!(header("authorization"), Some(due), "{ty}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_type_sends_what_is_configured_to_its_own_server() {
    let pyroscope = Pyroscope::start(reading(&clock()), false).await.unwrap();
    ship_both_ways("pyroscope", pyroscope.address, &pyroscope.ledger).await;
    let parca = Parca::start().await.unwrap();
    ship_both_ways("parca", parca.address, &parca.ledger).await;
    let otlp = Otlp::start().await.unwrap();
    ship_both_ways("otlp", otlp.address, &otlp.ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_takes_no_longer_than_its_timeout() {
    let place = tempfile::tempdir().unwrap();
    let server = Parca::start().await.unwrap();
    server.moods.set(Mood::Silent);
    let rig = Rig::of(&configured(place.path(), "parca", server.address, "timeout = \"300ms\""));
    let begun = Instant::now();
    rig.put(0, &small(0));
    rig.until("a try to be given up", |rig| rig.status().retried > 0).await;
    // Without the key it is 10 s, and nothing is called silence before 3 s.
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    // Whoever is the first to say so, the agent or the server.
    let error = rig.status().last_error.unwrap_or_default();
    let is_told = ["no answer within 300ms", "Timeout expired"].iter().any(|t| error.contains(t));
    assert!(is_told, "{error}");
    server.moods.set(Mood::Well);
    rig.until_settled().await;
    assert_eq!(rig.status().shipped, 1);
}

/// Each request waits for the server's flush, so that all that may be under way are.
#[tokio::test(flavor = "multi_thread")]
async fn no_more_requests_are_under_way_than_are_allowed() {
    let place = tempfile::tempdir().unwrap();
    for in_flight in [2, 16] {
        let server = Pyroscope::start(reading(&clock()), false).await.unwrap();
        let more = format!("in_flight = {in_flight}");
        let rig = Rig::of(&configured(place.path(), "pyroscope", server.address, &more));
        rig.put(0, &small(0));
        rig.until_settled().await;
        let most = server.ledger.most_under_way();
        if in_flight == 2 {
            assert_eq!(most, 2);
        } else {
            assert!(most > 2, "{most} of six requests were under way at once");
        }
    }
}
