//! What the backends that take pprof over gRPC have in common: profiles are checked and packed.

use profiler_proto::pprof::{self, GzPacker, Profile};

use super::backend::{Part, Prepared};
use super::split::{Options, Series, split};
use crate::model::finished::Finished;

/// Splits a window, checks each part, and makes requests of them by `request`, from a series and a part
/// of it. A part that breaks a rule of the format does not leave: some servers would not survive it.
pub(super) fn prepare<P>(
    window: &Finished,
    options: Options,
    mut request: impl FnMut(&Series, &Profile) -> Option<Part<P>>,
) -> Result<Prepared<P>, String> {
    let split = split(window, options)?;
    let mut left_out = split.left_out;
    let mut parts = Vec::new();
    for series in &split.series {
        for profile in &series.parts {
            match pprof::validate(profile).ok().and_then(|()| request(series, profile)) {
                Some(part) => parts.push(part),
                None => left_out.malformed += 1,
            }
        }
    }
    Ok(Prepared { parts, left_out })
}

/// Makes bytes of the profiles of one window.
pub(super) struct Packer(Option<GzPacker>);

impl Packer {
    /// One that packs them, if that is asked for.
    pub(super) fn new(compression: bool) -> Self {
        Self(compression.then(GzPacker::default))
    }

    /// The bytes of a profile.
    pub(super) fn pack(&mut self, profile: &Profile) -> Option<Vec<u8>> {
        match &mut self.0 {
            Some(packer) => packer.encode(profile).ok(),
            None => Some(pprof::encode(profile)),
        }
    }
}
