//! What TLS needs: whom to trust, and who we are. The files are read for each connection.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::credentials;
use crate::export::config::Tls;

/// HTTP/2, which is all that gRPC speaks.
const PROTOCOL: &[u8] = b"h2";

/// A number that changes when one of the files does.
pub(super) fn fingerprint(tls: &Tls) -> u64 {
    credentials::fingerprint([&tls.ca, &tls.cert, &tls.key].into_iter().flatten())
}

/// Reads the files.
pub(super) async fn client(tls: &Arc<Tls>) -> io::Result<Arc<ClientConfig>> {
    let tls = Arc::clone(tls);
    let read = tokio::task::spawn_blocking(move || client_config(&tls));
    read.await.map_err(io::Error::other)?.map(Arc::new)
}

fn client_config(tls: &Tls) -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots(tls.ca.as_deref())?);
    let mut config = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => {
            let chain = certificates(cert)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable(key, &e))?;
            builder.with_client_auth_cert(chain, key).map_err(io::Error::other)?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}

/// Those of the file, or those that the host trusts.
fn roots(ca: Option<&Path>) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let Some(ca) = ca else {
        let host = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(host.certs);
        if roots.is_empty() {
            let message =
                "the host has no certificates of authorities: set tls.ca, or install them";
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        return Ok(roots);
    };
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(|e| unreadable(ca, &e))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|e| unreadable(path, &e))?.collect();
    let chain = chain.map_err(|e| unreadable(path, &e))?;
    if chain.is_empty() {
        return Err(unreadable(path, &"there is no certificate in it"));
    }
    Ok(chain)
}

fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()))
}
