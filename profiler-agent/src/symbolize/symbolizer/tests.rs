//! Live tests: programs are built with the compilers of the machine, and their frames named.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use object::{Object, ObjectSymbol};

use super::*;
use crate::model::frame::Marker;

mod hostile;
mod workshop;

use workshop::{Workshop, binary, describe, frames_of, named};

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
    let mut names = Names::default();
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
    for (id, function) in (0..).zip(["first", "second", "third"]) {
        let source = PLAIN_C.replace("a(", &format!("{function}("));
        let path = shop.build("gcc", ("plain.c", &source), &["-O1", "-g"]);
        // The binary, and with it its descriptor, is gone at the end of each round.
        let frames = frames_of(&binary(id, &path), &path, function);
        let names = named(&mut symbolizer, &frames);
        assert!(names.iter().all(|name| name.starts_with(function)), "{names:?}");
    }
}

const INLINED_C: &str = "\
static inline __attribute__((always_inline)) int inner(volatile int *x) {
  return *x * 7;
}
static inline __attribute__((always_inline)) int middle(volatile int *x) {
  return inner(x) + 1;
}
__attribute__((noinline)) int outer(volatile int *x) {
  return middle(x) - 2;
}
int main(int argc, char **argv) { return outer(&argc); }
";

/// The stack of names in the innermost inlined function of [`INLINED_C`].
const INLINED: &str = "inner (inlined.c:2) < middle (inlined.c:5) < outer (inlined.c:8)";

fn has_inlined(symbolizer: &mut Symbolizer, binary: &Arc<Binary>, path: &Path) -> bool {
    let names = named(symbolizer, &frames_of(binary, path, "outer"));
    assert!(names.iter().all(|name| name.contains("outer")), "{names:?}");
    names.iter().any(|name| name == INLINED)
}

#[test]
fn inlined_functions_have_lines() {
    for format in ["-gdwarf-4", "-gdwarf-5"] {
        for packing in ["none", "zlib", "zstd"] {
            let shop = Workshop::new();
            let path = shop.build("gcc", ("inlined.c", INLINED_C), &["-O2", "-g", format]);
            shop.run("objcopy", &[&format!("--compress-debug-sections={packing}"), "program"]);
            let mut symbolizer = shop.symbolizer();
            let found = has_inlined(&mut symbolizer, &binary(0, &path), &path);
            assert!(found, "{format} {packing}: {:?}", symbolizer.problems());
        }
    }
}

#[test]
fn rust_functions_have_lines_and_no_hash() {
    let shop = Workshop::new();
    let source = "#[inline(never)]\npub fn burn(x: u64) -> u64 {\n    std::hint::black_box(x) + 1\n}\n\
                  fn main() { std::process::exit(burn(1) as i32) }\n";
    let path = shop.build("rustc", ("burn.rs", source), &["-g", "-O"]);
    let bytes = fs::read(&path).unwrap();
    let file = object::File::parse(bytes.as_slice()).unwrap();
    let symbol = file.symbols().find(|s| s.name().unwrap().contains("4burn")).unwrap();
    let frames = frames_of(&binary(0, &path), &path, symbol.name().unwrap());
    let names = named(&mut shop.symbolizer(), &frames);
    assert!(names.iter().any(|name| name == "burn::burn (burn.rs:3)"), "{names:?}");
}

/// Moves the debug information of `program` into a file of its own, and strips the program.
fn split(shop: &Workshop, debug_file: &str) {
    fs::create_dir_all(shop.path(debug_file).parent().unwrap()).unwrap();
    fs::copy(shop.path("program"), shop.path("whole")).unwrap();
    shop.run("objcopy", &["--only-keep-debug", "program", debug_file]);
    shop.run("strip", &["program"]);
}

#[test]
fn debug_files_are_found_by_build_id() {
    let shop = Workshop::new();
    let flags = ["-O2", "-g", "-Wl,--build-id=0xabcdef0123456789"];
    let path = shop.build("gcc", ("inlined.c", INLINED_C), &flags);
    split(&shop, "debug/.build-id/ab/cdef0123456789.debug");
    assert!(has_inlined(&mut shop.symbolizer(), &binary(0, &path), &shop.path("whole")));
}

#[test]
fn debug_files_are_found_by_debug_link() {
    let shop = Workshop::new();
    let path = shop.build("gcc", ("inlined.c", INLINED_C), &["-O2", "-g", "-Wl,--build-id=none"]);
    let directory = format!("debug{}", path.parent().unwrap().display());
    let debug_file = format!("{directory}/program.debug");
    split(&shop, &debug_file);
    shop.run("objcopy", &[&format!("--add-gnu-debuglink={debug_file}"), "program"]);
    assert!(has_inlined(&mut shop.symbolizer(), &binary(0, &path), &shop.path("whole")));

    // Another file of that name is none of this program's.
    let mut other = fs::read(shop.path(&debug_file)).unwrap();
    other.push(0);
    fs::write(shop.path(&debug_file), other).unwrap();
    let frames = frames_of(&binary(0, &path), &shop.path("whole"), "outer");
    assert_eq!(named(&mut shop.symbolizer(), &frames), [""]);
}

