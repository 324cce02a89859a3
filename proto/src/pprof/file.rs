//! pprof as a file: one gzip member around one message, as every reader of the format expects. Within
//! the agent it may be packed with zstd instead, which is made for being unpacked often.

use std::borrow::Cow;
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use flate2::{Compress, Compression, FlushCompress, Status};
use prost::Message;

use super::Profile;

/// Largest message that [`decode`] unpacks, in bytes. A profile of a whole host is some megabytes.
pub const MAX_DECODED_BYTES: u64 = 512 << 20;

/// First bytes of a gzip file.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// First bytes of a zstd frame.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How hard zstd tries.
const ZSTD_LEVEL: i32 = 3;

/// Why some bytes are not a profile.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// There was nothing to read.
    #[error("the file is empty")]
    Empty,
    /// The gzip stream is damaged or ends early.
    #[error("its gzip data is damaged or cut off")]
    Gzip(#[source] io::Error),
    /// The zstd frame is damaged or ends early.
    #[error("its zstd data is damaged or cut off")]
    Zstd(#[source] io::Error),
    /// More than [`MAX_DECODED_BYTES`].
    #[error("it unpacks to more than {} MiB, which no profile needs", limit >> 20)]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// Not a protobuf message of this type.
    #[error("it is not a pprof profile")]
    Protobuf(#[source] prost::DecodeError),
    /// The same, as [`super::Borrowed`] finds.
    #[error("it is not a pprof profile")]
    Malformed,
}

/// Encodes profiles with gzip, one after the other. What one needs, a quarter of a MiB, costs more to make than
/// a small profile costs to pack.
#[derive(Debug)]
pub struct GzPacker(Compress);

impl Default for GzPacker {
    fn default() -> Self {
        /// The most that the format knows (RFC 1951).
        const WINDOW_BITS: u8 = 15;
        Self(Compress::new_gzip(Compression::default(), WINDOW_BITS))
    }
}

impl GzPacker {
    /// Encodes a profile and packs it. The same profile gives the same bytes.
    ///
    /// # Errors
    /// None that memory does not cause.
    pub fn encode(&mut self, profile: &Profile) -> io::Result<Vec<u8>> {
        self.pack(&profile.encode_to_vec())
    }

    fn pack(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        const STEP: usize = 16 << 10;
        self.0.reset();
        let mut packed = Vec::with_capacity(STEP);
        loop {
            let done = usize::try_from(self.0.total_in()).unwrap_or(usize::MAX);
            let rest = bytes.get(done..).unwrap_or_default();
            match self.0.compress_vec(rest, &mut packed, FlushCompress::Finish)? {
                Status::StreamEnd => return Ok(packed),
                // It wants more room.
                Status::Ok | Status::BufError => packed.reserve(STEP),
            }
        }
    }
}

/// Encodes one profile, as [`GzPacker`] does.
///
/// # Errors
/// None that memory does not cause.
pub fn encode_gz(profile: &Profile) -> io::Result<Vec<u8>> {
    GzPacker::default().encode(profile)
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

/// Encodes a profile and packs it with zstd: for our own use, since no other reader of pprof knows it.
///
/// # Errors
/// As [`encode_gz`].
pub fn encode_zstd(profile: &Profile) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(&profile.encode_to_vec(), ZSTD_LEVEL)
}

/// A profile for other readers: with gzip where it was packed with zstd. What they can read as it is stays
/// as it is.
///
/// # Errors
/// Where it cannot be unpacked.
pub fn to_gz(bytes: &[u8]) -> Result<Cow<'_, [u8]>, DecodeError> {
    if !bytes.starts_with(&ZSTD_MAGIC) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut unpacker = Unpacker::default();
    let packed = GzPacker::default().pack(unpacker.unpack(bytes)?);
    packed.map(Cow::Owned).map_err(DecodeError::Gzip)
}

/// Reads a profile, packed (with gzip or zstd) or plain.
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
    let mut unpacker = Unpacker { limit, ..Unpacker::default() };
    Profile::decode(unpacker.unpack(bytes)?).map_err(DecodeError::Protobuf)
}

