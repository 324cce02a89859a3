//! The certificate of the TCP endpoint, read again when its files change.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::config::{StartError, TlsFiles};

/// How often, at most, the files are looked at.
const FRESH: Duration = Duration::from_secs(2);

/// The configuration of a server with this certificate.
///
/// # Errors
/// Where a file cannot be read, holds no certificate or key, or the two do not belong together.
pub(super) fn server(files: &TlsFiles) -> Result<Arc<ServerConfig>, StartError> {
    let provider = Arc::new(ring::default_provider());
    let certificate = Certificate::read(files, &provider)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&files.cert, &error))?;
    let resolver = Resolver { files: files.clone(), provider, current: Mutex::new(certificate) };
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Gives each connection the newest certificate.
#[derive(Debug)]
struct Resolver {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    current: Mutex<Certificate>,
}

#[derive(Debug)]
struct Certificate {
    key: Arc<CertifiedKey>,
    stamp: Stamp,
    looked: Instant,
}

/// What tells one content of the two files from another.
type Stamp = [Option<(u64, u64, i64, i64)>; 2];

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.newest())
    }
}

impl Resolver {
    fn newest(&self) -> Arc<CertifiedKey> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() > FRESH {
            current.looked = Instant::now();
            if stamp(&self.files) != current.stamp {
                self.renew(&mut current);
            }
        }
        Arc::clone(&current.key)
    }

    /// Takes the new certificate. Files that are being replaced, one after the other, do not fit
    /// together: the old one stays in force until they do.
    fn renew(&self, current: &mut Certificate) {
        match Certificate::read(&self.files, &self.provider) {
            Ok(new) => {
                tracing::info!(cert = %self.files.cert.display(), "read the new certificate");
                *current = new;
            }
            Err(error) => tracing::warn!("the old certificate stays in use: {error}"),
        }
    }
}

impl Certificate {
    fn read(files: &TlsFiles, provider: &CryptoProvider) -> Result<Self, StartError> {
        // Before the contents: a change in between is seen at the next look.
        let stamp = stamp(files);
        let chain = CertificateDer::pem_file_iter(&files.cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| wrong(&files.cert, &error))?;
        if chain.is_empty() {
            return Err(wrong(&files.cert, &"holds no certificate"));
        }
        let key =
            PrivateKeyDer::from_pem_file(&files.key).map_err(|error| wrong(&files.key, &error))?;
        let key = CertifiedKey::from_der(chain, key, provider)
            .map_err(|error| wrong(&files.key, &error))?;
        Ok(Self { key: Arc::new(key), stamp, looked: Instant::now() })
    }
}

fn stamp(files: &TlsFiles) -> Stamp {
    let of = |meta: Metadata| (meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec());
    [&files.cert, &files.key].map(|path| std::fs::metadata(path).ok().map(of))
}

fn wrong(path: &Path, why: &impl ToString) -> StartError {
    StartError::File { path: path.to_path_buf(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issue() -> rcgen::CertifiedKey<rcgen::KeyPair> {
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap()
    }

    #[test]
    fn while_the_files_do_not_fit_together_the_old_certificate_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name| directory.path().join(name);
        let files = TlsFiles { cert: path("cert"), key: path("key") };
        let write = |cert: &rcgen::CertifiedKey<rcgen::KeyPair>,
                     key: &rcgen::CertifiedKey<rcgen::KeyPair>| {
            std::fs::write(&files.cert, cert.cert.pem()).unwrap();
            std::fs::write(&files.key, key.signing_key.serialize_pem()).unwrap();
        };
        let (first, second) = (issue(), issue());
        write(&first, &first);
        let provider = Arc::new(ring::default_provider());
        let current = Mutex::new(Certificate::read(&files, &provider).unwrap());
        let resolver = Resolver { files: files.clone(), provider, current };
        let newest = || {
            resolver.current.lock().unwrap().looked =
                Instant::now().checked_sub(FRESH * 2).unwrap();
            resolver.newest().end_entity_cert().unwrap().to_vec()
        };
        assert_eq!(newest(), first.cert.der().to_vec());
        write(&first, &second);
        assert_eq!(newest(), first.cert.der().to_vec());
        std::fs::remove_file(&files.key).unwrap();
        assert_eq!(newest(), first.cert.der().to_vec());
        write(&second, &second);
        assert_eq!(newest(), second.cert.der().to_vec());
    }
}
