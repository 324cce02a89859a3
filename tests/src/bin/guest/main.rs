//! The init of a machine of `cargo xtask matrix`: runs the checks and powers the machine off.
//!
//! It prints `PASS what` or `FAIL what: why` for each check, `NOTE` for facts, and `DONE` at the
//! end. A file `/guest/command` (one argument a line) replaces the checks by a program of the
//! developer's.

mod system;

use std::process::Command;

use anyhow::{Result, bail};

fn main() {
    let outcome = system::mount_all().and_then(|()| checks());
    if let Err(error) = outcome {
        println!("FAIL guest: {error:#}");
    }
    println!("DONE");
    system::power_off();
}

fn checks() -> Result<()> {
    println!("NOTE kernel {}", system::kernel_release()?);
    if let Ok(command) = std::fs::read_to_string("/guest/command") {
        return report("command", own_command(&command));
    }
    Ok(())
}

fn report(what: &str, outcome: Result<()>) -> Result<()> {
    match outcome {
        Ok(()) => println!("PASS {what}"),
        Err(error) => println!("FAIL {what}: {error:#}"),
    }
    Ok(())
}

fn own_command(command: &str) -> Result<()> {
    let mut words = command.lines();
    let status = Command::new(words.next().unwrap_or_default()).args(words).status()?;
    if !status.success() {
        bail!("{status}");
    }
    Ok(())
}