/// Unpacks one profile after the other into the same memory.
pub struct Unpacker {
    limit: u64,
    message: Vec<u8>,
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

impl Default for Unpacker {
    fn default() -> Self {
        Self { limit: MAX_DECODED_BYTES, message: Vec::new(), zstd: None }
    }
}

impl std::fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacker").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Unpacker {
    /// The message in a file, packed or plain.
    ///
    /// # Errors
    /// Where it cannot be unpacked, or is larger than [`MAX_DECODED_BYTES`].
    pub fn unpack<'a>(&'a mut self, bytes: &'a [u8]) -> Result<&'a [u8], DecodeError> {
        let too_large = DecodeError::TooLarge { limit: self.limit };
        self.message.clear();
        if bytes.is_empty() {
            return Err(DecodeError::Empty);
        } else if bytes.starts_with(&GZIP_MAGIC) {
            // One byte more than is allowed tells "just fits" from "too large".
            MultiGzDecoder::new(bytes)
                .take(self.limit.saturating_add(1))
                .read_to_end(&mut self.message)
                .map_err(DecodeError::Gzip)?;
        } else if bytes.starts_with(&ZSTD_MAGIC) {
            self.unpack_zstd(bytes)?;
        } else if bytes.len() as u64 > self.limit {
            return Err(too_large);
        } else {
            return Ok(bytes);
        }
        if self.message.len() as u64 > self.limit { Err(too_large) } else { Ok(&self.message) }
    }

    /// The frame says how long its content is; [`encode_zstd`] writes it.
    fn unpack_zstd(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let bad = |why: &str| DecodeError::Zstd(io::Error::other(why.to_owned()));
        let size = zstd::zstd_safe::get_frame_content_size(bytes)
            .map_err(|_| bad("its header is damaged"))?
            .ok_or_else(|| bad("it does not say its size"))?;
        if size > self.limit {
            return Err(DecodeError::TooLarge { limit: self.limit });
        }
        let size = usize::try_from(size).map_err(|_| bad("it does not fit into memory"))?;
        self.message.reserve(size);
        let unpacker = match &mut self.zstd {
            Some(unpacker) => unpacker,
            none => none.insert(zstd::bulk::Decompressor::new().map_err(DecodeError::Zstd)?),
        };
        let written = unpacker.decompress_to_buffer(bytes, &mut self.message);
        written.map(drop).map_err(DecodeError::Zstd)
    }
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
        let packed = encode_zstd(&profile()).unwrap();
        assert_eq!(decode(&packed).unwrap(), profile());
        assert_eq!(decode(&to_gz(&packed).unwrap()).unwrap(), profile());
        assert_eq!(to_gz(&bytes).unwrap(), bytes);
    }

    #[test]
    fn each_kind_of_bad_bytes_has_its_error() {
        let mut cut = encode_gz(&profile()).unwrap();
        cut.truncate(cut.len() - 6);
        assert!(matches!(decode(&[]), Err(DecodeError::Empty)));
        assert!(matches!(decode(&cut), Err(DecodeError::Gzip(_))));
        let packed = encode_zstd(&profile()).unwrap();
        for end in 4..packed.len() {
            assert!(matches!(decode(&packed[..end]), Err(DecodeError::Zstd(_))), "{end}");
        }
        assert!(matches!(decode(b"hello, world"), Err(DecodeError::Protobuf(_))));
    }

    #[test]
    fn a_message_past_the_limit_is_refused_packed_or_plain() {
        let bomb = Profile { string_table: vec!["x".repeat(100_000)], ..Default::default() };
        let packed = encode_gz(&bomb).unwrap();
        assert!(packed.len() < 1000);
        for bytes in [packed, encode_zstd(&bomb).unwrap(), bomb.encode_to_vec()] {
            let error = decode_bounded(&bytes, 50_000).unwrap_err();
            assert!(matches!(error, DecodeError::TooLarge { limit: 50_000 }), "{error}");
        }
        assert!(decode_bounded(&encode_gz(&bomb).unwrap(), 200_000).is_ok());
    }
}
