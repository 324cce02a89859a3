//! An ELF file as hostile as can be: whatever becomes of it is within its limits, and in order.
//!
//! The input is a file, or the contents of one section for a file around it: the first byte says of
//! which kind.

use std::fs::File;
use std::io::Write as _;

use profiler_agent::runtime::native::{Limits, Readable, load};

use crate::image::{Image, Packing};

const LIMITS: Limits = Limits { section: 1 << 20, table: 1 << 20, part: 1 << 16 };

/// Rows that are looked at one by one, at most: a table of the largest size has very many.
const ROWS: usize = 4096;

const IS_ARM: u8 = 1;
const IS_DEBUG: u8 = 2;
const IS_STRIPPED: u8 = 4;
const IS_GO: u8 = 8;

pub fn run(input: &[u8]) {
    let Ok(table) = load(&file_of(input), None, &LIMITS) else { return };
    assert!(table.size() <= LIMITS.table, "{} bytes", table.size());
    for (part, next) in table.parts.iter().zip(table.parts.iter().skip(1)) {
        assert!(part.address + part.len <= next.address, "parts overlap");
    }
    let mut end = 0;
    for row in table.rows().take(ROWS) {
        assert!(end <= row.start && row.start < row.end, "{row:x?} after {end:#x}");
        assert_eq!(table.rule(row.start), row.rule, "{row:x?}");
        assert_eq!(table.rule(row.end - 1), row.rule, "{row:x?}");
        let _ = Readable { rule: row.rule, machine: table.machine }.to_string();
        end = row.end;
    }
}

fn file_of(input: &[u8]) -> File {
    match input.split_first() {
        Some((kind, contents)) if !input.starts_with(b"\x7fELF") => around(*kind, contents).file(),
        _ => {
            let mut file = tempfile::tempfile().expect("a temporary file");
            file.write_all(input).expect("room for a temporary file");
            file
        }
    }
}

fn around(kind: u8, contents: &[u8]) -> Image {
    let mut image = Image::new(contents.to_vec());
    if kind & IS_ARM != 0 {
        image.machine = object::elf::EM_AARCH64;
    }
    if kind & IS_DEBUG != 0 {
        image.sections = vec![(".debug_frame", contents.to_vec(), Packing::Plain)];
    }
    if kind & IS_GO != 0 {
        image.sections.push((".gopclntab", vec![0; 16], Packing::Plain));
    }
    image.is_stripped = kind & IS_STRIPPED != 0;
    image
}
