//! Who may ask: over the Unix socket root; over TCP whoever has the token, or, where none is set up,
//! programs of this host, but not pages of other sites in a browser on it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::config::StartError;

/// Shortest token: 16 characters of base64 are 96 bits.
const SHORTEST_TOKEN: usize = 16;

/// Largest token file, in bytes.
const LARGEST_FILE: u64 = 4096;

/// How long a token that was read is taken for the current one.
const FRESH: Duration = Duration::from_secs(2);

/// Where a request came from.
#[derive(Clone, Debug)]
pub(super) enum Door {
    /// The Unix socket, whose other end was looked at.
    Socket,
    /// TCP without a token, on this host.
    Loopback,
    /// TCP with a token.
    Token(Arc<Token>),
}

/// What a request may not do, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// It has no token, or a wrong one.
    Token,
    /// It comes from a page of another site.
    Site,
}

impl Door {
    /// Whether a request may be answered.
    pub(super) fn admits(&self, headers: &HeaderMap) -> Result<(), Denied> {
        match self {
            Self::Socket => Ok(()),
            Self::Loopback if is_of_this_host(headers) => Ok(()),
            Self::Loopback => Err(Denied::Site),
            Self::Token(token) if token.is_in(headers) => Ok(()),
            Self::Token(_) => Err(Denied::Token),
        }
    }

    /// Whether a request that it admits may change what the agent does.
    pub(super) fn may_change(&self) -> bool {
        !matches!(self, Self::Loopback)
    }
}

/// A page of another site can make a browser ask `127.0.0.1`, by an address of its own that leads
/// there: its name then stands in `Host`. And it can send a request whose answer it may not read.
fn is_of_this_host(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split(':').next(),
    };
    let name = name.unwrap_or_default();
    let loopback = name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    (loopback || name == "localhost") && !headers.contains_key(header::ORIGIN)
}

/// The token of the configured file, read again when it changes. Only a digest of it is kept.
#[derive(Debug)]
pub(super) struct Token {
    path: PathBuf,
    current: Mutex<Current>,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    digest: [u8; 32],
    read: Instant,
}

impl Token {
    /// Reads the file.
    ///
    /// # Errors
    /// Where it cannot be read, or its token is too short to be one.
    pub(super) fn open(path: &Path) -> Result<Self, StartError> {
        let wrong = |why| StartError::File { path: path.to_path_buf(), why };
        let token = read(path).map_err(|error| wrong(error.to_string()))?;
        if token.len() < SHORTEST_TOKEN {
            let way_out = "for example of `head -c 24 /dev/urandom | base64`";
            let why = format!("a token needs {SHORTEST_TOKEN} characters or more, {way_out}");
            return Err(wrong(why));
        }
        let current = Current { digest: digest(&token), read: Instant::now() };
        Ok(Self { path: path.to_path_buf(), current: Mutex::new(current) })
    }

    /// Whether a request carries it: `Authorization: Bearer TOKEN`, or as the password of basic
    /// credentials, for clients that know no other (`go tool pprof https://user:TOKEN@host/…`).
    fn is_in(&self, headers: &HeaderMap) -> bool {
        let Some(credentials) = headers.get(header::AUTHORIZATION) else { return false };
        let Some((scheme, rest)) = credentials.to_str().ok().and_then(|c| c.split_once(' ')) else {
            return false;
        };
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.is(rest.as_bytes());
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return false;
        }
        let pair = BASE64.decode(rest).unwrap_or_default();
        let password = pair.iter().position(|b| *b == b':').and_then(|at| pair.get(at + 1..));
        password.is_some_and(|password| self.is(password))
    }

    /// Compares digests in constant time, so that neither the length nor a common beginning shows.
    fn is(&self, given: &[u8]) -> bool {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.read.elapsed() > FRESH {
            // A file that is being written, or is gone, leaves the old token in force.
            let token = read(&self.path).ok().filter(|token| token.len() >= SHORTEST_TOKEN);
            current.digest = token.map_or(current.digest, |token| digest(&token));
            current.read = Instant::now();
        }
        current.digest.ct_eq(&digest(given)).into()
    }
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// The file's text without the white space around it.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(LARGEST_FILE).read_to_end(&mut text)?;
    Ok(text.trim_ascii().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "correct horse battery staple";

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn only_the_token_opens() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, format!("{TOKEN}\n")).unwrap();
        let door = Door::Token(Arc::new(Token::open(&path).unwrap()));
        for (value, opens) in [
            (format!("Bearer {TOKEN}"), true),
            (format!("bearer  {TOKEN}"), true),
            (format!("Basic {}", BASE64.encode(format!("anyone:{TOKEN}"))), true),
            (format!("Basic {}", BASE64.encode(TOKEN)), false),
            ("Basic !!!".to_owned(), false),
            (format!("Bearer {}", &TOKEN[1..]), false),
            (format!("Bearer {TOKEN}x"), false),
            ("Bearer ".to_owned(), false),
            (TOKEN.to_owned(), false),
        ] {
            let admitted = door.admits(&headers(header::AUTHORIZATION, &value));
            assert_eq!(admitted.is_ok(), opens, "{value}");
        }
        assert_eq!(door.admits(&HeaderMap::new()), Err(Denied::Token));
    }

    #[test]
    fn a_new_token_is_taken_and_an_empty_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, TOKEN).unwrap();
        let token = Token::open(&path).unwrap();
        let age = |token: &Token| {
            token.current.lock().unwrap().read = Instant::now().checked_sub(FRESH * 2).unwrap();
        };
        std::fs::write(&path, "").unwrap();
        age(&token);
        assert!(token.is(TOKEN.as_bytes()));
        std::fs::write(&path, "another token of some length").unwrap();
        age(&token);
        assert!(!token.is(TOKEN.as_bytes()));
        assert!(token.is(b"another token of some length"));
    }

    #[test]
    fn a_short_token_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, "  secret \n").unwrap();
        assert!(Token::open(&path).unwrap_err().to_string().contains("16 characters"));
        assert!(Token::open(directory.path()).is_err());
        assert!(Token::open(&directory.path().join("missing")).is_err());
    }

    #[test]
    fn a_page_of_another_site_gets_nothing() {
        for (host, admitted) in [
            ("localhost", true),
            ("localhost:7100", true),
            ("127.0.0.1:7100", true),
            ("[::1]:7100", true),
            ("rebound.example:7100", false),
            ("127.0.0.1.example", false),
            ("10.0.0.1:7100", false),
            ("", false),
        ] {
            let admits = Door::Loopback.admits(&headers(header::HOST, host)).is_ok();
            assert_eq!(admits, admitted, "{host}");
        }
        let mut cross = headers(header::HOST, "localhost");
        cross.insert(header::ORIGIN, "https://example.org".parse().unwrap());
        assert_eq!(Door::Loopback.admits(&cross), Err(Denied::Site));
        assert_eq!(Door::Socket.admits(&cross), Ok(()));
    }
}
