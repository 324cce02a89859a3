//! The form of a table on disk: a header, a header for each part, the bytes of each part. All integers
//! are little endian. Bytes that come back are believed no more than those of any other file.

use std::fs::File;
use std::io::{self, Read, Write};

use profiler_common::native::lookup::{CHUNK_BYTES, CHUNK_SHIFT};
use sha2::{Digest, Sha256};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::key::Key;
use crate::runtime::native::table::{Limits, Part};

const MAGIC: [u8; 8] = *b"unwindtb";
/// Of the form of these headers; what the bytes of a part mean is in the key.
const FORMAT: u32 = 1;

/// What a file begins with.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    format: u32,
    parts: u32,
    /// Bytes behind this header.
    bytes: u64,
    /// SHA-256 of them.
    checksum: [u8; 32],
    /// The hash of the key.
    key: [u8; 32],
}

/// What stands for a part before the bytes of all parts.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct PartHeader {
    address: u64,
    len: u64,
    rules: u32,
    rule_count: u32,
    bytes: u32,
    _pad: u32,
}

impl PartHeader {
    fn of(part: &Part) -> Self {
        Self {
            address: part.address,
            len: part.len,
            rules: part.rules,
            rule_count: part.rule_count,
            // No part is longer than a region.
            bytes: part.bytes.len() as u32,
            _pad: 0,
        }
    }

    /// Behind its last address; `None` of one that no table can have.
    fn end(&self) -> Option<u64> {
        let is_whole = |n: u64| n.is_multiple_of(CHUNK_BYTES.into());
        let chunks = self.len >> CHUNK_SHIFT;
        let fits = is_whole(self.address)
            && is_whole(self.len)
            && (1..=u64::from(u32::MAX)).contains(&self.len)
            && self.rules.is_multiple_of(8)
            && chunks * 4 <= self.rules.into()
            && self.rules <= self.bytes
            && self.bytes <= Limits::MAX_PART;
        self.address.checked_add(self.len).filter(|_| fits)
    }
}

/// Bytes of the file of a table.
pub fn size(parts: &[Part]) -> u64 {
    let parts = parts.iter().map(|part| (size_of::<PartHeader>() + part.bytes.len()) as u64);
    size_of::<Header>() as u64 + parts.sum::<u64>()
}

/// Writes a table.
pub fn write(file: &mut File, key: &Key, parts: &[Part]) -> io::Result<()> {
    let headers: Vec<PartHeader> = parts.iter().map(PartHeader::of).collect();
    let mut sum = Sha256::new();
    sum.update(headers.as_bytes());
    parts.iter().for_each(|part| sum.update(&part.bytes));
    let header = Header {
        magic: MAGIC,
        format: FORMAT,
        parts: u32::try_from(parts.len()).map_err(io::Error::other)?,
        bytes: size(parts) - size_of::<Header>() as u64,
        checksum: sum.finalize().into(),
        key: *key.hash(),
    };
    file.write_all(header.as_bytes())?;
    file.write_all(headers.as_bytes())?;
    parts.iter().try_for_each(|part| file.write_all(&part.bytes))
}

/// Reads the table of this key.
pub fn read(mut file: &File, key: &Key, limits: &Limits) -> io::Result<Vec<Part>> {
    let len = file.metadata()?.len();
    let mut header = Header::new_zeroed();
    file.read_exact(header.as_mut_bytes())?;
    let behind = len.saturating_sub(size_of::<Header>() as u64);
    if header.magic != MAGIC || header.format != FORMAT || header.key != *key.hash() {
        return Err(damaged("the header"));
    }
    let headers_bytes = u64::from(header.parts) * size_of::<PartHeader>() as u64;
    if header.bytes != behind || headers_bytes > behind || behind - headers_bytes > limits.table {
        return Err(damaged("the length"));
    }
    let mut headers = vec![PartHeader::new_zeroed(); header.parts as usize];
    file.read_exact(headers.as_mut_bytes())?;
    if !are_sound(&headers, behind - headers_bytes) {
        return Err(damaged("a part"));
    }
    let mut sum = Sha256::new();
    sum.update(headers.as_bytes());
    let parts = headers.iter().map(|header| {
        let mut bytes = vec![0; header.bytes as usize].into_boxed_slice();
        file.read_exact(&mut bytes)?;
        sum.update(&bytes);
        let PartHeader { address, len, rules, rule_count, .. } = *header;
        Ok(Part { address, len, rules, bytes, rule_count })
    });
    let parts = parts.collect::<io::Result<Vec<Part>>>()?;
    if sum.finalize()[..] != header.checksum[..] {
        return Err(damaged("the checksum"));
    }
    Ok(parts)
}

/// Whether parts are in the order of addresses, within the bounds of a table, and so many bytes in all.
fn are_sound(headers: &[PartHeader], bytes: u64) -> bool {
    let mut reached = 0;
    let ordered = headers.iter().all(|part| {
        let begins = part.address >= reached;
        part.end().is_some_and(|end| begins && std::mem::replace(&mut reached, end) <= end)
    });
    ordered && headers.iter().map(|part| u64::from(part.bytes)).sum::<u64>() == bytes
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is not what it should be"))
}
