//! The profile itself, packed.

use std::io::Write;

use profiler_proto::pprof::{Profile, encode_gz};

use super::{Options, ViewError};

/// Everything, whatever the options would leave out: this is the file that other views are made of.
pub(super) fn draw(
    profile: &Profile,
    _options: &Options,
    output: &mut dyn Write,
) -> Result<(), ViewError> {
    output.write_all(&encode_gz(profile)?)?;
    Ok(())
}
