//! By what a table on disk is found: a hash of all that it is made from.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// Of the sources that make tables: see `build.rs`.
const VERSION: &str = env!("UNWIND_TABLES_VERSION");

/// Longest build ID that a file is named by, in bytes.
const MAX_BUILD_ID: usize = 64;

/// Bytes of the hash that a file's name has; the file itself has all of them.
const IN_NAME: usize = 16;

/// The key of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Key {
    build_id: String,
    hash: [u8; 32],
}

/// Makes a key of what a table is made from, piece by piece.
pub(in super::super) struct Hasher {
    build_id: String,
    sum: Sha256,
}

impl Key {
    /// Begins the key of a binary; `None` where its build ID is none to name a file by.
    pub fn begin(build_id: &str) -> Option<Hasher> {
        let is_hex = build_id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_good = is_hex && (2..=2 * MAX_BUILD_ID).contains(&build_id.len());
        is_good.then(|| {
            let mut hasher = Hasher { build_id: build_id.to_owned(), sum: Sha256::new() };
            hasher.bytes(VERSION.as_bytes());
            hasher.bytes(build_id.as_bytes());
            hasher
        })
    }

    /// The hash.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// The name of its file.
    pub fn file_name(&self) -> String {
        let mut name = format!("{}-", self.build_id);
        for byte in self.hash.iter().take(IN_NAME) {
            // Writing to a String cannot fail.
            let _ = write!(name, "{byte:02x}");
        }
        name
    }

    /// Whether a file of this name may be one of these.
    pub fn is_file_name(name: &str) -> bool {
        let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        name.split_once('-').is_some_and(|(build_id, hash)| {
            is_hex(build_id) && !build_id.is_empty() && is_hex(hash) && hash.len() == 2 * IN_NAME
        })
    }
}

impl Hasher {
    /// Adds bytes, and how many they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.sum.update(bytes);
    }

    /// Adds a number.
    pub fn number(&mut self, number: u64) {
        self.sum.update(number.to_le_bytes());
    }

    /// The key.
    pub fn finish(self) -> Key {
        Key { build_id: self.build_id, hash: self.sum.finalize().into() }
    }
}
