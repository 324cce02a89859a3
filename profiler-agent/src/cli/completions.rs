//! `completions SHELL`: what a shell needs to complete our flags.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Print a completion script for a shell.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  profiler-agent completions bash > /etc/bash_completion.d/profiler-agent")]
pub struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

/// Writes the script to standard output.
pub fn run(args: &CompletionsArgs) {
    let mut command = super::Cli::command();
    clap_complete::generate(args.shell, &mut command, "profiler-agent", &mut std::io::stdout());
}
