//! Pictures, tables and files of a pprof profile.
//!
//! A view reads nothing but the `Profile`: what `record` draws at once, `report` draws the same from
//! the file later, and files of other tools can be drawn too. To add a view: a file here, a value of
//! [`Format`] and a line in [`VIEWS`].
//!
//! - [`reader`] reads any profile leniently, whatever its ids and labels.
//! - [`measure`] picks the values that a view shows; [`stacks`] folds samples by them.
//! - [`title`] says what was recorded, where, for how long, and what was lost.
//! - [`palette`] gives each kind of frame its colour; [`text_safe`] makes names harmless.

use std::io::{self, Write};
use std::path::Path;

use profiler_proto::pprof::Profile;

pub use self::busiest::busiest;

mod busiest;
mod flamegraph;
mod folded;
mod functions;
mod measure;
mod palette;
mod pprof;
mod reader;
mod stacks;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod text;
mod text_safe;
mod title;
mod units;

/// A form in which a profile can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// A flame graph.
    Svg,
    /// The profile itself, packed.
    Pprof,
    /// Lines of `frame;frame;frame value`.
    Folded,
    /// A table of the hottest functions.
    Text,
}

/// A view: how it is called, and how it is drawn.
struct View {
    format: Format,
    name: &'static str,
    extensions: &'static [&'static str],
    draw: fn(&Profile, &Options, &mut dyn Write) -> Result<(), ViewError>,
}

/// The registry.
const VIEWS: &[View] = &[
    View { format: Format::Svg, name: "svg", extensions: &[".svg"], draw: flamegraph::draw },
    View {
        format: Format::Pprof,
        name: "pprof",
        extensions: &[".pb.gz", ".pprof"],
        draw: pprof::draw,
    },
    View {
        format: Format::Folded,
        name: "folded",
        extensions: &[".folded", ".collapsed"],
        draw: folded::draw,
    },
    View { format: Format::Text, name: "text", extensions: &[".txt"], draw: text::draw },
];

impl Format {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        VIEWS.iter().find(|v| v.format == self).map_or("", |v| v.name)
    }

    /// The names of all formats.
    pub fn names() -> impl Iterator<Item = &'static str> {
        VIEWS.iter().map(|v| v.name)
    }

    /// The format of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        VIEWS.iter().find(|v| v.name == name).map(|v| v.format)
    }

    /// The format that a file name's ending stands for.
    pub fn from_path(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let ends = |view: &&View| view.extensions.iter().any(|e| name.ends_with(e));
        VIEWS.iter().find(ends).map(|v| v.format)
    }
}

/// What stands at the root of the stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Root {
    /// The whole: processes of the same name are one.
    Host,
    /// Each process.
    Process,
    /// Each process, and under it each of its threads.
    Thread,
}

/// One of the two kinds of time in a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Time {
    /// On the CPU.
    OnCpu,
    /// Off it.
    OffCpu,
}

/// What to show of a profile, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What stands at the root; `None`: threads where both kinds of time are shown, so that they
    /// stand side by side under each, else the whole.
    pub root: Option<Root>,
    /// Show one kind of time only; `None`: what is there.
    pub time: Option<Time>,
    /// Show one process only.
    pub pid: Option<u32>,
    /// Lines in a table.
    pub top: usize,
    /// Colour in a table, for a terminal.
    pub color: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { root: None, time: None, pid: None, top: 20, color: false }
    }
}

/// Why a profile could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// It has no values at all.
    #[error("the profile has no sample types, so there is nothing to show")]
    NoSampleTypes,
    /// It has not the kind of time that was asked for.
    #[error("the profile has no {wanted} time; it has {found}")]
    NoSuchTime {
        /// What was asked for.
        wanted: &'static str,
        /// The sample types that there are.
        found: String,
    },
    /// The output could not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<ViewError> for io::Error {
    fn from(error: ViewError) -> Self {
        match error {
            ViewError::Io(error) => error,
            other => Self::other(other),
        }
    }
}

/// Draws a profile.
///
/// # Errors
/// Where it has nothing of what is asked for, or the output cannot be written.
pub fn render(
    format: Format,
    profile: &Profile,
    options: &Options,
    output: &mut dyn Write,
) -> Result<(), ViewError> {
    match VIEWS.iter().find(|v| v.format == format) {
        Some(view) => (view.draw)(profile, options, output),
        None => Ok(()),
    }
}

/// A function and the time spent in it: one line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hot {
    /// Its name and its module, made printable.
    pub function: String,
    /// Share of the total that was spent in the function itself, from 0 to 1000 thousandths.
    pub permille: u64,
}

/// The functions with the most time of their own, hottest first: for the last lines of a recording.
///
/// # Errors
/// As [`render`].
pub fn hottest(profile: &Profile, options: &Options) -> Result<Vec<Hot>, ViewError> {
    text::hottest(profile, options)
}
