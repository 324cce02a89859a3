//! Where the endpoint listens, and its bounds.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How the endpoint is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Unix socket, for root alone.
    pub socket: Option<PathBuf>,
    /// TCP address, beside it.
    pub listen: Option<SocketAddr>,
    /// Certificate for TCP.
    pub tls: Option<TlsFiles>,
    /// File with the token that requests over TCP must carry.
    pub token_file: Option<PathBuf>,
    /// Bounds.
    pub limits: Limits,
}

/// A certificate with its key, PEM. Read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate, with those that signed it behind it.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// What one client, and all together, may take of the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Profiles and tables that are being taken at once.
    pub profiles: usize,
    /// Queries of the store at once: each decodes and merges, on a thread of its own.
    pub queries: usize,
    /// How long a request may take to arrive.
    pub request: Duration,
    /// How long writes of one connection may wait for its reader, beyond [`Self::reader_rate`].
    pub reader: Duration,
    /// Bytes per second that a reader is expected to take.
    pub reader_rate: u64,
    /// How long a query may take.
    pub query: Duration,
    /// The longest time that one query may ask for.
    pub query_range: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 128,
            profiles: 16,
            queries: 2,
            request: Duration::from_secs(10),
            reader: Duration::from_secs(30),
            reader_rate: 64 << 10,
            query: Duration::from_secs(30),
            query_range: Duration::from_secs(7 * 86_400),
        }
    }
}

/// Why the endpoint cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It would be open to the network.
    #[error("http.listen = \"{address}\" is not on this host alone, and {missing}")]
    Open {
        /// The address.
        address: SocketAddr,
        /// What is missing.
        missing: &'static str,
    },
    /// TLS is set up, but not the address that it is for.
    #[error("http.tls is set and http.listen is not: nothing would use it")]
    NothingToEncrypt,
    /// Another agent has the socket.
    #[error("another agent listens at {}: stop it, or give this one another http.socket", path.display())]
    AnotherAgent {
        /// The socket.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("cannot listen at {place}")]
    Listen {
        /// The socket or address.
        place: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file cannot be used.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl Config {
    /// Checks what can be checked without touching anything.
    ///
    /// # Errors
    /// Where it would be open to the network without TLS and a token.
    pub fn check(&self) -> Result<(), StartError> {
        let Some(address) = self.listen else {
            return match self.tls {
                Some(_) => Err(StartError::NothingToEncrypt),
                None => Ok(()),
            };
        };
        let missing = match (&self.tls, &self.token_file) {
            _ if address.ip().is_loopback() => return Ok(()),
            (Some(_), Some(_)) => return Ok(()),
            (None, Some(_)) => "http.tls is not set: give it cert and key",
            (Some(_), None) => "http.token_file is not set: name a file with a long random text",
            (None, None) => "neither http.tls nor http.token_file is set: give both",
        };
        Err(StartError::Open { address, missing })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_sees_nothing_without_tls_and_a_token() {
        let tls = Some(TlsFiles { cert: "c".into(), key: "k".into() });
        let token = Some(PathBuf::from("t"));
        for (listen, tls, token_file, refused) in [
            (None, None, None, None),
            (None, tls.clone(), None, Some("nothing would use it")),
            (Some("127.0.0.1:7100"), None, None, None),
            (Some("[::1]:7100"), None, None, None),
            (Some("0.0.0.0:7100"), None, None, Some("give both")),
            (Some("0.0.0.0:7100"), tls.clone(), None, Some("http.token_file")),
            (Some("[::]:7100"), None, token.clone(), Some("http.tls is not set")),
            (Some("10.1.2.3:7100"), tls, token, None),
        ] {
            let listen = listen.map(|text| text.parse().unwrap());
            let config = Config { listen, tls, token_file, ..Config::default() };
            let checked = config.check().map_err(|error| error.to_string());
            match refused {
                None => assert_eq!(checked, Ok(()), "{config:?}"),
                Some(why) => assert!(checked.unwrap_err().contains(why), "{config:?}"),
            }
        }
    }
}
