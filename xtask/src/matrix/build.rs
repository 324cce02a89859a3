//! Builds what runs in the guest: everything static, since the initramfs has no libraries.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use profiler_tests::workload::{self, Toolchain, Workload};

use super::initramfs::Item;
use super::kernels::Arch;
use super::packages;
use crate::debian::{self, Need};
use crate::sh;

/// What the guest's checks run.
const WORKLOADS: &[Workload] = &[workload::CHAIN, workload::BLOCKER, workload::HANGER];

/// The files of the guest.
pub fn contents(
    cache: &Path,
    arch: Arch,
    files: &[PathBuf],
    command: &[String],
) -> Result<Vec<Item>> {
    let mut packages = vec!["profiler-tests"];
    if command.is_empty() {
        packages.push("profiler-agent");
    }
    let built = cargo_static(cache, arch, &packages)?;
    let mut items = vec![Item { from: built.join("guest"), to: "init".to_owned() }];
    if command.is_empty() {
        items.push(guest_file(built.join("profiler-agent")));
        let toolchain = toolchain(arch);
        for workload in WORKLOADS {
            items.push(guest_file(workload.build_with(&toolchain)?));
        }
    } else {
        let list = sh::workspace().join("target/matrix/command");
        std::fs::write(&list, command.join("\n"))?;
        items.push(Item { from: list, to: "guest/command".to_owned() });
    }
    for file in files {
        items.push(guest_file(file.clone()));
    }
    Ok(items)
}

/// A file that keeps its name.
fn guest_file(from: PathBuf) -> Item {
    let name = from.file_name().unwrap_or_default().to_string_lossy();
    let to = format!("guest/{name}");
    Item { from, to }
}

fn toolchain(arch: Arch) -> Toolchain {
    Toolchain {
        directory: sh::workspace().join("target/matrix/workloads").join(arch.debian()),
        cc: arch.cc().to_owned(),
        is_static: true,
    }
}

/// Builds the binaries of packages for a guest; returns the directory that they are in.
fn cargo_static(cache: &Path, arch: Arch, packages: &[&str]) -> Result<PathBuf> {
    let target_dir = sh::workspace().join("target/matrix/build");
    let mut cargo = cargo_for(cache, arch)?;
    cargo
        .args(["build", "--quiet", "--release", "--bins", "--target", arch.target()])
        .arg("--target-dir")
        .arg(&target_dir)
        // Debug information would triple the image; link-time optimization the time to build it.
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_PROFILE_RELEASE_LTO", "off");
    for package in packages {
        cargo.args(["--package", package]);
    }
    sh::run(&mut cargo)?;
    Ok(target_dir.join(arch.target()).join("release"))
}

/// A cargo that builds static programs for a machine: for arm64 rustup's, if it has the target, or
/// Debian's with the standard library from Debian's arm64.
fn cargo_for(cache: &Path, arch: Arch) -> Result<Command> {
    const STATIC: &str = "-C target-feature=+crt-static";
    let mut cargo = sh::cargo();
    if arch == Arch::Amd64 {
        cargo.env("RUSTFLAGS", STATIC);
        return Ok(cargo);
    }
    debian::ensure(&[
        Need { program: arch.cc(), package: "gcc-aarch64-linux-gnu" },
        // Headers for libraries in C, and what is linked statically.
        Need { program: "/usr/aarch64-linux-gnu/lib/libc.a", package: "libc6-dev-arm64-cross" },
    ])?;
    let cross = format!("{STATIC} -C linker={}", arch.cc());
    let sysroot = sh::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    if Path::new(sysroot.trim()).join("lib/rustlib").join(arch.target()).is_dir() {
        cargo.env("RUSTFLAGS", cross);
        return Ok(cargo);
    }
    debian::ensure(&[
        Need { program: "/usr/bin/rustc", package: "rustc-web" },
        Need { program: "/usr/bin/cargo", package: "cargo-web" },
    ])?;
    let sysroot = packages::arm64_sysroot(cache)?;
    let mut cargo = Command::new("/usr/bin/cargo");
    cargo.current_dir(sh::workspace());
    // What rustup sets for its own cargo would lead this one astray.
    for variable in ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTUP_HOME", "LD_LIBRARY_PATH"] {
        cargo.env_remove(variable);
    }
    cargo.env("RUSTC", "/usr/bin/rustc");
    cargo.env("RUSTFLAGS", format!("{cross} --sysroot {}", sysroot.display()));
    Ok(cargo)
}
