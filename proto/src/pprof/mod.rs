//! pprof's `profile.proto`: its types (from the `pprof` crate), its file form, a reader
//! that copies nothing, and a strict check.

mod borrowed;
mod file;
mod validate;

pub use pprof::protos::{Function, Label, Line, Location, Mapping, Profile, Sample, ValueType};

pub use borrowed::{Borrowed, BorrowedLocation, BorrowedSample, labels, numbers};
pub use file::{
    DecodeError, GzPacker, MAX_DECODED_BYTES, Unpacker, decode, encode, encode_gz, encode_zstd,
    entry_len, to_gz,
};
pub use validate::{MAX_DEPTH, Violation, validate};