#[test]
fn a_debug_file_with_another_build_id_is_refused() {
    let shop = Workshop::new();
    let path =
        shop.build("gcc", ("inlined.c", INLINED_C), &["-g", "-Wl,--build-id=0xabcd000000000000"]);
    split(&shop, "debug/.build-id/ab/cd111111111111.debug");
    let whole = shop.path("whole");
    let real = binary(0, &path);
    let claims = Binary {
        build_id: "abcd111111111111".to_owned(),
        file: real.file.clone(),
        debug: None,
        segments: real.segments.clone(),
        path: real.path.clone(),
        problem: None,
        ..*real
    };
    let frames = frames_of(&Arc::new(claims), &whole, "outer");
    assert_eq!(named(&mut shop.symbolizer(), &frames), [""]);
}

#[test]
fn mini_debug_info_is_unpacked() {
    let shop = Workshop::new();
    let path = shop.build("gcc", ("plain.c", PLAIN_C), &["-O1"]);
    split(&shop, "mini");
    shop.run("xz", &["mini"]);
    shop.run("objcopy", &["--add-section", ".gnu_debugdata=mini.xz", "program"]);
    let frames = frames_of(&binary(0, &path), &shop.path("whole"), "hidden");
    assert_eq!(named(&mut shop.symbolizer(), &frames), ["hidden"]);
}

/// Symbols as assembly code has them: without types, without sizes, several at one place.
const SYMBOLS: &str = "
        .text
        .globl main, shown, _shown
        .type main,@function
main:   nop
        ret
        .size main,.-main
        .byte 0
bare:   nop
        ret
        .type __local,@function
        .type shown,@function
        .type _shown,@function
__local:
_shown:
shown:  nop
        .type within,@function
within: nop
        .size within,1
        ret
        .size shown,.-shown
        .size _shown,.-_shown
        .size __local,.-__local
        .data
data:   .byte 0
        .section .note.GNU-stack,\"\",@progbits
";

#[test]
fn the_best_symbol_is_chosen() {
    let shop = Workshop::new();
    let path = shop.build("gcc", ("symbols.s", SYMBOLS), &["-nostdlib", "-static", "-Wl,-emain"]);
    let binary = binary(0, &path);
    let Frame::Native { offset, .. } = frames_of(&binary, &path, "main")[0] else { panic!() };
    let code =
        (offset..offset + 9).map(|offset| Frame::Native { binary: Arc::clone(&binary), offset });
    let mut names = Names::default();
    let frames: Vec<Frame> = code.collect();
    shop.symbolizer().symbolize(&frames, &mut names);
    let names: Vec<String> = frames.iter().map(|f| describe(&names[&f.key()])).collect();
    // The byte behind `main` belongs to no function; `bare` reaches to the next symbol; the code
    // around `within` is still `shown`.
    assert_eq!(names, ["main", "main", "", "bare", "bare", "shown", "within", "shown", ""],);
}

#[test]
fn functions_go_by_their_public_name() {
    let shop = Workshop::new();
    let source = "int __internal(int x) { return x + 1; }\n\
                  extern __typeof(__internal) shown __attribute__((alias(\"__internal\")));\n\
                  int main(int argc, char **argv) { return shown(argc); }\n";
    let path = shop.build("gcc", ("alias.c", source), &["-g"]);
    let frames = frames_of(&binary(0, &path), &path, "shown");
    assert_eq!(named(&mut shop.symbolizer(), &frames[..1]), ["shown (alias.c:1)"]);
}

#[test]
fn past_the_budget_the_symbol_table_gives_the_names() {
    let shop = Workshop::new();
    let path = shop.build("gcc", ("inlined.c", INLINED_C), &["-O2", "-g"]);
    let mut symbolizer = Symbolizer::new(Config { memory_budget: 100, ..Config::default() });
    let frames = frames_of(&binary(0, &path), &path, "outer");
    assert_eq!(named(&mut symbolizer, &frames), ["outer"]);
    let problems = symbolizer.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("memory budget"), "{problems:?}");
    assert_eq!(symbolizer.losses().get("binaries_without_lines"), 1);
}

#[test]
fn generated_code_is_named_by_its_perf_map() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"1000 20 LazyCompile:~f /a.js:1\n").unwrap();
    let file = Some(Arc::new(file));
    let map = Arc::new(JitMap { id: 7, pid: 1, file, path: PathBuf::from("/tmp/perf-1.map") });
    let frames = [0x1010, 0x2000].map(|address| Frame::Jit { map: Arc::clone(&map), address });
    let mut names = Names::default();
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
    let mut names = Names::from_iter([(FrameKey::Kernel(0), Arc::clone(&known))]);
    Symbolizer::new(Config::default()).symbolize(&frames, &mut names);
    assert_eq!(names.into_iter().collect::<Vec<_>>(), [(FrameKey::Kernel(0), known)]);
}
