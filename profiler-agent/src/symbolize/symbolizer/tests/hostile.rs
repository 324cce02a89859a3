//! Files that someone made up: no panic reaches the caller, no memory without bound, no wrong names.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use object::{Object, ObjectSection};

use super::workshop::{Workshop, binary, frames_of, named};
use super::{INLINED, INLINED_C};
use crate::model::frame::{Binary, Frame};
use crate::model::names::Names;
use crate::symbolize::{Config, Symbolizer};

/// The same binary with other contents. The id tells the symbolizer that it is another.
fn with_contents(id: u32, original: &Binary, contents: &[u8]) -> Arc<Binary> {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(contents, 0).unwrap();
    Arc::new(Binary {
        id,
        path: "/hostile".to_owned(),
        kind: original.kind,
        build_id: String::new(),
        file: Some(Arc::new(file)),
        debug: None,
        segments: original.segments.clone(),
        problem: None,
    })
}

fn in_binary(frames: &[Frame], binary: &Arc<Binary>) -> Vec<Frame> {
    let move_one = |frame: &Frame| match frame {
        Frame::Native { offset, .. } => {
            Frame::Native { binary: Arc::clone(binary), offset: *offset }
        }
        other => other.clone(),
    };
    frames.iter().map(move_one).collect()
}

/// A generator of numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// A program with debug information, and the frames of one of its functions.
fn victim(shop: &Workshop) -> (Vec<u8>, Arc<Binary>, Vec<Frame>) {
    let path = shop.build("gcc", ("inlined.c", INLINED_C), &["-O2", "-g"]);
    let original = binary(0, &path);
    let frames = frames_of(&original, &path, "outer");
    (fs::read(&path).unwrap(), original, frames)
}

#[test]
fn truncated_files_are_harmless() {
    let shop = Workshop::new();
    let (contents, original, frames) = victim(&shop);
    let mut symbolizer = shop.symbolizer();
    for (id, len) in (1..).zip((0..contents.len()).step_by(97)) {
        let cut = with_contents(id, &original, &contents[..len]);
        symbolizer.symbolize(&in_binary(&frames, &cut), &mut Names::default());
    }
}

#[test]
fn files_with_wrong_bytes_are_harmless() {
    let shop = Workshop::new();
    let (contents, original, frames) = victim(&shop);
    let file = object::File::parse(contents.as_slice()).unwrap();
    // Where a wrong byte does most: the headers, and the sections that are read.
    let mut places = vec![0..64, contents.len() - 40 * 64..contents.len()];
    for name in [".symtab", ".debug_info", ".debug_abbrev", ".debug_line", ".debug_aranges"] {
        let (start, size) = file.section_by_name(name).unwrap().file_range().unwrap();
        places.push(start as usize..(start + size) as usize);
    }
    let mut random = Random(42);
    let mut symbolizer = shop.symbolizer();
    for id in 1..800 {
        let mut bytes = contents.clone();
        for _ in 0..=random.below(3) {
            let place = &places[random.below(places.len())];
            bytes[place.start + random.below(place.len())] = random.below(256) as u8;
        }
        let broken = with_contents(id, &original, &bytes);
        symbolizer.symbolize(&in_binary(&frames[..4], &broken), &mut Names::default());
    }
    assert!(symbolizer.problems().len() <= 21);
}

/// Overwrites bytes of a file at an offset.
fn patch(path: &Path, offset: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, offset).unwrap();
}

#[test]
fn packed_sections_that_claim_a_terabyte_are_refused() {
    let shop = Workshop::new();
    let (_, original, frames) = victim(&shop);
    shop.run("objcopy", &["--compress-debug-sections=zlib", "program"]);
    let contents = fs::read(shop.path("program")).unwrap();
    let file = object::File::parse(contents.as_slice()).unwrap();
    let packed = |s: &object::Section<'_, '_>| {
        s.compressed_file_range().unwrap().uncompressed_size != s.file_range().unwrap().1
    };
    let section = file.sections().filter(|s| s.name().unwrap().starts_with(".debug_")).find(packed);
    let header = section.unwrap().file_range().unwrap().0;
    patch(&shop.path("program"), header + 8, &(1_u64 << 40).to_le_bytes());

    let claims = with_contents(1, &original, &fs::read(shop.path("program")).unwrap());
    let mut symbolizer = shop.symbolizer();
    assert_eq!(named(&mut symbolizer, &in_binary(&frames, &claims)), ["outer"]);
    assert!(symbolizer.problems()[0].contains("memory"), "{:?}", symbolizer.problems());
}

#[test]
fn symbol_tables_of_wild_sizes_are_refused() {
    let shop = Workshop::new();
    let (contents, original, frames) = victim(&shop);
    let file = object::File::parse(contents.as_slice()).unwrap();
    let header = section_header(&contents, &file, ".symtab") as usize;
    for (id, size) in (1..).zip([u64::MAX, 1 << 60, 1 << 40, u64::MAX - 23, 23, 1]) {
        let mut bytes = contents.clone();
        bytes[header + 32..header + 40].copy_from_slice(&size.to_le_bytes());
        let wild = with_contents(id, &original, &bytes);
        shop.symbolizer().symbolize(&in_binary(&frames, &wild), &mut Names::default());
    }
}

