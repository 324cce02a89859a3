//! Each row of the unwind tables against a plain evaluation by gimli, at the row's beginning, at its end
//! and in between.
//!
//! By default over some files of this machine; `cargo xtask rows-check` sets [`DIRECTORIES`] and goes
//! through every file there.
#![expect(clippy::unwrap_used, reason = "a test")]

mod check;
mod reference;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use check::Tally;

/// Variable with directories, separated by colons.
const DIRECTORIES: &str = "ROWS_CHECK";

/// What is checked by default, where it exists: a C library, hand-written assembly, C++, Rust, and
/// programs. Debug builds take some seconds over them.
const SAMPLE: &[&str] = &[
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/usr/lib/x86_64-linux-gnu/libc.so.6",
    "/usr/lib/aarch64-linux-gnu/libc.so.6",
    "/usr/aarch64-linux-gnu/lib/libc.so.6",
    "/usr/lib/x86_64-linux-gnu/libcrypto.so.3",
    "/usr/lib/x86_64-linux-gnu/libgcrypt.so.20",
    "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
    "/usr/lib/x86_64-linux-gnu/libmvec.so.1",
    "/usr/bin/bash",
    "/usr/bin/git",
    "/usr/bin/perl",
    "/usr/bin/python3",
];

#[test]
fn every_row_leads_where_gimli_says() {
    let directories = std::env::var_os(DIRECTORIES);
    let files = match &directories {
        Some(directories) => std::env::split_paths(directories).flat_map(files_below).collect(),
        None => SAMPLE.iter().map(PathBuf::from).filter(|path| path.exists()).collect::<Vec<_>>(),
    };
    assert!(!files.is_empty(), "no file to check");
    let started = Instant::now();
    let tally = check_all(&files);
    println!("{tally}\n{:.1} s", started.elapsed().as_secs_f64());
    assert!(tally.rows > 0, "no row was checked");
    assert!(tally.differences() == 0, "rows lead elsewhere");
}

/// Checks files on all processors.
fn check_all(files: &[PathBuf]) -> Tally {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, total) = (AtomicUsize::new(0), Mutex::new(Tally::default()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut own = Tally::default();
                while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    check::file(path, &mut own);
                }
                total.lock().unwrap().add(own);
            });
        }
    });
    total.into_inner().unwrap()
}

/// The regular files below a directory, each once, symbolic links aside.
fn files_below(directory: PathBuf) -> Vec<PathBuf> {
    // The given directory may be a link itself, as /lib is.
    let mut waiting = vec![std::fs::canonicalize(&directory).unwrap_or(directory)];
    let mut files = Vec::new();
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path: PathBuf = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => waiting.push(path),
                Ok(kind) if kind.is_file() && is_elf(&path) => files.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    files
}

fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    let read = std::fs::File::open(path)
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut magic));
    read.is_ok() && magic == *b"\x7fELF"
}
