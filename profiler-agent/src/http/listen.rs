//! Opens the Unix socket and the TCP address.

use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener};

use super::config::StartError;

/// A Unix socket that goes away with its value.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Makes the socket, for its owner alone. One that an agent left behind is replaced.
    ///
    /// # Errors
    /// Where another agent has it, or it cannot be made.
    pub(super) fn open(path: &Path) -> Result<Self, StartError> {
        let failed = |source| StartError::Listen { place: path.display().to_string(), source };
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(failed)?;
        }
        if is_in_use(path).map_err(failed)? {
            return Err(StartError::AnotherAgent { path: path.to_path_buf() });
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        // Who connects before this line is looked at as well, by user: see `is_of_us`.
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self { listener, path: path.to_path_buf() })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Nothing is lost where it stays: the next agent replaces it.
        let _gone = std::fs::remove_file(&self.path);
    }
}

/// Opens the TCP address.
///
/// # Errors
/// Where it is taken or not of this host.
pub(super) async fn tcp(address: SocketAddr) -> Result<TcpListener, StartError> {
    let failed = |source| StartError::Listen { place: address.to_string(), source };
    TcpListener::bind(address).await.map_err(failed)
}

/// Whether the other end of a connection is root or the agent's own user.
pub(super) fn is_of_us(stream: &tokio::net::UnixStream) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

/// Whether somebody answers at the socket; one that nobody answers at is removed.
fn is_in_use(path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the file there is no socket",
            ));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run").join("agent.sock");
        let first = Socket::open(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(Socket::open(&path), Err(StartError::AnotherAgent { .. })));
        drop(first);
        assert!(!path.exists());
        // What a SIGKILL leaves: the file, and nobody behind it.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let second = Socket::open(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        assert!(is_of_us(&second.listener.accept().await.unwrap().0));
    }

    #[tokio::test]
    async fn a_file_in_its_place_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(Socket::open(&path), Err(StartError::Listen { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
