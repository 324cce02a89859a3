//! Stubs of programs that the machine's linker made, of its disassembler's opinion, and of nobody.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;

const SOURCE: &str = "\
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
__attribute__((weak)) void nobody(void);
int (*volatile taken)(void) = getppid;
int main(int argc, char **argv) {
  if (argc > 9) nobody();
  return puts(argv[0]) + getpid() + getppid() + taken() + rand();
}
";

fn run(program: &str, arguments: &[&str], directory: &TempDir) -> String {
    let run = Command::new(program).args(arguments).current_dir(directory).output().unwrap();
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(run.stdout).unwrap()
}

/// Links [`SOURCE`].
fn link(flags: &[&str]) -> TempDir {
    let shop = tempfile::tempdir().unwrap();
    fs::write(shop.path().join("calls.c"), SOURCE).unwrap();
    run("gcc", &[flags, &["-O1", "-o", "calls", "calls.c"]].concat(), &shop);
    shop
}

fn open(path: &Path) -> Elf {
    Elf::open(Arc::new(File::open(path).unwrap())).unwrap()
}

/// The address and the name of every byte in the sections of stubs.
fn stubs(elf: &Elf) -> Vec<(u64, Option<String>)> {
    let sections = STUBS.iter().filter_map(|name| elf.section(name));
    let wanted: Vec<u64> = sections.flat_map(|s| s.address..s.address + s.size).collect();
    let mut symbols = vec![None; wanted.len()];
    assert!(!fill(elf, &wanted, &mut symbols).unwrap());
    let text = |symbol: Option<Vec<u8>>| symbol.map(|name| String::from_utf8(name).unwrap());
    wanted.into_iter().zip(symbols.into_iter().map(text)).collect()
}

/// What the disassembler says: where each stub begins, and its name.
fn disassembled(shop: &TempDir) -> Vec<(u64, String)> {
    let listing = run("objdump", &["--disassemble", "calls"], shop);
    let stub = |line: &str| {
        let (address, name) = line.strip_suffix(">:")?.split_once(" <")?;
        let address = u64::from_str_radix(address, 16).ok()?;
        name.ends_with(SUFFIX).then(|| (address, name.to_owned()))
    };
    listing.lines().filter_map(stub).collect()
}

#[test]
fn stubs_are_named_as_the_disassembler_names_them() {
    for flags in [
        &["-Wl,-z,lazy"][..],
        &["-Wl,-z,now"],
        &["-no-pie"],
        &["-s"],
        &["-shared", "-fpic"],
        #[cfg(target_arch = "x86_64")]
        &["-fcf-protection=full", "-Wl,-z,ibtplt", "-Wl,-z,lazy"],
        #[cfg(target_arch = "aarch64")]
        &["-mbranch-protection=standard", "-Wl,-z,force-bti,-z,pac-plt"],
    ] {
        let shop = link(flags);
        let (expected, found) = (disassembled(&shop), stubs(&open(&shop.path().join("calls"))));
        for function in ["nobody", "puts", "getpid", "getppid", "rand"] {
            let name = format!("{function}{SUFFIX}");
            assert!(expected.iter().any(|(_, known)| *known == name), "{flags:?}: {expected:?}");
        }
        for (address, name) in found {
            let stub = expected.iter().find(|(start, _)| (*start..start + 16).contains(&address));
            // What follows a stub of 8 bytes is the next one; padding may have its name or none.
            let nearer = expected.iter().rfind(|(start, _)| (*start..start + 8).contains(&address));
            let theirs = nearer.or(stub).map(|(_, name)| name.as_str());
            let is_same = name.as_deref() == theirs || (name.is_none() && nearer.is_none());
            assert!(is_same, "{flags:?}: {address:#x} is {name:?}, not {theirs:?}");
        }
    }
}

/// Code at 0x1000 is a stub of this word and length.
#[track_caller]
fn assert_stub(stub: Option<Stub>, expected: Option<(u64, u64)>) {
    assert_eq!(stub.map(|stub| (stub.word, stub.len)), expected);
}

#[test]
fn stubs_of_x86_64_are_decoded() {
    for (code, expected) in [
        (&b"\xff\x25\x10\0\0\0\x68\0\0\0\0\xe9"[..], Some((0x1016, 16))),
        (b"\xff\x25\xfa\xff\xff\xff", Some((0x1000, 16))),
        (b"\xf3\x0f\x1e\xfa\xff\x25\x10\0\0\0", Some((0x101a, 16))),
        (b"\xf3\x0f\x1e\xfa\xf2\xff\x25\x10\0\0\0", Some((0x101b, 16))),
        // The header of the table, and a stub that is only run to bind its function.
        (b"\xff\x35\x10\0\0\0\xff\x25\x10\0\0\0", None),
        (b"\xf3\x0f\x1e\xfa\x68\0\0\0\0\xe9\0\0\0\0", None),
        (b"\xff\x25\x10\0\0", None),
        (b"\xf3\x0f\x1e", None),
        (b"", None),
    ] {
        assert_stub(x86_64(code, 0x1000), expected);
    }
    assert!(x86_64(b"\xff\x25\xff\xff\xff\x7f", u64::MAX).is_some(), "it wraps around");
}

