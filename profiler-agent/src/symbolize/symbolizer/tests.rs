//! Live tests: programs are built with the compilers of the machine, and their frames named.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use object::{Object, ObjectSegment, ObjectSymbol, SegmentFlags, elf};
use tempfile::TempDir;

use super::*;
use crate::model::frame::{BinaryKind, Marker, Segment};

/// A directory with a program in it.
struct Workshop {
    directory: TempDir,
}

impl Workshop {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a source file and compiles it; returns the program's path.
    fn build(&self, compiler: &str, source: (&str, &str), flags: &[&str]) -> PathBuf {
        fs::write(self.path(source.0), source.1).unwrap();
        let mut arguments: Vec<&str> = flags.to_vec();
        arguments.extend(["-o", "program", source.0]);
        self.run(compiler, &arguments);
        self.path("program")
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let output =
            Command::new(program).args(arguments).current_dir(&self.directory).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    }

    fn symbolizer(&self) -> Symbolizer {
        let debug_dirs = vec![self.path("debug")];
        Symbolizer::new(Config { debug_dirs, ..Config::default() })
    }
}

/// A binary as the process stage makes it.
fn binary(id: u32, path: &Path) -> Arc<Binary> {
    let bytes = fs::read(path).unwrap();
    let file = object::File::parse(bytes.as_slice()).unwrap();
    let build_id = file.build_id().unwrap().unwrap_or_default();
    let segments = file.segments().filter(is_executable).map(|segment| {
        let (file_offset, file_size) = segment.file_range();
        Segment { file_offset, file_size, address: segment.address() }
    });
    Arc::new(Binary {
        id,
        path: path.display().to_string(),
        kind: BinaryKind::File,
        build_id: build_id.iter().map(|b| format!("{b:02x}")).collect(),
        segments: segments.collect(),
        file: Some(Arc::new(File::open(path).unwrap())),
        problem: None,
    })
}

fn is_executable<'a>(segment: &impl ObjectSegment<'a>) -> bool {
    matches!(segment.flags(), SegmentFlags::Elf { p_flags, .. } if p_flags.contains(elf::PF_X))
}

/// Every address of a function, as frames of `binary`; looked up in `path`'s symbol table.
fn frames_of(binary: &Arc<Binary>, path: &Path, function: &str) -> Vec<Frame> {
    let bytes = fs::read(path).unwrap();
    let file = object::File::parse(bytes.as_slice()).unwrap();
    let symbol = file.symbols().find(|s| s.name() == Ok(function)).unwrap();
    let segment = binary
        .segments
        .iter()
        .find(|s| symbol.address() >= s.address && symbol.address() - s.address < s.file_size);
    let start = symbol.address() - segment.unwrap().address + segment.unwrap().file_offset;
    (start..start + symbol.size().max(1))
        .map(|offset| Frame::Native { binary: Arc::clone(binary), offset })
        .collect()
}

/// The names of all frames, without their repetitions: `function (file:line) < caller …`.
fn named(symbolizer: &mut Symbolizer, frames: &[Frame]) -> Vec<String> {
    let mut names = Names::new();
    symbolizer.symbolize(frames, &mut names);
    let mut all: Vec<String> = frames.iter().map(|f| describe(&names[&f.key()])).collect();
    all.dedup();
    all
}

fn describe(lines: &FrameNames) -> String {
    let line = |line: &NamedLine| match &*line.file {
        "" => line.function.to_string(),
        file => format!("{} ({}:{})", line.function, file.rsplit('/').next().unwrap(), line.line),
    };
    lines.iter().map(line).collect::<Vec<_>>().join(" < ")
}

const PLAIN_C: &str = "
__attribute__((noinline)) int a(int x) { return x * 3 + 1; }
__attribute__((noinline)) static int hidden(int x) { return a(x) * 2; }
int main(int argc, char **argv) { return hidden(argc); }
";

