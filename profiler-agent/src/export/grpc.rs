//! What the backends that take pprof over gRPC have in common: profiles are checked and packed.

use profiler_proto::pprof::{self, Profile};

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

/// The bytes of a profile, packed if that is asked for.
pub(super) fn pack(profile: &Profile, compression: bool) -> Option<Vec<u8>> {
    if compression { pprof::encode_gz(profile).ok() } else { Some(pprof::encode(profile)) }
}
