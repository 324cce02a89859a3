//! Every path answers, and what it does not take is told with the way out.

use std::time::Duration;

use http::StatusCode;

use super::super::client::ClientError;
use super::super::{BurstStarted, Refused};
use super::{Endpoint, SOON, get, loopback};
use crate::model::choice::EventChoice;
use crate::model::hottest::Hottest;

async fn refusal(endpoint: &Endpoint, path: &str) -> (u16, String) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let pairs: Vec<(&str, &str)> = query.split('&').filter_map(|p| p.split_once('=')).collect();
    match endpoint.client().get(path, &pairs, SOON).await {
        Err(ClientError::Refused { status, text }) => (status.as_u16(), text),
        other => panic!("{path}: {other:?}"),
    }
}

#[tokio::test]
async fn profiles_are_asked_for_as_they_were_meant() {
    let endpoint = Endpoint::start(|_| {}).await;
    let client = endpoint.client();
    let parameters = [("seconds", "5"), ("pid", "12"), ("label", "state=disk wait")];
    let profile = client.get("/debug/pprof/profile", &parameters, SOON).await.unwrap();
    assert_eq!(&profile[..], b"a profile");
    client.get("/debug/pprof/offcpu", &[("service", "a/b c")], SOON).await.unwrap();
    let asked = endpoint.agent.profiles.lock().unwrap().clone();
    assert_eq!(asked[0].length, Duration::from_secs(5));
    assert_eq!(asked[0].filter.pid, Some(12));
    assert_eq!(asked[0].filter.event, EventChoice::OnCpu);
    assert_eq!(asked[0].filter.labels, [("state".to_owned(), "disk wait".to_owned())]);
    assert_eq!(asked[1].length, Duration::from_secs(30));
    assert_eq!(asked[1].filter.service.as_deref(), Some("a/b c"));
    assert_eq!(asked[1].filter.event, EventChoice::OffCpu);
    assert_eq!(endpoint.counts.requests(), 2);
}

#[tokio::test]
async fn the_agent_profiles_itself_both_ways() {
    let endpoint = Endpoint::start(|_| {}).await;
    let client = endpoint.client();
    let own = client.get("/debug/pprof/self", &[("seconds", "1")], SOON).await.unwrap();
    assert_eq!(&own[..], b"a profile");
    assert_eq!(endpoint.agent.profiles.lock().unwrap()[0].filter.pid, Some(std::process::id()));
    let own = client.get("/debug/pprof/self", &[("by", "signal")], SOON).await.unwrap();
    assert_eq!(&own[..], b"by signals");
    assert_eq!(refusal(&endpoint, "/debug/pprof/self?by=magic").await.0, 400);
}

#[tokio::test]
async fn the_rest_answers() {
    let endpoint = Endpoint::start(|_| {}).await;
    let client = endpoint.client();
    let found = client.get("/api/v1/query", &[("format", "folded"), ("last", "10m")], SOON).await;
    assert_eq!(&found.unwrap()[..], b"a b 3\n");
    assert_eq!(endpoint.agent.queries.lock().unwrap()[0].range.length_ns(), 600_000_000_000);
    let top = client.get("/api/v1/top", &[("limit", "3")], SOON).await.unwrap();
    let top: Hottest = serde_json::from_slice(&top).unwrap();
    assert_eq!(top.services[0].name, "redis");
    assert_eq!(endpoint.agent.tops.lock().unwrap()[0].limit, 3);
    let burst = [("frequency", "500"), ("duration", "20s"), ("pid", "7")];
    let burst = client.post("/api/v1/burst", &burst, SOON).await.unwrap();
    let burst: BurstStarted = serde_json::from_slice(&burst).unwrap();
    assert_eq!(burst, BurstStarted { frequency: 500, seconds: 20 });
    assert_eq!(endpoint.agent.bursts.lock().unwrap()[0].pid, Some(7));
    for (path, text) in [("/metrics", "# EOF\n"), ("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        assert_eq!(&client.get(path, &[], SOON).await.unwrap()[..], text.as_bytes(), "{path}");
    }
    assert!(client.get("/", &[], SOON).await.unwrap().starts_with(b"/debug/pprof/profile"));
}

#[tokio::test]
async fn what_is_wrong_is_told_with_the_way_out() {
    let endpoint = Endpoint::start(|_| {}).await;
    for (path, status, told) in [
        ("/debug/pprof/heap", 404, "/debug/pprof/profile?seconds=30"),
        ("/debug/pprof/profile?secnds=3", 400, "did you mean seconds?"),
        ("/debug/pprof/profile?seconds=100000", 400, "from 1 to 600"),
        ("/debug/pprof/profile?seconds=1e3", 400, "from 1 to 600"),
        ("/debug/pprof/profile?pid=99999999999", 400, "pid=99999999999"),
        ("/api/v1/query?last=yesterday", 400, "last=10m"),
        ("/api/v1/query?last=1000d", 400, "ask in parts"),
        ("/api/v1/query?format=png", 400, "svg, pprof, folded or text"),
        ("/api/v1/top?seconds=61", 400, "from 0 to 60"),
    ] {
        let (got, text) = refusal(&endpoint, path).await;
        assert_eq!(got, status, "{path}: {text}");
        assert!(text.contains(told), "{path}: {text}");
    }
    assert_eq!(endpoint.counts.refused(Refused::Question), 9);
    let post = endpoint.client().post("/metrics", &[], SOON).await.unwrap_err();
    assert!(matches!(post, ClientError::Refused { status: StatusCode::METHOD_NOT_ALLOWED, .. }));
}

#[tokio::test]
async fn readiness_says_what_is_missing_and_health_does_not_care() {
    let endpoint = Endpoint::start(|_| {}).await;
    *endpoint.agent.missing.lock().unwrap() = vec!["the programs are being loaded".to_owned()];
    let (status, text) = refusal(&endpoint, "/readyz").await;
    assert_eq!((status, text.as_str()), (503, "not ready: the programs are being loaded"));
    endpoint.client().get("/healthz", &[], SOON).await.unwrap();
}

#[tokio::test]
async fn over_tcp_without_a_token_the_host_may_look_and_not_touch() {
    let endpoint = Endpoint::start(loopback).await;
    let answer = endpoint.exchange(&get("/debug/pprof/profile?seconds=1")).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("a profile"), "{answer}");
    assert!(answer.contains("filename=\"profile.pb.gz\""), "{answer}");
    let page = get("/debug/pprof/profile").replace("localhost", "rebound.example");
    assert!(endpoint.exchange(&page).await.starts_with("HTTP/1.1 403"));
    let burst = get("/api/v1/burst").replace("GET", "POST");
    let answer = endpoint.exchange(&burst).await;
    assert!(answer.starts_with("HTTP/1.1 409") && answer.contains("http.token_file"), "{answer}");
    assert!(endpoint.agent.bursts.lock().unwrap().is_empty());
    assert_eq!(endpoint.counts.refused(Refused::Stranger), 1);
}

#[tokio::test]
async fn without_an_agent_the_way_out_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let client = super::Client::new(&directory.path().join("none.sock"));
    let error = client.get("/healthz", &[], SOON).await.unwrap_err().to_string();
    assert!(error.contains("none.sock") && error.contains("profiler-agent run"), "{error}");
}
