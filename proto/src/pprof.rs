//! pprof's `profile.proto`: its types (from the `pprof` crate), its file form, and a strict check.

pub use pprof::protos::{Function, Label, Line, Location, Mapping, Profile, Sample, ValueType};
