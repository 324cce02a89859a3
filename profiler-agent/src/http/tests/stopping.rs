//! The end: requests have a moment, the socket goes away, and a new server takes its place.

use std::sync::atomic::Ordering;

use tokio::time::timeout;

use super::super::{Config, Server};
use super::{Endpoint, SOON, until};

#[tokio::test]
async fn it_stops_also_when_requests_hang() {
    let endpoint = Endpoint::start(|_| {}).await;
    endpoint.agent.hold();
    let client = endpoint.client();
    let hanging = tokio::spawn(async move { client.get("/debug/pprof/profile", &[], SOON).await });
    until(|| endpoint.agent.working.load(Ordering::SeqCst) == 1).await;
    endpoint.stop.cancel();
    timeout(SOON, endpoint.served).await.unwrap().unwrap();
    assert!(!endpoint.directory.path().join("agent.sock").exists());
    assert!(hanging.await.unwrap().is_err());
}

#[tokio::test]
async fn the_next_one_opens_the_same_socket() {
    let first = Endpoint::start(|_| {}).await;
    let config = Config { socket: Some(first.socket()), ..Config::default() };
    let open = || Server::open(&config, first.agent.clone(), first.counts.clone());
    let taken = open().await.err().unwrap().to_string();
    assert!(taken.contains("another agent"), "{taken}");
    first.stop.cancel();
    timeout(SOON, first.served).await.unwrap().unwrap();
    assert!(open().await.is_ok());
}
