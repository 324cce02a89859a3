//! A section's contents, unpacked, within bounds: a header may claim any size, and a packed section may
//! hold any amount.

use std::io::Read;

use flate2::read::ZlibDecoder;
use object::{LittleEndian as LE, elf, pod};
use zstd::stream::read::Decoder as ZstdDecoder;

use super::elf::{Elf, Extent};
use super::table::NoTable;

/// Memory that a zstd frame may ask for, as a power of two: 8 MiB, which every decoder must support.
const ZSTD_WINDOW_LOG: u32 = 23;

/// The contents of a section named `what`, of at most `limit` bytes.
pub(super) fn contents(
    elf: &Elf<'_>,
    extent: Extent,
    what: &'static str,
    limit: u64,
) -> Result<Vec<u8>, NoTable> {
    let malformed = NoTable::Malformed(what);
    if extent.size > limit {
        return Err(NoTable::TooLarge { what, limit });
    }
    let Some(bytes) = elf.bytes(extent)? else { return Err(malformed) };
    if !extent.is_packed {
        return Ok(bytes);
    }
    let Ok((header, packed)) = pod::from_bytes::<elf::CompressionHeader64<LE>>(&bytes) else {
        return Err(malformed);
    };
    let size = header.ch_size.get(LE);
    if size > limit {
        return Err(NoTable::TooLarge { what, limit });
    }
    match header.ch_type.get(LE) {
        elf::ELFCOMPRESS_ZLIB => fill(ZlibDecoder::new(packed), size, what),
        elf::ELFCOMPRESS_ZSTD => {
            let mut decoder = ZstdDecoder::with_buffer(packed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            fill(decoder, size, what)
        }
        _ => Err(malformed),
    }
}

/// Reads as many bytes as the header promised; fewer are an error.
fn fill(reader: impl Read, size: u64, what: &'static str) -> Result<Vec<u8>, NoTable> {
    let mut bytes = Vec::new();
    reader.take(size).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == size { Ok(bytes) } else { Err(NoTable::Malformed(what)) }
}
