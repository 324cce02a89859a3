//! The init of a machine of `cargo xtask matrix`: runs the checks and powers the machine off.
//!
//! It prints `PASS what` or `FAIL what: why` for each check, `NOTE` for facts, and `DONE` at the
//! end. A file `/guest/command` (one argument a line) replaces the checks by a program of the
//! developer's.

mod checks;
mod system;

use std::process::Command;

use anyhow::{Result, bail};

fn main() {
    if let Err(error) = system::mount_all().and_then(|()| run()) {
        println!("FAIL guest: {error:#}");
    }
    println!("DONE");
    system::power_off();
}

fn run() -> Result<()> {
    println!("NOTE kernel {}", system::kernel_release()?);
    system::compile_bpf();
    if let Ok(command) = std::fs::read_to_string("/guest/command") {
        report("command", own_command(&command));
        return Ok(());
    }
    for (what, check) in checks::ALL {
        report(what, check());
    }
    Ok(())
}

fn report(what: &str, outcome: Result<()>) {
    match outcome {
        Ok(()) => println!("PASS {what}"),
        // One line, so that the reader of the console sees where it ends.
        Err(error) => println!("FAIL {what}: {}", format!("{error:#}").replace('\n', " | ")),
    }
}

fn own_command(command: &str) -> Result<()> {
    let mut words = command.lines();
    let status = Command::new(words.next().unwrap_or_default()).args(words).status()?;
    if !status.success() {
        bail!("{status}");
    }
    Ok(())
}
