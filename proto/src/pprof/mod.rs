//! pprof's `profile.proto`: its types (from the `pprof` crate), its file form, and a strict check.

mod file;
mod validate;

pub use pprof::protos::{Function, Label, Line, Location, Mapping, Profile, Sample, ValueType};

pub use file::{DecodeError, MAX_DECODED_BYTES, decode, encode, encode_gz, entry_len};
pub use validate::{MAX_DEPTH, Violation, validate};
