//! No client takes more than its share: each bound is run into.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::super::Refused;
use super::{Endpoint, SOON, get, loopback, until};

const TOKEN: &str = "a token of enough characters";

#[tokio::test]
async fn a_wrong_token_gets_nothing_but_health() {
    let endpoint = Endpoint::start(|config| {
        loopback(config);
        let path = config.socket.as_ref().unwrap().with_file_name("token");
        std::fs::write(&path, TOKEN).unwrap();
        config.token_file = Some(path);
    })
    .await;
    let with = |path: &str, token: &str| {
        get(path).replace("\r\n\r\n", &format!("\r\nauthorization: Bearer {token}\r\n\r\n"))
    };
    for path in ["/debug/pprof/profile?seconds=1", "/metrics", "/", "/nothing", "/api/v1/query"] {
        let refused = endpoint.exchange(&get(path)).await;
        assert!(refused.starts_with("HTTP/1.1 401") && refused.contains("Bearer"), "{refused}");
        let wrong = endpoint.exchange(&with(path, "a token of many characters")).await;
        assert!(wrong.starts_with("HTTP/1.1 401"), "{wrong}");
    }
    assert_eq!(endpoint.counts.refused(Refused::Token), 10);
    assert!(endpoint.agent.profiles.lock().unwrap().is_empty());
    assert!(endpoint.exchange(&get("/healthz")).await.starts_with("HTTP/1.1 200"));
    assert!(endpoint.exchange(&with("/metrics", TOKEN)).await.starts_with("HTTP/1.1 200"));
    let burst = with("/api/v1/burst", TOKEN).replace("GET", "POST");
    assert!(endpoint.exchange(&burst).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn profiles_beyond_the_limit_are_told_when_to_come_again() {
    let endpoint = Endpoint::start(|config| {
        loopback(config);
        config.limits.profiles = 3;
    })
    .await;
    endpoint.agent.hold();
    let ask = || {
        let client = endpoint.client();
        tokio::spawn(async move { client.get("/debug/pprof/profile", &[], SOON).await })
    };
    let asked: Vec<_> = (0..3).map(|_| ask()).collect();
    until(|| endpoint.agent.working.load(Ordering::SeqCst) == 3).await;
    let refused = endpoint.exchange(&get("/debug/pprof/profile")).await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 5"), "{refused}");
    // What is cheap is answered all the same.
    assert!(endpoint.exchange(&get("/metrics")).await.starts_with("HTTP/1.1 200"));
    endpoint.agent.leave.add_permits(4);
    for asked in asked {
        asked.await.unwrap().unwrap();
    }
    endpoint.client().get("/debug/pprof/profile", &[], SOON).await.unwrap();
    assert_eq!(endpoint.counts.refused(Refused::Busy), 1);
}

#[tokio::test]
async fn a_client_that_goes_away_frees_its_profile_but_not_its_query() {
    let endpoint = Endpoint::start(|config| config.limits.queries = 1).await;
    endpoint.agent.hold();
    let working = || endpoint.agent.working.load(Ordering::SeqCst);
    for (path, left) in [("/debug/pprof/profile", 0), ("/api/v1/query", 1)] {
        let mut stream = UnixStream::connect(endpoint.socket()).await.unwrap();
        stream.write_all(get(path).as_bytes()).await.unwrap();
        until(|| working() == 1).await;
        drop(stream);
        if left == 0 {
            until(|| working() == 0).await;
        }
    }
    let refused = endpoint.client().get("/api/v1/query", &[], SOON).await.unwrap_err();
    assert!(refused.to_string().contains("come again"), "{refused}");
    assert_eq!(working(), 1);
    endpoint.agent.leave.add_permits(2);
    until(|| working() == 0).await;
    endpoint.client().get("/api/v1/query", &[], SOON).await.unwrap();
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_given_up() {
    let endpoint = Endpoint::start(|config| config.limits.query = Duration::from_millis(50)).await;
    endpoint.agent.hold();
    let error = endpoint.client().get("/api/v1/query", &[], SOON).await.unwrap_err().to_string();
    assert!(error.contains("ask for less"), "{error}");
    assert_eq!(endpoint.counts.refused(Refused::Time), 1);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_turned_away() {
    let endpoint = Endpoint::start(|config| {
        loopback(config);
        config.limits.connections = 4;
    })
    .await;
    let mut idle = Vec::new();
    for _ in 0..4 {
        let mut stream = endpoint.tcp().await;
        let keep = get("/healthz").replace("close", "keep-alive");
        stream.write_all(keep.as_bytes()).await.unwrap();
        assert!(stream.read(&mut [0; 512]).await.unwrap() > 0);
        idle.push(stream);
    }
    let mut one_more = endpoint.tcp().await;
    let mut answer = String::new();
    // It has asked before it hears, and is not reset for that.
    one_more.write_all(get("/healthz").as_bytes()).await.unwrap();
    one_more.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after"), "{answer}");
    assert_eq!(endpoint.counts.refused(Refused::Connections), 1);
    drop(idle);
    until_answered(&endpoint).await;
}

/// The places of connections that were closed are free again, in a moment.
async fn until_answered(endpoint: &Endpoint) {
    let answered = async {
        while endpoint.client().get("/healthz", &[], SOON).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, answered).await.unwrap();
}

#[tokio::test]
async fn a_flood_is_answered_or_refused_but_never_left_waiting() {
    let endpoint = Endpoint::start(|config| {
        config.limits.connections = 8;
        config.limits.profiles = 2;
    })
    .await;
    let asked: Vec<_> = (0..200)
        .map(|_| {
            let client = endpoint.client();
            tokio::spawn(async move { client.get("/debug/pprof/profile", &[], SOON).await })
        })
        .collect();
    let mut answered = 0;
    for asked in asked {
        answered += u32::from(asked.await.unwrap().is_ok());
    }
    assert!(answered > 0);
    endpoint.client().get("/healthz", &[], SOON).await.unwrap();
}

#[tokio::test]
async fn who_does_not_send_a_request_is_cut_off() {
    let endpoint = Endpoint::start(|config| {
        loopback(config);
        config.limits.request = Duration::from_millis(100);
    })
    .await;
    let mut silent = endpoint.tcp().await;
    let mut slow = endpoint.tcp().await;
    slow.write_all(b"GET /metrics HTTP/1.1\r\nhost: local").await.unwrap();
    for stream in [&mut silent, &mut slow] {
        let mut answer = Vec::new();
        timeout(SOON, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }
    endpoint.refused(Refused::Slow, 1).await;
}

#[tokio::test]
async fn who_does_not_read_the_answer_is_cut_off() {
    let endpoint = Endpoint::start(|config| {
        config.limits.reader = Duration::from_millis(200);
        config.limits.reader_rate = 1 << 30;
        config.limits.connections = 1;
    })
    .await;
    *endpoint.agent.profile.lock().unwrap() = Bytes::from(vec![7; 32 << 20]);
    let mut deaf = UnixStream::connect(endpoint.socket()).await.unwrap();
    deaf.write_all(get("/debug/pprof/profile").as_bytes()).await.unwrap();
    endpoint.refused(Refused::Slow, 1).await;
    // And so is one that reads a byte now and then.
    until_answered(&endpoint).await;
    let mut drop_by_drop = UnixStream::connect(endpoint.socket()).await.unwrap();
    drop_by_drop.write_all(get("/debug/pprof/profile").as_bytes()).await.unwrap();
    let sipping = async {
        while endpoint.counts.refused(Refused::Slow) < 2 {
            let _read = drop_by_drop.read(&mut [0; 1]).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, sipping).await.unwrap();
}

#[tokio::test]
async fn a_reader_that_reads_gets_all_of_a_large_answer() {
    let endpoint = Endpoint::start(|_| {}).await;
    *endpoint.agent.profile.lock().unwrap() = Bytes::from(vec![7; 32 << 20]);
    let whole = endpoint.client().get("/debug/pprof/profile", &[], SOON).await.unwrap();
    assert_eq!(whole.len(), 32 << 20);
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused() {
    let endpoint = Endpoint::start(loopback).await;
    let long = get(&format!("/api/v1/query?service={}", "x".repeat(70_000)));
    let answer = endpoint.exchange(&long).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    let many = get("/metrics").replace("\r\n\r\n", &format!("{}\r\n\r\n", "\r\na: b".repeat(200)));
    let answer = endpoint.exchange(&many).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let noise = endpoint.exchange("\x16\x03\x01\0\0 what is this\r\n\r\n").await;
    assert!(noise.is_empty() || noise.starts_with("HTTP/1.1 400"), "{noise}");
    endpoint.client().get("/healthz", &[], SOON).await.unwrap();
}
