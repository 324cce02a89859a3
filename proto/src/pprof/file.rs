//! pprof as a file: one gzip member around one message, as every reader of the format expects.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use prost::Message;

use super::Profile;

/// Largest message that [`decode`] unpacks, in bytes. A profile of a whole host is some megabytes.
pub const MAX_DECODED_BYTES: u64 = 512 << 20;

/// First bytes of a gzip file.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Why some bytes are not a profile.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// There was nothing to read.
    #[error("the file is empty")]
    Empty,
    /// The gzip stream is damaged or ends early.
    #[error("its gzip data is damaged or cut off")]
    Gzip(#[source] io::Error),
    /// More than [`MAX_DECODED_BYTES`].
    #[error("it unpacks to more than {} MiB, which no profile needs", limit >> 20)]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// Not a protobuf message of this type.
    #[error("it is not a pprof profile")]
    Protobuf(#[source] prost::DecodeError),
}

/// Encodes a profile and packs it. The same profile gives the same bytes.
///
/// # Errors
/// None that memory does not cause; the type says so because the packer writes through [`Write`].
pub fn encode_gz(profile: &Profile) -> io::Result<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(&profile.encode_to_vec())?;
    packer.finish()
}

/// Encodes a profile as it is, unpacked.
pub fn encode(profile: &Profile) -> Vec<u8> {
    profile.encode_to_vec()
}

/// How many bytes a message takes as an entry of one of a profile's tables. A profile is as long as its
/// entries together.
pub fn entry_len(message: &impl Message) -> usize {
    let len = message.encoded_len();
    // All tables have tags of one byte.
    1 + prost::length_delimiter_len(len) + len
}

/// Reads a profile, packed or plain.
///
/// The result is only known to be a message of the right type; [`super::validate`] says whether it
/// makes sense.
///
/// # Errors
/// Where the bytes are no profile, or unpack to more than [`MAX_DECODED_BYTES`].
pub fn decode(bytes: &[u8]) -> Result<Profile, DecodeError> {
    decode_bounded(bytes, MAX_DECODED_BYTES)
}

fn decode_bounded(bytes: &[u8], limit: u64) -> Result<Profile, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    if !bytes.starts_with(&GZIP_MAGIC) {
        if bytes.len() as u64 > limit {
            return Err(DecodeError::TooLarge { limit });
        }
        return Profile::decode(bytes).map_err(DecodeError::Protobuf);
    }
    let mut message = Vec::new();
    // One byte more than is allowed tells "just fits" from "too large".
    MultiGzDecoder::new(bytes)
        .take(limit.saturating_add(1))
        .read_to_end(&mut message)
        .map_err(DecodeError::Gzip)?;
    if message.len() as u64 > limit {
        return Err(DecodeError::TooLarge { limit });
    }
    Profile::decode(message.as_slice()).map_err(DecodeError::Protobuf)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        Profile { string_table: vec![String::new(), "cpu".into()], period: 7, ..Default::default() }
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same() {
        let bytes = encode_gz(&profile()).unwrap();
        assert_eq!(bytes, encode_gz(&profile()).unwrap());
        assert_eq!(decode(&bytes).unwrap(), profile());
        assert_eq!(decode(&profile().encode_to_vec()).unwrap(), profile());
    }

    #[test]
    fn each_kind_of_bad_bytes_has_its_error() {
        let mut cut = encode_gz(&profile()).unwrap();
        cut.truncate(cut.len() - 6);
        assert!(matches!(decode(&[]), Err(DecodeError::Empty)));
        assert!(matches!(decode(&cut), Err(DecodeError::Gzip(_))));
        assert!(matches!(decode(b"hello, world"), Err(DecodeError::Protobuf(_))));
    }

    #[test]
    fn a_message_past_the_limit_is_refused_packed_or_plain() {
        let bomb = Profile { string_table: vec!["x".repeat(100_000)], ..Default::default() };
        let packed = encode_gz(&bomb).unwrap();
        assert!(packed.len() < 1000);
        for bytes in [packed, bomb.encode_to_vec()] {
            let error = decode_bounded(&bytes, 50_000).unwrap_err();
            assert!(matches!(error, DecodeError::TooLarge { limit: 50_000 }), "{error}");
        }
        assert!(decode_bounded(&encode_gz(&bomb).unwrap(), 200_000).is_ok());
    }
}