/// Debug information that nests `depth` inlined functions in `main`.
fn nested(depth: usize) -> String {
    format!(
        "
        .globl main
        .type main,@function
        .file 1 \"nested.c\"
main:   .loc 1 7
        xor %eax,%eax
        ret
        .size main,.-main
        .section .debug_abbrev,\"\",@progbits
        .byte 1,0x11,1, 0x11,0x01, 0x12,0x07, 0x10,0x17, 0,0
        .byte 2,0x2e,1, 0x11,0x01, 0x12,0x07, 0x03,0x08, 0,0
        .byte 3,0x1d,1, 0,0
        .byte 0
        .section .debug_info,\"\",@progbits
        .long 2f-1f
1:      .short 4
        .long 0
        .byte 8, 1
        .quad main, 3
        .long lines
        .byte 2
        .quad main, 3
        .asciz \"main\"
        .fill {depth},1,3
        .fill {depth}+2,1,0
2:
        .section .debug_line,\"\",@progbits
lines:
        .section .note.GNU-stack,\"\",@progbits
        "
    )
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    for (depth, is_refused) in [(400, false), (50_000, true)] {
        let shop = Workshop::new();
        let path = shop.build("gcc", ("nested.s", &nested(depth)), &[]);
        let mut symbolizer = shop.symbolizer();
        let frames = frames_of(&binary(0, &path), &path, "main");
        let name = if is_refused { "main" } else { "main (nested.c:7)" };
        assert_eq!(named(&mut symbolizer, &frames), [name]);
        let problems = symbolizer.problems();
        assert_eq!(problems.iter().any(|p| p.contains("nested too deeply")), is_refused);
    }
}

#[test]
fn a_file_that_is_truncated_while_it_is_in_use_does_no_harm() {
    let shop = Workshop::new();
    let path = shop.build("gcc", ("inlined.c", INLINED_C), &["-O2", "-g"]);
    let binary = binary(0, &path);
    let frames = frames_of(&binary, &path, "outer");
    let mut symbolizer = shop.symbolizer();
    named(&mut symbolizer, &frames[..1]);
    File::options().write(true).open(&path).unwrap().set_len(100).unwrap();
    let names = named(&mut symbolizer, &frames);
    assert!(names.iter().all(|name| name.is_empty() || name == INLINED), "{names:?}");
}

/// Set in the process that [`a_huge_debug_binary_stays_within_bounds`] starts to measure itself.
const MEASURE: &str = "PROFILER_AGENT_TEST_HUGE_BINARY";

#[test]
fn a_huge_debug_binary_stays_within_bounds() {
    if let Some(path) = std::env::var_os(MEASURE) {
        return name_and_report_peak(Path::new(&path));
    }
    let shop = Workshop::new();
    let path = shop.build("gcc", ("inlined.c", INLINED_C), &["-O2", "-g"]);
    grow_debug_strings(&path, 500 << 20);

    // Peak memory is one figure of the whole process, so the measuring is done in one of its own.
    let this = "symbolize::symbolizer::tests::hostile::a_huge_debug_binary_stays_within_bounds";
    let output = Command::new(std::env::current_exe().unwrap())
        .args([this, "--exact", "--nocapture"])
        .env(MEASURE, &path)
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    let growth = report.lines().find_map(|line| line.strip_prefix("peak growth KiB: "));
    let growth: u64 = growth.unwrap_or_else(|| panic!("{report}")).parse().unwrap();
    assert!(growth < 8 << 10, "{growth} KiB");
}

/// Gives a program a `.debug_str` of another size, at its end.
fn grow_debug_strings(path: &Path, size: u64) {
    let contents = fs::read(path).unwrap();
    let file = object::File::parse(contents.as_slice()).unwrap();
    let header = section_header(&contents, &file, ".debug_str");
    let end = contents.len() as u64;
    patch(path, header + 24, &end.to_le_bytes());
    patch(path, header + 32, &size.to_le_bytes());
    File::options().write(true).open(path).unwrap().set_len(end + size).unwrap();
}

/// Offset of the header of a section.
fn section_header(contents: &[u8], file: &object::File<'_>, name: &str) -> u64 {
    let index = file.section_by_name(name).unwrap().index().0 as u64;
    u64::from_le_bytes(contents[40..48].try_into().unwrap()) + index * 64
}

fn name_and_report_peak(path: &Path) {
    // The frames come with the offset of a function that its parent looked up.
    let binary = binary(0, path);
    let frames = frames_of(&binary, path, "outer");

    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak_kib();
    let mut symbolizer = Symbolizer::new(Config::default());
    let names = named(&mut symbolizer, &frames);
    println!("\npeak growth KiB: {}", peak_kib() - before);
    assert!(names.iter().any(|name| name == "outer"), "{names:?}");
    assert!(symbolizer.problems()[0].contains("memory budget"), "{:?}", symbolizer.problems());
}

fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
