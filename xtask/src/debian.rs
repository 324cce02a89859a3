//! Gets what a command needs from Debian: installs it as root, or says what to install.

use std::process::Command;

use anyhow::{Result, bail};

use crate::sh;

/// A program that a command needs, and the Debian package that brings it.
#[derive(Clone, Copy)]
pub struct Need {
    /// The program, looked for in the PATH.
    pub program: &'static str,
    /// The package.
    pub package: &'static str,
}

/// Makes sure that every program is there.
pub fn ensure(needs: &[Need]) -> Result<()> {
    let missing: Vec<&str> = needs
        .iter()
        .filter(|need| !sh::is_installed(need.program))
        .map(|need| need.package)
        .collect();
    install(&missing)
}

/// Installs packages as root on Debian; elsewhere says which are missing.
pub fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if !sh::is_root() || !sh::is_installed("apt-get") {
        bail!("missing on this machine: {list}. On Debian: sudo apt-get install {list}");
    }
    sh::run(
        Command::new("apt-get")
            .args(["install", "--yes", "--no-install-recommends", "-qq"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}
