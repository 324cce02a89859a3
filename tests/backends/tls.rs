//! TLS: an authority of one's own, certificates of the agent, and certificates that change.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use profiler_agent::export::{Remote, SinkKind, Tls};
use profiler_tests::backends::parca::Parca;
use profiler_tests::backends::proxy::TlsFront;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::rig::{Rig, remote, small};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key. One that has expired did so long ago.
fn certificate(
    authority: &Authority,
    name: &str,
    purpose: ExtendedKeyUsagePurpose,
    expired: bool,
) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.extended_key_usages = vec![purpose];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(if expired { 2021 } else { 4000 }, 1, 1);
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, authority).unwrap(), key)
}

/// A server that asks for a certificate of the same authority.
fn server(authority: &Authority, expired: bool) -> ServerConfig {
    let purpose = ExtendedKeyUsagePurpose::ServerAuth;
    let (certificate, key) = certificate(authority, "backend.example", purpose, expired);
    let provider = Arc::new(default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

fn write_client(place: &Path, authority: &Authority) {
    let purpose = ExtendedKeyUsagePurpose::ClientAuth;
    let (certificate, key) = certificate(authority, "agent", purpose, false);
    std::fs::write(place.join("key.pem"), key.serialize_pem()).unwrap();
    std::fs::write(place.join("cert.pem"), certificate.pem()).unwrap();
}

/// A place with the authority's certificate, and what a sink behind this front says of TLS.
fn tls(place: &Path, front: &TlsFront) -> Remote {
    let file = |name: &str| Some(place.join(name));
    let mut remote = remote("");
    remote.url = format!("https://localhost:{}", front.address.port());
    remote.tls = Tls {
        ca: file("ca.pem"),
        cert: file("cert.pem"),
        key: file("key.pem"),
        server_name: Some("backend.example".to_owned()),
    };
    remote
}

/// Windows wait while the server's certificate has expired, and are shipped soon after it was renewed.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_the_server_that_expired_costs_no_window() {
    let place = tempfile::tempdir().unwrap();
    let ours = authority();
    std::fs::write(place.path().join("ca.pem"), ours.pem()).unwrap();
    write_client(place.path(), &ours);
    let backend = Parca::start().await.unwrap();
    let front = TlsFront::start(backend.address, server(&ours, true)).await.unwrap();
    let rig = Rig::start(SinkKind::Parca(tls(place.path(), &front)));
    // Long enough for the pauses between tries to be as long as they get in such a time.
    for number in 0..4 {
        rig.put(number, &small(number));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let error = rig.status().last_error.unwrap_or_default().to_lowercase();
    assert!(error.contains("expired") && backend.ledger.is_empty(), "{error}");
    front.set(server(&ours, false));
    let took = rig.until_settled().await;
    println!("well {took:?} after the certificate was renewed");
    assert_eq!((rig.status().shipped, rig.status().refused), (4, 0));
    assert!(took <= Duration::from_secs(5), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_checked_and_read_again_when_they_change() {
    let place = tempfile::tempdir().unwrap();
    let (ours, other) = (authority(), authority());
    std::fs::write(place.path().join("ca.pem"), ours.pem()).unwrap();
    write_client(place.path(), &other);
    let backend = Parca::start().await.unwrap();
    let front = TlsFront::start(backend.address, server(&ours, true)).await.unwrap();
    let file = |name: &str| Some(place.path().join(name));
    let rig = Rig::start(SinkKind::Parca(tls(place.path(), &front)));

    // The certificate of the server has expired.
    rig.put(0, &small(0));
    let says = |rig: &Rig, what: &str| {
        rig.status().last_error.is_some_and(|e| e.to_lowercase().contains(what))
    };
    rig.until("a word on the expired certificate", |rig| says(rig, "expired")).await;
    assert_eq!(backend.ledger.len(), 0);

    // It is renewed, but now the server does not know who we are.
    front.set(server(&ours, false));
    rig.until("a word on our certificate", |rig| !says(rig, "expired")).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((backend.ledger.len(), rig.status().refused), (0, 0));

    // Our certificate is one of the right authority now.
    write_client(place.path(), &ours);
    let took = rig.until_settled().await;
    assert!(took <= Duration::from_secs(5), "{took:?}");
    assert_eq!(rig.status().shipped, 1);

    // An authority that we do not know.
    front.set(server(&other, false));
    let stranger = Rig::start(SinkKind::Parca({
        let mut remote = remote("");
        remote.url = format!("https://localhost:{}", front.address.port());
        remote.tls = Tls {
            ca: file("ca.pem"),
            server_name: Some("backend.example".into()),
            ..Tls::default()
        };
        remote
    }));
    stranger.put(1, &small(1));
    stranger
        .until("a word on the authority", |rig| {
            rig.status().last_error.is_some_and(|e| e.to_lowercase().contains("certificate"))
        })
        .await;
    assert_eq!(stranger.status().shipped, 0);
}
