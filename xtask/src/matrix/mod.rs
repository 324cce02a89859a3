//! `matrix`: the agent on other kernels, each booted by QEMU from an initramfs that we build.
//!
//! 1. [`kernels`] picks Debian cloud kernels; [`packages`] fetches them and QEMU into a cache, by
//!    [`private_apt`].
//! 2. [`build`] makes a static agent, the workloads and the guest's init; [`initramfs`] packs them.
//! 3. [`boot`] runs the machine and reads its console; [`verdict`] judges what it printed.
//!
//! The guest prints `PASS` or `FAIL` for each check and `DONE` at its end; a machine that prints no
//! `DONE` has failed. CPUs are emulated (5 to 10 times slower), so no check there is about speed.

mod boot;
mod build;
mod initramfs;
mod kernels;
mod packages;
mod private_apt;
mod verdict;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::debian::{self, Need};
use crate::sh;
use kernels::Arch;

/// Where downloads are kept.
const CACHE_VARIABLE: &str = "PROFILER_AGENT_MATRIX_CACHE";
const CACHE_DEFAULT: &str = "/var/cache/profiler-agent-matrix";

const EXAMPLES: &str = "\
Examples:
  cargo xtask matrix                                   every kernel, amd64
  cargo xtask matrix --kernel oldest,newest
  cargo xtask matrix --arch arm64 --kernel 6.1
  cargo xtask matrix --kernel 5.10 --file ./loader -- /guest/loader --verbose
                                                       run a static program of your own instead

Downloads are kept in $PROFILER_AGENT_MATRIX_CACHE (/var/cache/profiler-agent-matrix), consoles in
target/matrix/.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Kernels to boot: 5.10, 6.1, 6.12, newest; `oldest` and `all` too.
    #[arg(long, value_delimiter = ',', default_value = "all")]
    kernel: Vec<String>,

    /// Processors to boot them on.
    #[arg(long, value_delimiter = ',', default_value = "amd64")]
    arch: Vec<Arch>,

    /// Look for newer packages of the kernels, not only in the cache.
    #[arg(long)]
    refresh: bool,

    /// Copy a file to /guest in the machine.
    #[arg(long, value_name = "PATH")]
    file: Vec<PathBuf>,

    /// Run this there instead of the agent's checks; exit code 0 is a PASS.
    #[arg(last = true)]
    command: Vec<String>,
}

/// Boots every kernel that was asked for, and fails when one of them did.
pub fn run(args: &Args) -> Result<()> {
    debian::ensure(&[
        Need { program: "cpio", package: "cpio" },
        Need { program: "gcc", package: "gcc" },
    ])?;
    let cache =
        std::env::var_os(CACHE_VARIABLE).map_or_else(|| CACHE_DEFAULT.into(), PathBuf::from);
    std::fs::create_dir_all(&cache).with_context(|| {
        format!("cannot make the cache {}: set {CACHE_VARIABLE}", cache.display())
    })?;
    let logs = sh::workspace().join("target/matrix");
    std::fs::create_dir_all(&logs)?;
    let releases = kernels::select(&args.kernel)?;
    let qemu = packages::qemu(&cache)?;

    let mut failed = Vec::new();
    for &arch in &args.arch {
        let contents = build::contents(&cache, arch, &args.file, &args.command)?;
        let image = logs.join(format!("initramfs-{}.cpio", arch.debian()));
        initramfs::pack(&contents, &image)?;
        for release in &releases {
            let kernel = packages::kernel(&cache, release, arch, args.refresh)?;
            let name = format!("{}-{}", arch.debian(), release.name);
            println!("== {name}: {}", kernel.display());
            let log = logs.join(format!("{name}.log"));
            if !boot::check(&qemu, arch, &kernel, &image, &log)? {
                println!("FAIL {name}: console in {}", log.display());
                failed.push(name);
            }
        }
    }
    if !failed.is_empty() {
        bail!("failed on {}", failed.join(", "));
    }
    Ok(())
}
