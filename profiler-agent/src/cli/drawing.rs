//! A profile, drawn as a user wants it: for `report` and `query`.

use std::io::{self, IsTerminal as _};
use std::path::Path;

use profiler_proto::pprof::Profile;

use super::output::Output;
use crate::view::{self, Format, Options};

/// Draws a profile and writes it.
///
/// # Errors
/// Where there is nothing of what is to be shown, or it cannot be written.
pub(super) fn draw(
    output: &Output,
    format: Format,
    profile: &Profile,
    options: &Options,
) -> anyhow::Result<()> {
    // Drawn before it is written, so that what cannot be drawn leaves no file.
    let mut drawing = Vec::new();
    view::render(format, profile, options, &mut drawing)?;
    match output.write(|w| w.write_all(&drawing)) {
        // `report … | head` closes the pipe early: nothing is wrong.
        Err(error) if output.is_stdout() && error.is_broken_pipe() => Ok(()),
        other => Ok(other?),
    }
}

/// The format that a flag names, or the ending of an output; text where neither does.
///
/// # Errors
/// Where the ending is none that a format has.
pub(super) fn format_of(format: Option<Format>, output: Option<&Path>) -> anyhow::Result<Format> {
    let named = output.is_some_and(|path| path.extension().is_some());
    match format.or(output.and_then(Format::from_path)) {
        Some(format) => Ok(format),
        None if named => anyhow::bail!(
            "the ending of --output names no format; add one of --format {}",
            Format::names().collect::<Vec<_>>().join(", ")
        ),
        None => Ok(Format::Text),
    }
}

/// Colour is for people at a terminal who did not turn it off (<https://no-color.org>).
pub(super) fn color_wanted() -> bool {
    let off = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !off
}
