//! The programs under `tests/workloads`: what each is compiled with, and the compiling.
//!
//! The flags are part of a workload: they keep frame pointers and forbid what would remove a frame
//! that the tests expect.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The language of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Debian's gcc.
    C,
    /// Debian's g++.
    Cpp,
    /// The stable rustc, with its default linker (LLD on x86-64).
    Rust,
    /// Go, which keeps frame pointers by itself.
    Go,
}

/// A program with known stacks.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// What the binary is called.
    pub name: &'static str,
    /// Its one source file.
    pub source: &'static str,
    /// Its language.
    pub language: Language,
}

const fn c(name: &'static str, source: &'static str) -> Workload {
    Workload { name, source, language: Language::C }
}

/// A chain of calls of known depth, in C.
pub const CHAIN: Workload = c("chain", "chain.c");
/// The same in C++.
pub const CHAIN_CPP: Workload =
    Workload { name: "chain_cpp", source: "chain.cpp", language: Language::Cpp };
/// The same in Rust.
pub const CHAIN_RUST: Workload =
    Workload { name: "chain_rust", source: "chain.rs", language: Language::Rust };
/// The same in Go.
pub const CHAIN_GO: Workload =
    Workload { name: "chain_go", source: "chain.go", language: Language::Go };
/// Functions of a few instructions.
pub const TINY: Workload = c("tiny", "tiny.c");
/// Two paths at 75:25.
pub const SPLIT: Workload = c("split", "split.c");
/// Threads that block in a known pattern.
pub const BLOCKER: Workload = c("blocker", "blocker.c");
/// A thread that is blocked for ever.
pub const HANGER: Workload = c("hanger", "hanger.c");
/// One busy thread.
pub const SPINNER: Workload = c("spinner", "spinner.c");
/// Processes that live 50 ms.
pub const SPAWNER: Workload = c("spawner", "spawner.c");
/// Every CPU busy.
pub const SATURATE: Workload = c("saturate", "saturate.c");
/// Two threads that switch without end.
pub const SWITCHER: Workload = c("switcher", "switcher.c");
/// Very many processes or threads, all asleep at once.
pub const CROWD: Workload = c("crowd", "crowd.c");
/// Code in a file that may claim anything.
pub const MAPPER: Workload = c("mapper", "mapper.c");

/// Every workload.
pub const ALL: &[Workload] = &[
    CHAIN, CHAIN_CPP, CHAIN_RUST, CHAIN_GO, TINY, SPLIT, BLOCKER, HANGER, SPINNER, SPAWNER,
    SATURATE, SWITCHER, CROWD, MAPPER,
];

/// How a C compiler is told to keep every frame.
const KEEP_FRAMES: &[&str] = &[
    "-O2",
    "-g",
    "-fno-omit-frame-pointer",
    "-mno-omit-leaf-frame-pointer",
    "-fno-optimize-sibling-calls",
    "-pthread",
];

/// What builds workloads, and for which machine.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// Where the binaries go.
    pub directory: PathBuf,
    /// The C compiler; another machine's for a cross build.
    pub cc: String,
    /// Whether to link statically, for a machine without libraries.
    pub is_static: bool,
}

impl Toolchain {
    /// This machine's, into `target/workloads`.
    pub fn native() -> Self {
        Self {
            directory: repository().join("target/workloads"),
            cc: "gcc".to_owned(),
            is_static: false,
        }
    }
}

impl Workload {
    /// Builds it for this machine, if its source is newer; returns the binary.
    pub fn build(&self) -> Result<PathBuf> {
        self.build_with(&Toolchain::native())
    }

    /// Builds it with a toolchain, if its source is newer; returns the binary.
    pub fn build_with(&self, toolchain: &Toolchain) -> Result<PathBuf> {
        let sources = repository().join("tests/workloads");
        let source = sources.join(self.source);
        let binary = toolchain.directory.join(self.name);
        let newest = [&source, &sources.join("common.h"), &sources.join("../src/workload.rs")]
            .map(|path| modified(path));
        if newest.iter().all(|source| source.is_some() && *source < modified(&binary)) {
            return Ok(binary);
        }
        std::fs::create_dir_all(&toolchain.directory)?;
        // A test that runs beside this one never sees half a binary.
        let fresh = tempfile::Builder::new().prefix(self.name).tempdir_in(&toolchain.directory)?;
        let output = fresh.path().join(self.name);
        let mut command = self.compiler(toolchain, &source, &output);
        let status = command.status().with_context(|| {
            format!("cannot run {:?}: it builds {}", command.get_program(), self.source)
        })?;
        if !status.success() {
            bail!("cannot build {}: {status}", self.source);
        }
        std::fs::rename(&output, &binary)?;
        Ok(binary)
    }

    fn compiler(&self, toolchain: &Toolchain, source: &Path, output: &Path) -> Command {
        let mut command;
        match self.language {
            Language::C | Language::Cpp => {
                let program = match self.language {
                    Language::Cpp => toolchain.cc.replace("gcc", "g++"),
                    _ => toolchain.cc.clone(),
                };
                command = Command::new(program);
                command.args(KEEP_FRAMES);
                if toolchain.is_static {
                    command.arg("-static");
                }
                command.arg("-o").arg(output).arg(source);
            }
            Language::Rust => {
                command = Command::new("rustc");
                command
                    .args(["--edition", "2024", "--crate-name", self.name, "-O", "-g"])
                    .args(["-C", "force-frame-pointers=yes"])
                    .arg("-o")
                    .arg(output)
                    .arg(source);
            }
            Language::Go => {
                command = Command::new("go");
                command.args(["build", "-o"]).arg(output).arg(source).env("CGO_ENABLED", "0");
            }
        }
        command
    }
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

fn modified(path: &Path) -> Option<std::time::SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}