#[test]
fn stubs_of_arm64_are_decoded() {
    const ADRP_1F_PAGES: u32 = 0xf000_00f0;
    const ADRP_PAGE_BEFORE: u32 = 0xf0ff_fff0;
    const LDR_16: u32 = 0xf940_0a11;
    const ADD_16: u32 = 0x9100_4210;

    const BTI_C: u32 = 0xd503_245f;
    const AUTIA1716: u32 = 0xd503_219f;
    const BR_X17: u32 = 0xd61f_0220;
    const STP: u32 = 0xa9bf_7bf0;
    for (instructions, expected) in [
        (&[ADRP_1F_PAGES, LDR_16, ADD_16, BR_X17][..], Some((0x2_0010, 16))),
        (&[ADRP_PAGE_BEFORE, LDR_16, ADD_16, BR_X17], Some((0x10, 16))),
        (&[ADRP_1F_PAGES, LDR_16, ADD_16, AUTIA1716, BR_X17, 0], Some((0x2_0010, 20))),
        (&[BTI_C, ADRP_1F_PAGES, LDR_16, ADD_16, AUTIA1716, BR_X17], Some((0x2_0010, 24))),
        (&[BTI_C, ADRP_1F_PAGES, LDR_16, ADD_16], None),
        (&[STP, ADRP_1F_PAGES, LDR_16, ADD_16, BR_X17], None),
        (&[ADRP_1F_PAGES, ADD_16, LDR_16, BR_X17], None),
        (&[BTI_C], None),
        (&[], None),
    ] {
        let code: Vec<u8> = instructions.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_stub(arm64(&code, 0x1000), expected);
    }
}

/// A file of this content.
fn file_of(contents: &[u8]) -> Arc<File> {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(contents, 0).unwrap();
    Arc::new(file)
}

/// Asks a file for names where an honest one has stubs. They may be wrong, or none.
fn probe(contents: &[u8], addresses: &[u64]) {
    let Ok(elf) = Elf::open(file_of(contents)) else { return };
    let _ = fill(&elf, addresses, &mut vec![None; addresses.len()]);
}

#[test]
fn files_that_lie_are_harmless() {
    let shop = link(&[]);
    let path = shop.path().join("calls");
    let (contents, elf) = (fs::read(&path).unwrap(), open(&path));
    let addresses: Vec<u64> = stubs(&elf).into_iter().map(|(address, _)| address).collect();
    for len in (0..contents.len()).step_by(499) {
        probe(&contents[..len], &addresses);
    }
    let section_headers = contents.len() - 40 * 64..contents.len();
    let range = |name: &&str| -> Range<usize> {
        let section = elf.section(name).unwrap();
        section.offset as usize..(section.offset + section.size) as usize
    };
    let mut places: Vec<_> = [".plt", ".rela.plt", ".dynsym"].iter().map(range).collect();
    places.push(section_headers);
    for place in places {
        for at in place.step_by(3) {
            for byte in [0, 0x7f, 0xff] {
                let mut broken = contents.clone();
                broken[at..contents.len().min(at + 4)].fill(byte);
                probe(&broken, &addresses);
            }
        }
    }
}

#[test]
fn relocations_without_end_are_cut() {
    let shop = link(&[]);
    let path = shop.path().join("calls");
    let (mut contents, elf) = (fs::read(&path).unwrap(), open(&path));
    let addresses: Vec<u64> = stubs(&elf).into_iter().map(|(address, _)| address).collect();
    // The table is moved to where the file is a hole of a terabyte, in which no relocation is found.
    let table = elf.section(".rela.plt").unwrap();
    let fields = [table.offset.to_le_bytes(), table.size.to_le_bytes()].concat();
    let header = contents.windows(16).rposition(|bytes| bytes == fields).unwrap();
    let end = contents.len() as u64;
    let hole = [end.to_le_bytes(), (1_u64 << 40).to_le_bytes()].concat();
    contents[header..header + 16].copy_from_slice(&hole);
    let file = file_of(&contents);
    file.set_len(end + (1 << 40)).unwrap();
    let mut symbols = vec![None; addresses.len()];
    assert!(fill(&Elf::open(file).unwrap(), &addresses, &mut symbols).unwrap());
}
