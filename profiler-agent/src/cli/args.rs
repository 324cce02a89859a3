//! Flags that several subcommands have in common.

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::view::{Format, Root};

/// `--root`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RootArg {
    /// The whole; processes of the same name are one
    Host,
    /// Each process
    Process,
    /// Each process, and under it each of its threads
    Thread,
}

impl From<RootArg> for Root {
    fn from(root: RootArg) -> Self {
        match root {
            RootArg::Host => Self::Host,
            RootArg::Process => Self::Process,
            RootArg::Thread => Self::Thread,
        }
    }
}

/// Parses `--format` by the views' registry, so that a new view needs nothing here.
pub fn format_parser() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::names())
        .try_map(|name| Format::from_name(&name).ok_or("no such format"))
}
