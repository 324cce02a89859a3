//! Tests of whole configurations.

use super::complaint::Complaints;
use super::layers::Layers;
use super::*;

mod behaviour;
mod changes;
mod complaints;
mod defaults;
mod layers;
mod page;
mod proof;

/// A configuration of the text of a file, variables and flags.
fn load(text: &str, variables: &[(&str, &str)], flags: &[&str]) -> Result<Config, Complaints> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.toml");
    std::fs::write(&path, text).unwrap();
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Config::load(&Layers {
        file: Some(path),
        environment: variables.iter().map(pair).collect(),
        flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
    })
}

/// The settings of the text of a file.
fn settings(text: &str) -> Settings {
    load(text, &[], &[]).unwrap_or_else(|complaints| panic!("{complaints}")).settings
}
