//! Credentials from files, read again when those change.

use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tonic::metadata::AsciiMetadataValue;

use crate::export::config::Credentials;

/// Credentials, as last read.
pub(super) struct Secrets {
    credentials: Credentials,
    /// The value of the header, and what the file was when it was made.
    read: Mutex<Option<(u64, AsciiMetadataValue)>>,
}

impl Secrets {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self { credentials, read: Mutex::default() }
    }

    pub(super) fn file(&self) -> &PathBuf {
        match &self.credentials {
            Credentials::Bearer { token_file } => token_file,
            Credentials::Basic { password_file, .. } => password_file,
        }
    }

    /// The value of the header `authorization`.
    pub(super) fn authorization(&self) -> Result<AsciiMetadataValue, String> {
        let now = fingerprint([self.file()]);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, value)) = read.as_ref().filter(|(then, _)| *then == now) {
            return Ok(value.clone());
        }
        let value = self.make()?;
        *read = Some((now, value.clone()));
        Ok(value)
    }

    fn make(&self) -> Result<AsciiMetadataValue, String> {
        let file = self.file().display();
        let secret = std::fs::read_to_string(self.file()).map_err(|e| format!("{file}: {e}"))?;
        let text = match &self.credentials {
            Credentials::Bearer { .. } => format!("Bearer {}", secret.trim()),
            Credentials::Basic { username, .. } => {
                let password = secret.trim_end_matches(['\r', '\n']);
                format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
            }
        };
        let mut value: AsciiMetadataValue =
            text.parse().map_err(|_| format!("{file}: there is more than a token in it"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// A number that changes when one of these files is another, or is written to.
pub(super) fn fingerprint(files: impl IntoIterator<Item = impl AsRef<Path>>) -> u64 {
    // Fixed seeds: the number is kept and compared.
    let mut hasher = ahash::RandomState::with_seeds(1, 2, 3, 4).build_hasher();
    for file in files {
        let facts = std::fs::metadata(file.as_ref()).ok();
        facts.map(|m| (m.ino(), m.len(), m.mtime(), m.mtime_nsec())).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_read_again() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("secret");
        let secrets = Secrets::new(Credentials::Bearer { token_file: file.clone() });
        assert!(secrets.authorization().unwrap_err().contains("secret"));
        std::fs::write(&file, "one\n").unwrap();
        assert_eq!(secrets.authorization().unwrap(), "Bearer one");
        let before = fingerprint([&file]);
        std::fs::write(&file, "another").unwrap();
        assert_ne!(fingerprint([&file]), before);
        let value = secrets.authorization().unwrap();
        assert_eq!(value, "Bearer another");
        assert!(value.is_sensitive());
        std::fs::write(&file, "two\nlines and more").unwrap();
        assert!(secrets.authorization().is_err());
    }

    #[test]
    fn a_password_is_sent_with_its_user() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("secret");
        std::fs::write(&file, "open sesame\n").unwrap();
        let username = "Aladdin".to_owned();
        let secrets = Secrets::new(Credentials::Basic { username, password_file: file });
        // The example of RFC 7617, but for a space that it has as well.
        assert_eq!(secrets.authorization().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }
}
