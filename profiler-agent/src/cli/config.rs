//! `config check` and `config show`, and the flags by which a command is configured.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::config::Config;
use crate::config::complaint::Complaints;
use crate::config::layers::Layers;

const EXAMPLES: &str = "\
Examples:
  profiler-agent config check /etc/profiler-agent.toml    what is wrong with a file, all of it
  profiler-agent config show                              every key, its default
  profiler-agent config show --config agent.toml --set sampling.frequency=49";

/// Check a configuration, or show what is in force and where it comes from
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ConfigCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Say what is wrong with files, all of it; the exit code is 1 if anything is
    Check {
        /// The files
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
    /// Print every key with its value and the source of it, as a file; secrets are hidden
    Show(ConfigArgs),
}

/// How a command is configured: defaults, then a file, then `PROFILER_AGENT__SECTION__KEY` of the
/// environment, then flags; the later wins.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigArgs {
    /// The configuration file (TOML) [default: none]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Set a key, such as store.size="2 GiB" (repeat for more)
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl ConfigArgs {
    /// Reads the configuration; again, whenever it is called.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(&self) -> Result<Config, Complaints> {
        Config::load(&Layers::of_process(self.config.clone(), self.set.clone()))
    }
}

/// Runs the command.
///
/// # Errors
/// Where standard output cannot be written.
pub fn run(command: &ConfigCommand) -> anyhow::Result<ExitCode> {
    let code = match &command.action {
        Action::Check { files } => check(files)?,
        Action::Show(args) => match args.load() {
            Ok(config) => {
                print(&config.show())?;
                ExitCode::SUCCESS
            }
            Err(complaints) => refuse(&complaints),
        },
    };
    Ok(code)
}

fn check(files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for file in files {
        let args = ConfigArgs { config: Some(file.clone()), set: Vec::new() };
        match args.load() {
            Ok(_) => print(&format!("{}: no problem\n", file.display()))?,
            Err(complaints) => code = refuse(&complaints),
        }
    }
    Ok(code)
}

fn refuse(complaints: &Complaints) -> ExitCode {
    eprintln!("{complaints}");
    ExitCode::FAILURE
}

/// A reader that closed the pipe has seen enough.
fn print(text: &str) -> io::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
