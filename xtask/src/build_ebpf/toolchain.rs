//! The compilers for BPF: Debian's, which brings a ready `core` for the target, or rustup's nightly,
//! which compiles it from rust-src.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::sh;

const TARGET: &str = "bpfel-unknown-none";

const LINKER_MISSING: &str = "bpf-linker is missing. Get it with: \
    cargo install bpf-linker --version 0.10.3";

const COMPILER_MISSING: &str = "no compiler for BPF here. Either, on Debian:
    apt-get install rustc-web cargo-web libstd-rust-web-dev-bpf rust-web-llvm
or, with rustup:
    rustup toolchain install nightly --component rust-src
and for both:
    cargo install bpf-linker --version 0.10.3";

/// A compiler and a linker that work together.
pub struct Toolchain {
    kind: Kind,
    /// What they call themselves.
    pub versions: Versions,
}

enum Kind {
    Debian,
    Nightly,
}

/// What an object was, or would be, made with. Equal versions make equal objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// The first line of `rustc --version`.
    pub compiler: String,
    /// The first line of `bpf-linker --version`.
    pub linker: String,
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {}", self.compiler, self.linker)
    }
}

impl Toolchain {
    /// The one of this machine; or what is missing, and how to get it.
    pub fn find() -> Result<Self> {
        let (kind, compiler) = match (debian(), nightly()) {
            (Some(version), _) => (Kind::Debian, version),
            (None, Some(version)) => (Kind::Nightly, version),
            (None, None) => bail!(COMPILER_MISSING),
        };
        if !sh::is_installed("bpf-linker") {
            bail!(LINKER_MISSING);
        }
        let linker =
            version(&mut kind.isolated("bpf-linker")).context("bpf-linker does not run")?;
        Ok(Self { kind, versions: Versions { compiler, linker } })
    }

    /// Compiles the kernel side, and says where the object is.
    pub fn build(&self) -> Result<PathBuf> {
        let workspace = sh::workspace();
        let package = workspace.join("profiler-ebpf");
        let target = workspace.join("target/ebpf");
        // First, so that it is known where the sources of dependencies lie.
        sh::run(self.kind.cargo().args(["fetch", "--locked", "--quiet"]).current_dir(&package))?;
        let mut cargo = self.kind.cargo();
        cargo.args(["build", "--release", "--locked", "--target", TARGET, "--target-dir"]);
        cargo.arg(&target);
        if matches!(self.kind, Kind::Nightly) {
            cargo.args(["-Z", "build-std=core"]);
        }
        cargo
            .current_dir(&package)
            .env("CARGO_ENCODED_RUSTFLAGS", flags(&workspace)?.join("\u{1f}"));
        sh::run(&mut cargo)?;
        Ok(target.join(TARGET).join("release/profiler-ebpf"))
    }
}

impl Kind {
    fn cargo(&self) -> Command {
        match self {
            Self::Debian => {
                let mut cargo = self.isolated("/usr/bin/cargo");
                // Inline assembly is not stable for this target.
                cargo.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
                cargo
            }
            Self::Nightly => {
                let mut cargo = self.isolated("rustup");
                cargo.args(["run", "nightly", "cargo"]);
                cargo
            }
        }
    }

    /// A command that does not inherit which cargo and toolchain run this program.
    fn isolated(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let ours = text.starts_with("CARGO_") && text != "CARGO_HOME";
            if ours
                || text.starts_with("RUSTUP_TOOL")
                || text.starts_with("RUSTC")
                || text == "CARGO"
            {
                command.env_remove(name);
            }
        }
        command.env_remove("RUSTFLAGS");
        match self {
            // The linker loads the LLVM of the compiler.
            Self::Debian => command.env("LD_LIBRARY_PATH", debian_libraries()),
            Self::Nightly => command.env_remove("LD_LIBRARY_PATH"),
        };
        command
    }
}

fn debian_libraries() -> String {
    format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH)
}

/// The version of Debian's compiler, if it has the target's `core`.
fn debian() -> Option<String> {
    let rustc = Path::new("/usr/bin/rustc");
    if !rustc.is_file() || !Path::new("/usr/bin/cargo").is_file() {
        return None;
    }
    let mut command = Kind::Debian.isolated("/usr/bin/rustc");
    let sysroot = sh::output(command.args(["--print", "sysroot"])).ok()?;
    let core = Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET);
    if !core.is_dir() {
        return None;
    }
    version(&mut Kind::Debian.isolated("/usr/bin/rustc")).ok()
}

/// The version of rustup's nightly compiler, if it has the sources of `core`.
fn nightly() -> Option<String> {
    if !sh::is_installed("rustup") {
        return None;
    }
    let installed =
        sh::output(Kind::Nightly.isolated("rustup").args(["toolchain", "list"])).ok()?;
    if !installed.lines().any(|line| line.starts_with("nightly")) {
        return None;
    }
    let rustc = || {
        let mut command = Kind::Nightly.isolated("rustup");
        command.args(["run", "nightly", "rustc"]);
        command
    };
    let sysroot = sh::output(rustc().args(["--print", "sysroot"])).ok()?;
    if !Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core").is_dir() {
        return None;
    }
    version(&mut rustc()).ok()
}

fn version(command: &mut Command) -> Result<String> {
    let text = sh::output(command.arg("--version"))?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Compiler flags: the linker, BTF, and nothing of this machine in the object.
fn flags(workspace: &Path) -> Result<Vec<String>> {
    let mut flags: Vec<String> = [
        "-Clinker=bpf-linker",
        "-Ctarget-cpu=v3",
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        // Else loops may be turned in a way that old kernels refuse: see `back_edges`.
        "-Clink-arg=--llvm-args=-disable-block-placement",
    ]
    .map(str::to_owned)
    .into();
    flags.push(format!("--remap-path-prefix={}=/profiler-agent", workspace.display()));
    for registry in registries()? {
        flags.push(format!("--remap-path-prefix={}=/registry", registry.display()));
    }
    Ok(flags)
}

/// The folders in which cargo keeps the sources of dependencies, one for each registry.
fn registries() -> Result<Vec<PathBuf>> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let sources = home.context("neither CARGO_HOME nor HOME is set")?.join("registry/src");
    let entries = std::fs::read_dir(&sources)
        .with_context(|| format!("cannot list {}", sources.display()))?;
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.sort();
    Ok(found)
}
