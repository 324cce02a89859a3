//! What people wrote down: file, environment and flags, checked, as one struct for each stage.
//!
//! [`keys`] is the table of all keys. [`layers`] lays defaults, the file ([`file`]), the environment and
//! flags over each other; [`values`] reads each value by its [`kind`] ([`units`], [`services`]);
//! [`checks`] looks at what must go together; [`settings`] are the outcome, typed, with [`sinks`] of its own file.
//! [`complaint`] tells what is wrong, with file, line and column, and [`suggest`] what may have been
//! meant: all of it at once. [`change`] says what a reload would change, [`show`] prints what is in
//! force. What the stages are told is made in [`stages`].

pub mod change;
mod checks;
pub mod complaint;
mod file;
pub mod keys;
mod kind;
pub mod layers;
mod services;
pub mod settings;
mod show;
mod sinks;
mod stages;
mod suggest;
pub mod units;
mod values;

#[cfg(test)]
mod tests;

use self::complaint::Complaints;
use self::layers::Layers;
pub use self::settings::Settings;
use self::values::Values;

/// A configuration that is right.
#[derive(Clone, Debug)]
pub struct Config {
    /// The settings.
    pub settings: Settings,
    values: Values,
}

impl Config {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the layers.
    pub fn load(layers: &Layers) -> Result<Self, Complaints> {
        let (values, mut complaints) = Values::read(layers.read());
        complaints.extend(checks::check(&values));
        if complaints.is_empty() {
            Ok(Self { settings: Settings::build(&values), values })
        } else {
            Err(Complaints(complaints))
        }
    }

    /// The values in force as a file, each with its source; secrets are hidden.
    pub fn show(&self) -> String {
        show::show(&self.values)
    }
}
