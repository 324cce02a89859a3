//! Fetches kernels and QEMU from Debian, beside the system: an apt of its own with other suites.
//!
//! The mirror is the one that the machine's own apt uses; nothing is installed. What was unpacked
//! stays in the cache, since suites drop old kernels.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::kernels::{self, Arch, RELEASES, Release};
use super::private_apt::{MachineSources, PrivateApt, files_with_extension, unpack};
use crate::sh;

/// The packages of this machine.
const INSTALLED: &str = "/var/lib/dpkg/status";

/// The QEMU that boots the machines.
pub struct Qemu {
    /// Where its packages were unpacked.
    root: PathBuf,
}

impl Qemu {
    /// A command for the emulator of one processor, with its libraries and firmware.
    pub fn command(&self, arch: Arch) -> Command {
        let program = match arch {
            Arch::Amd64 => "qemu-system-x86_64",
            Arch::Arm64 => "qemu-system-aarch64",
        };
        let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"]
            .map(|directory| self.root.join(directory));
        let mut command = Command::new(self.root.join("usr/bin").join(program));
        command.env("LD_LIBRARY_PATH", std::env::join_paths(libraries).unwrap_or_default());
        for share in ["qemu", "seabios", "ipxe-qemu"] {
            command.arg("-L").arg(self.root.join("usr/share").join(share));
        }
        command.arg("-L").arg(self.root.join("usr/lib/ipxe/qemu"));
        command
    }
}

/// QEMU 10 or later: the 7.2 of Debian 12 crashes guests that patch tracepoints.
pub fn qemu(cache: &Path) -> Result<Qemu> {
    let root = cache.join("qemu");
    if root.join("usr/bin/qemu-system-x86_64").is_file() {
        return Ok(Qemu { root });
    }
    let own = MachineSources::read()?;
    let suites = match own.codename.as_str() {
        "bookworm" => vec!["bookworm", "bookworm-backports"],
        other => vec![other],
    };
    let sources = own.with_suites(&suites);
    // The machine's own packages count as installed: only what is missing is fetched.
    let apt = PrivateApt::new(&cache.join("apt-qemu"), &sources, Path::new(INSTALLED))?;
    apt.update()?;
    let target = suites.last().copied().unwrap_or_default();
    sh::run(
        apt.command("apt-get")
            .args(["install", "--download-only", "--yes", "-qq", "--no-install-recommends"])
            .args(["-t", target, "qemu-system-x86", "qemu-system-arm"]),
    )?;
    let partial = cache.join("qemu.partial");
    for package in files_with_extension(&apt.root.join("cache/archives"), "deb")? {
        unpack(&package, &partial)?;
    }
    fs::rename(&partial, &root)?;
    Ok(Qemu { root })
}

/// The kernel image of a release: from the cache, or fetched into it.
pub fn kernel(cache: &Path, release: &Release, arch: Arch, refresh: bool) -> Result<PathBuf> {
    let place = cache.join("kernels").join(arch.debian()).join(release.name);
    if !refresh && let Some(found) = image_in(&place) {
        return Ok(found);
    }
    let own = MachineSources::read()?;
    let suites: Vec<&str> = RELEASES.iter().map(|release| release.suite).collect();
    let apt =
        PrivateApt::new(&cache.join("apt-kernels"), &own.with_suites(&suites), &nothing(cache)?)?;
    apt.update()?;
    let names = sh::output(apt.command("apt-cache").args(["pkgnames", "linux-"]))?;
    let package = kernels::newest_package(&names, release.series, arch)
        .with_context(|| format!("{} has no cloud kernel {}", release.suite, release.name))?;
    let scratch = tempfile::tempdir_in(cache)?;
    apt.download(&format!("{package}:{}", arch.debian()), scratch.path())?;
    // 7.x keeps the image beside its modules.
    let image = image_in(&scratch.path().join("boot"))
        .or_else(|| image_in(&only_child(&scratch.path().join("usr/lib/modules"))?))
        .with_context(|| format!("{package} has no kernel image"))?;
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place)?;
    let kept = place.join(format!("vmlinuz-{package}"));
    fs::copy(&image, &kept)?;
    Ok(kept)
}

/// A sysroot with the standard library of arm64, for Debian's rustc of the same version.
pub fn arm64_sysroot(cache: &Path) -> Result<PathBuf> {
    let version = sh::output(Command::new("dpkg-query").args([
        "--show",
        "--showformat",
        "${Version}",
        "libstd-rust-web-dev",
    ]))
    .context("the cross build needs Debian's rustc-web")?;
    let root = cache.join("sysroot-arm64").join(&version);
    if root.join("lib/rustlib/aarch64-unknown-linux-gnu").is_dir() {
        return Ok(root);
    }
    let own = MachineSources::read()?;
    let apt = PrivateApt::new(&cache.join("apt-sysroot"), &own.sources, &nothing(cache)?)?;
    apt.update()?;
    let scratch = tempfile::tempdir_in(cache)?;
    apt.download(&format!("libstd-rust-web-dev:arm64={version}"), scratch.path())?;
    fs::create_dir_all(&root)?;
    fs::rename(scratch.path().join("usr/lib"), root.join("lib"))?;
    Ok(root)
}

/// A status file in which nothing is installed, so that packages of every architecture can be fetched.
fn nothing(cache: &Path) -> Result<PathBuf> {
    let status = cache.join("no-packages");
    fs::write(&status, "")?;
    Ok(status)
}

fn image_in(directory: &Path) -> Option<PathBuf> {
    fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path())).find(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"))
    })
}

fn only_child(directory: &Path) -> Option<PathBuf> {
    fs::read_dir(directory).ok()?.find_map(|entry| Some(entry.ok()?.path()))
}