#[test]
fn c_functions_keep_their_names() {
    let shop = Workshop::new();
    let path = shop.build("gcc", ("plain.c", PLAIN_C), &["-O1"]);
    let binary = binary(0, &path);
    for function in ["a", "hidden", "main"] {
        let frames = frames_of(&binary, &path, function);
        assert_eq!(named(&mut shop.symbolizer(), &frames), [function]);
    }
}

#[test]
fn cpp_functions_are_demangled_and_keep_their_symbol() {
    let shop = Workshop::new();
    let source = "namespace ns { template <class T> struct S { __attribute__((noinline)) int f(T x) \
                  { return x + 1; } }; } int main(int c, char **) { return ns::S<int>().f(c); }";
    let path = shop.build("g++", ("cpp.cc", source), &["-O1"]);
    let frames = frames_of(&binary(0, &path), &path, "_ZN2ns1SIiE1fEi");
    let mut names = Names::new();
    shop.symbolizer().symbolize(&frames, &mut names);
    let line = &names[&frames[0].key()][0];
    assert_eq!(&*line.function, "ns::S<int>::f(int)");
    assert_eq!(&*line.system_name, "_ZN2ns1SIiE1fEi");
}

#[test]
fn stripped_binaries_have_no_names() {
    let shop = Workshop::new();
    let path = shop.build("gcc", ("plain.c", PLAIN_C), &["-O1"]);
    fs::copy(&path, shop.path("whole")).unwrap();
    shop.run("strip", &["program"]);
    let frames = frames_of(&binary(0, &path), &shop.path("whole"), "main");
    assert_eq!(named(&mut shop.symbolizer(), &frames), [""]);
}

#[test]
fn a_deleted_binary_is_read_through_its_file() {
    let shop = Workshop::new();
    let path = shop.build("gcc", ("plain.c", PLAIN_C), &["-O1", "-g"]);
    let frames = frames_of(&binary(0, &path), &path, "a");
    fs::remove_file(&path).unwrap();
    let names = named(&mut shop.symbolizer(), &frames);
    assert!(names.iter().all(|name| name.starts_with("a")), "{names:?}");
}

#[test]
fn a_file_descriptor_that_is_used_again_names_the_new_file() {
    let shop = Workshop::new();
    let mut symbolizer = shop.symbolizer();
    for function in ["first", "second", "third"] {
        let source = PLAIN_C.replace("a(", &format!("{function}("));
        let path = shop.build("gcc", ("plain.c", &source), &["-O1", "-g"]);
        // The binary, and with it its descriptor, is gone at the end of each round.
        let frames = frames_of(&binary(0, &path), &path, function);
        let names = named(&mut symbolizer, &frames);
        assert!(names.iter().all(|name| name.starts_with(function)), "{names:?}");
    }
}

#[test]
fn generated_code_is_named_by_its_perf_map() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"1000 20 LazyCompile:~f /a.js:1\n").unwrap();
    let file = Some(Arc::new(file));
    let map = Arc::new(JitMap { id: 7, pid: 1, file, path: PathBuf::from("/tmp/perf-1.map") });
    let frames = [0x1010, 0x2000].map(|address| Frame::Jit { map: Arc::clone(&map), address });
    let mut names = Names::new();
    Symbolizer::new(Config::default()).symbolize(&frames, &mut names);
    assert_eq!(describe(&names[&frames[0].key()]), "LazyCompile:~f /a.js:1");
    assert!(!names.contains_key(&frames[1].key()), "it may get a name later");
}

#[test]
fn frames_without_code_and_known_frames_are_left_alone() {
    let frames = [
        Frame::Unmapped { address: 1 },
        Frame::Marker(Marker::StackNotSampled),
        Frame::Kernel { address: 0 },
    ];
    let known: FrameNames = Arc::new([NamedLine { line: 42, ..NamedLine::default() }]);
    let mut names = Names::from([(FrameKey::Kernel(0), Arc::clone(&known))]);
    Symbolizer::new(Config::default()).symbolize(&frames, &mut names);
    assert_eq!(names.into_iter().collect::<Vec<_>>(), [(FrameKey::Kernel(0), known)]);
}
