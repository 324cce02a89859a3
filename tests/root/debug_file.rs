//! Unwind information that only a separate debug file has.

use std::path::{Path, PathBuf};
use std::process::Command;

use profiler_tests::agent;
use profiler_tests::program::Program;
use profiler_tests::workload::{self, way};

use crate::host;

/// The build ID of the program here, and of nothing else.
const BUILD_ID: &str = "70726f66696c65722d7465737420646562756766";
/// Where a debugger and the agent look for its debug file.
const DEBUG_FILE: &str = "/usr/lib/debug/.build-id/70/726f66696c65722d7465737420646562756766.debug";

/// Removes the debug file.
struct Installed;

impl Drop for Installed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(DEBUG_FILE);
        // Only if it was made for it.
        let _ = std::fs::remove_dir(Path::new(DEBUG_FILE).parent().unwrap());
    }
}

fn objcopy(args: &[&str], paths: &[&Path]) {
    let status = Command::new("objcopy").args(args).args(paths).status();
    assert!(status.expect("objcopy of binutils").success());
}

/// A program whose functions only `.debug_frame` describes, without it; and what it was stripped of.
fn stripped(directory: &Path) -> (PathBuf, PathBuf) {
    let whole = workload::CHAIN.built(way::DEBUG_FRAME).build().unwrap();
    let [id, named, program, debug] =
        ["id", "named", "program", "debug"].map(|name| directory.join(name));
    let bytes: Vec<u8> = (0..20)
        .map(|i| BUILD_ID.get(2 * i..2 * i + 2))
        .map(|hex| u8::from_str_radix(hex.unwrap(), 16).unwrap())
        .collect();
    let note = [4u32, 20, 3].map(u32::to_ne_bytes).concat();
    std::fs::write(&id, [note, b"GNU\0".to_vec(), bytes].concat()).unwrap();
    let update = format!("--update-section=.note.gnu.build-id={}", id.display());
    objcopy(&[&update], &[&whole, &named]);
    objcopy(&["--only-keep-debug", "--compress-debug-sections=zlib"], &[&named, &debug]);
    objcopy(&["--strip-all"], &[&named, &program]);
    (program, debug)
}

/// What a recording of a process says at its end.
fn told_of(program: &Program) -> String {
    let pid = program.pid().to_string();
    let flags = ["--duration", "1s", "--unwind-cache-size", "0", "--pid", &pid];
    agent::record(&flags).unwrap().run.stderr
}

/// Copies a file to where it would be below a root directory.
fn install(file: &Path, root: &Path, path: &str) {
    let path = root.join(path.trim_start_matches('/'));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::copy(file, path).unwrap();
}

#[test]
fn a_debug_file_tells_how_to_unwind() {
    let _host = host::claim();
    let directory = tempfile::tempdir().unwrap();
    let (program, debug) = stripped(directory.path());
    let program = Program::start_binary(&program, &["40"]).unwrap();

    let without = told_of(&program);
    assert!(without.contains("[truncated: no unwind rows in program]"), "{without}");

    let _installed = Installed;
    install(&debug, Path::new("/"), DEBUG_FILE);
    let with = told_of(&program);
    assert!(with.contains(" 100.0 % of the stacks whole"), "{with}");
}

#[test]
fn a_debug_file_in_a_root_of_its_own_tells_of_what_runs_there() {
    let _host = host::claim();
    let (directory, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (program, debug) = stripped(directory.path());
    install(&program, root.path(), "program");
    for library in libraries(&program) {
        install(Path::new(&library), root.path(), &library);
    }
    let args = [root.path().as_os_str(), "/program".as_ref(), "40".as_ref()];
    let program = Program::start_binary(Path::new("chroot"), &args).unwrap();

    let without = told_of(&program);
    assert!(without.contains("[truncated: no unwind rows in program]"), "{without}");

    install(&debug, root.path(), DEBUG_FILE);
    let with = told_of(&program);
    assert!(with.contains(" 100.0 % of the stacks whole"), "{with}");
}

/// The files that a program is linked with, by their paths.
fn libraries(program: &Path) -> Vec<String> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned).collect()
}
