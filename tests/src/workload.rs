//! The programs under `tests/workloads`: what each is compiled with, and the compiling.
//!
//! The flags are part of a workload: they keep frame pointers, unless it is built another [`way`], and
//! forbid what would remove a frame that the tests expect.

pub mod way;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use way::Way;

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
    /// Go that calls C.
    Cgo,
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
    /// How it is built.
    pub way: Way,
}

const fn workload(name: &'static str, source: &'static str, language: Language) -> Workload {
    Workload { name, source, language, way: way::FRAME_POINTERS }
}

const fn c(name: &'static str, source: &'static str) -> Workload {
    workload(name, source, Language::C)
}

/// A chain of calls of known depth, in C.
pub const CHAIN: Workload = c("chain", "chain.c");
/// The same in C++.
pub const CHAIN_CPP: Workload = workload("chain_cpp", "chain.cpp", Language::Cpp);
/// The same in Rust.
pub const CHAIN_RUST: Workload = workload("chain_rust", "chain.rs", Language::Rust);
/// The same in Go.
pub const CHAIN_GO: Workload = workload("chain_go", "chain.go", Language::Go);
/// The same in Go, with a leaf in C.
pub const CHAIN_CGO: Workload = workload("chain_cgo", "chain_cgo.go", Language::Cgo);
/// A chain that throws from its end to its beginning, again and again.
pub const EXCEPTIONS: Workload = workload("exceptions", "exceptions.cpp", Language::Cpp);
/// Functions that align or grow their stack.
pub const ALIGNED: Workload = c("aligned", "aligned.c");
/// Functions in assembly.
pub const ASSEMBLY: Workload = c("assembly", "assembly.c");
/// Signal handlers that work.
pub const SIGNALS: Workload = c("signals", "signals.c");
/// Stacks that do not begin at the program's entry point.
pub const STACKS: Workload = c("stacks", "stacks.c");
/// A loop over `clock_gettime`.
pub const CLOCK: Workload = c("clock", "clock.c");
/// A program that loads [`PLUGIN`].
pub const LOADER: Workload = c("loader", "loader.c");
/// A library to load.
pub const PLUGIN: Workload = c("plugin.so", "plugin.c").built(way::SHARED);
/// A library with very many unwind rows.
pub const ROWS: Workload = c("rows.so", "rows.S").built(way::SHARED);
/// A program that calls into many libraries, into some often.
pub const ROTATOR: Workload = c("rotator", "rotator.c");
/// A program with very many executable mappings.
pub const MAPPINGS: Workload = c("mappings", "mappings.c");
/// A program that ends at once.
pub const NOTHING: Workload = c("nothing", "nothing.c").built(way::BARE);
/// Programs by the thousand.
pub const STORM: Workload = c("storm", "storm.c");
/// A library that describes its code again and again.
pub const OVERLAPPING: Workload = c("overlapping.so", "overlapping.S").built(way::SHARED);
/// Children by fork, vfork, posix_spawn and exec.
pub const FAMILY: Workload = c("family", "family.c");
/// Functions of a few instructions.
pub const TINY: Workload = c("tiny", "tiny.c");
/// Random paths of calls, and memory that drives all else out of the caches.
pub const COLD: Workload = c("cold", "cold.c").built(way::O2);
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
/// Pairs of threads that switch so often a second.
pub const PACER: Workload = c("pacer", "pacer.c");
/// Very many processes or threads, all asleep at once.
pub const CROWD: Workload = c("crowd", "crowd.c");
/// Threads that come and go, without a library: it runs in any container.
pub const RESTLESS: Workload = c("restless", "restless.c").built(way::STATIC);
/// A library that sets the calendar of who preloads it.
pub const CALENDAR: Workload = c("calendar.so", "calendar.c").built(way::SHARED);
/// A library that makes each flush to the disk slow for who preloads it.
pub const SLOW_DISK: Workload = c("slow_disk.so", "slow_disk.c").built(way::SHARED);
/// A program from a file system that does not answer.
pub const SILENT: Workload = c("silent", "silent.c");
/// What it runs may not make one of two system calls.
pub const SEALED: Workload = c("sealed", "sealed.c");
/// Code in a file that may claim anything.
pub const MAPPER: Workload = c("mapper", "mapper.c");

/// What every C compiler is told.
const COMMON_FLAGS: &[&str] = &["-g", "-fno-optimize-sibling-calls", "-pthread"];

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
    /// The same program, built another way.
    #[must_use]
    pub const fn built(self, way: Way) -> Self {
        Self { way, ..self }
    }

    /// The name of its binary.
    pub fn file_name(&self) -> String {
        match self.way.name {
            "" => self.name.to_owned(),
            way => format!("{}-{way}", self.name),
        }
    }

    /// Builds it for this machine, if its source is newer; returns the binary.
    pub fn build(&self) -> Result<PathBuf> {
        self.build_with(&Toolchain::native())
    }

    /// Builds it with a toolchain, if its source is newer; returns the binary.
    pub fn build_with(&self, toolchain: &Toolchain) -> Result<PathBuf> {
        let sources = repository().join("tests/workloads");
        let source = sources.join(self.source);
        let name = self.file_name();
        let binary = toolchain.directory.join(&name);
        let ours = ["common.h", "../src/workload.rs", "../src/workload/way.rs"];
        let mut newest = vec![modified(&source)];
        newest.extend(ours.map(|path| modified(&sources.join(path))));
        if newest.iter().all(|source| source.is_some() && *source < modified(&binary)) {
            return Ok(binary);
        }
        std::fs::create_dir_all(&toolchain.directory)?;
        // A test that runs beside this one never sees half a binary.
        let fresh = tempfile::Builder::new().prefix(&name).tempdir_in(&toolchain.directory)?;
        let output = fresh.path().join(&name);
        let mut command = self.compiler(toolchain, &source, &output);
        let status = command.status().with_context(|| {
            format!("cannot run {:?}: it builds {}", command.get_program(), self.source)
        })?;
        if !status.success() {
            bail!("cannot build {name} of {}: {status}", self.source);
        }
        std::fs::rename(&output, &binary)?;
        Ok(binary)
    }

    fn compiler(&self, toolchain: &Toolchain, source: &Path, output: &Path) -> Command {
        let mut command = Command::new(self.program(toolchain));
        match self.language {
            Language::C | Language::Cpp => {
                command.args(COMMON_FLAGS).args(self.way.c_flags);
                if toolchain.is_static {
                    command.arg("-static");
                }
            }
            Language::Rust => {
                command.args(["--edition", "2024", "--crate-name", self.name, "-g"]);
                command.args(self.way.rust_flags);
            }
            Language::Go | Language::Cgo => {
                let uses_c = if self.language == Language::Cgo { "1" } else { "0" };
                command.env("CGO_ENABLED", uses_c).arg("build");
            }
        }
        command.arg("-o").arg(output).arg(source);
        command
    }

    fn program(&self, toolchain: &Toolchain) -> String {
        match self.language {
            Language::C => self.way.cc.unwrap_or(&toolchain.cc).to_owned(),
            Language::Cpp => toolchain.cc.replace("gcc", "g++"),
            Language::Rust => "rustc".to_owned(),
            Language::Go | Language::Cgo => "go".to_owned(),
        }
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
