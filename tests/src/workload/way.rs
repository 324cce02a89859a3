//! Ways to build a workload.

/// One way to build a workload.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// What the binary's name ends with; empty for the way that most are built.
    pub name: &'static str,
    /// Another C compiler than the toolchain's.
    pub cc: Option<&'static str>,
    /// What the C compiler is told beside what it always is.
    pub c_flags: &'static [&'static str],
    /// What rustc is told.
    pub rust_flags: &'static [&'static str],
}

const fn c(name: &'static str, c_flags: &'static [&'static str]) -> Way {
    Way { name, cc: None, c_flags, rust_flags: &[] }
}

const fn rust(name: &'static str, rust_flags: &'static [&'static str]) -> Way {
    Way { name, cc: None, c_flags: &[], rust_flags }
}

/// With frame pointers in every function.
pub const FRAME_POINTERS: Way = Way {
    name: "",
    cc: None,
    c_flags: &["-O2", "-fno-omit-frame-pointer", "-mno-omit-leaf-frame-pointer"],
    rust_flags: &["-O", "-C", "force-frame-pointers=yes"],
};

/// Without frame pointers, and not optimized.
pub const O0: Way = c("O0", &["-O0", "-fomit-frame-pointer"]);
/// Optimized as distributions do.
pub const O2: Way = c("O2", &["-O2", "-fomit-frame-pointer"]);
/// For size: arguments are pushed.
pub const OS: Way = c("Os", &["-Os", "-fomit-frame-pointer"]);
/// As far as it goes.
pub const O3: Way = c("O3", &["-O3", "-fomit-frame-pointer"]);
/// At link time.
pub const LTO: Way = c("lto", &["-O2", "-fomit-frame-pointer", "-flto"]);
/// Where only debug information tells how to unwind.
pub const DEBUG_FRAME: Way = c(
    "debug_frame",
    &["-O2", "-fomit-frame-pointer", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"],
);
/// Without the index of `.eh_frame`.
pub const NO_INDEX: Way = c("no_index", &["-O2", "-fomit-frame-pointer", "-Wl,--no-eh-frame-hdr"]);
/// Without libraries, at a fixed address.
pub const STATIC: Way = c("static", &["-O2", "-fomit-frame-pointer", "-static"]);
/// Without anything but itself.
pub const BARE: Way = c("bare", &["-O2", "-static", "-nostdlib", "-nostartfiles"]);
/// Without libraries, at any address.
pub const STATIC_PIE: Way = c("static_pie", &["-O2", "-fomit-frame-pointer", "-static-pie"]);
/// Without symbols.
pub const STRIPPED: Way = c("stripped", &["-O2", "-fomit-frame-pointer", "-s"]);
/// Linked by LLVM's linker: code and data have other distances in memory than in the file.
pub const LLD: Way = c("lld", &["-O2", "-fomit-frame-pointer", "-fuse-ld=lld"]);
/// Linked by GNU gold.
pub const GOLD: Way = c("gold", &["-O2", "-fomit-frame-pointer", "-fuse-ld=gold"]);
/// Linked by GNU ld.
pub const BFD: Way = c("bfd", &["-O2", "-fomit-frame-pointer", "-fuse-ld=bfd"]);
/// With musl, whose own code has no unwind information.
pub const MUSL: Way = Way { cc: Some("musl-gcc"), ..c("musl", &["-O2", "-fomit-frame-pointer"]) };
/// With musl, without libraries.
pub const MUSL_STATIC: Way =
    Way { cc: Some("musl-gcc"), ..c("musl_static", &["-O2", "-fomit-frame-pointer", "-static"]) };
/// A library.
pub const SHARED: Way = c("", &["-O2", "-fomit-frame-pointer", "-shared", "-fPIC"]);

/// Rust as `cargo build` does it.
pub const RUST_DEBUG: Way = rust("debug", &["-C", "force-frame-pointers=no"]);
/// Rust as `cargo build --release` does it.
pub const RUST_RELEASE: Way =
    rust("release", &["-C", "opt-level=3", "-C", "force-frame-pointers=no"]);
/// Rust that does not unwind panics: it needs no unwind tables, but has them.
pub const RUST_ABORT: Way =
    rust("abort", &["-C", "opt-level=3", "-C", "force-frame-pointers=no", "-C", "panic=abort"]);
