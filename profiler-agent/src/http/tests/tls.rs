//! TLS on the TCP address: real handshakes, and a certificate that is replaced.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::sleep;
use tokio_rustls::TlsConnector;

use super::super::{Refused, TlsFiles};
use super::{Endpoint, SOON, get, loopback};

/// Writes a new certificate for localhost, key first, and gives it back.
fn issue(files: &TlsFiles) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(&files.key, signing_key.serialize_pem()).unwrap();
    std::fs::write(&files.cert, cert.pem()).unwrap();
    cert.der().clone()
}

fn files(directory: &Path) -> TlsFiles {
    TlsFiles { cert: directory.join("cert.pem"), key: directory.join("key.pem") }
}

/// Asks for health by a client that trusts this certificate only.
async fn ask(endpoint: &Endpoint, trusted: &CertificateDer<'static>) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let name = "localhost".try_into().unwrap();
    let mut stream = connector.connect(name, endpoint.tcp().await).await?;
    stream.write_all(get("/healthz").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn a_new_certificate_is_taken_without_a_restart() {
    let mut first = None;
    let endpoint = Endpoint::start(|config| {
        loopback(config);
        let files = files(config.socket.as_ref().unwrap().parent().unwrap());
        first = Some(issue(&files));
        config.tls = Some(files);
    })
    .await;
    let first = first.unwrap();
    assert!(ask(&endpoint, &first).await.unwrap().starts_with("HTTP/1.1 200"));
    let files = files(endpoint.directory.path());
    let second = issue(&files);
    let deadline = Instant::now() + SOON;
    while ask(&endpoint, &second).await.is_err() {
        assert!(Instant::now() < deadline, "the new certificate is not used");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(ask(&endpoint, &first).await.is_err());
    endpoint.refused(Refused::Tls, 1).await;
}

#[tokio::test]
async fn what_is_no_tls_is_turned_away() {
    let endpoint = Endpoint::start(|config| {
        loopback(config);
        let files = files(config.socket.as_ref().unwrap().parent().unwrap());
        issue(&files);
        config.tls = Some(files);
    })
    .await;
    let mut plain = endpoint.tcp().await;
    plain.write_all(get("/metrics").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _closed = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
    endpoint.refused(Refused::Tls, 1).await;
}

#[test]
fn files_that_are_no_certificate_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let files = files(directory.path());
    let error = super::super::tls::server(&files).unwrap_err().to_string();
    assert!(error.contains("cert.pem"), "{error}");
    issue(&files);
    std::fs::write(&files.key, "no key").unwrap();
    let error = super::super::tls::server(&files).unwrap_err().to_string();
    assert!(error.contains("key.pem"), "{error}");
    let other = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(&files.key, other.signing_key.serialize_pem()).unwrap();
    let error = super::super::tls::server(&files).unwrap_err().to_string();
    assert!(error.contains("key.pem"), "{error}");
}
