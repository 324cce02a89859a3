//! Tables of files that are made by hand: each shape, and files that lie.

pub(super) mod image;
mod known;
mod recorded;

use std::time::{Duration, Instant};

use gimli::constants as dw;
use image::{
    CODE, CODE_BYTES, Frames, Image, Packing, advance, breg, cfa, cfa_expression, saved,
    saved_expression,
};
use profiler_common::native::rule::Rule;

use super::*;

const DEREF: u8 = dw::DW_OP_deref.0;

fn loaded(image: &Image) -> Result<Table, NoTable> {
    load(&image.file(), None, &Limits::default())
}

fn table(frames: Frames) -> Table {
    loaded(&Image::new(frames.bytes)).unwrap()
}

/// The rule at an offset in the code, in words.
fn at(table: &Table, offset: u64) -> String {
    Readable { rule: table.rule(CODE + offset), machine: table.machine }.to_string()
}

/// Each shape of x86-64, as the program of a function of one row.
#[test]
fn shapes_of_x86_64() {
    let plus = |value| [dw::DW_OP_plus_uconst.0, value];
    let plt = |byte| {
        let (pc, and) = (breg(16, 0), [dw::DW_OP_lit15.0, dw::DW_OP_and.0]);
        let (ge, shl) = ([byte, dw::DW_OP_ge.0], [dw::DW_OP_lit3.0, dw::DW_OP_shl.0]);
        cfa_expression(&[&breg(7, 8)[..], &pc, &and, &ge, &shl, &[dw::DW_OP_plus.0]].concat())
    };
    let undefined = [dw::DW_CFA_undefined.0, 16];
    let in_rdi = [dw::DW_CFA_register.0, 16, 5];
    for (program, expected) in [
        (vec![], "cfa=rsp+8 ra=[cfa-8]"),
        ([cfa(7, 16), saved(6, 2)].concat(), "cfa=rsp+16 ra=[cfa-8] rbp=[cfa-16]"),
        ([cfa(6, 16), saved(6, 2)].concat(), "cfa=rbp+16 ra=[cfa-8] rbp=[cfa-16]"),
        (saved(3, 4), "cfa=rsp+8 ra=[cfa-8] rbx=[cfa-32]"),
        (saved(3, 255), "cfa=rsp+8 ra=[cfa-8] rbx lost"),
        (cfa(7, 400_000), "cfa=rsp+400000 ra=[cfa-8]"),
        (cfa(7, 28), "cfa=rsp+28 ra=[cfa-8]"),
        (cfa(7, 1 << 24), "of a shape that no rule can hold"),
        (cfa(10, 0), "cfa=r10 ra=[cfa-8]"),
        (
            [
                cfa_expression(&[&breg(6, -8)[..], &[DEREF]].concat()),
                saved_expression(6, &breg(6, 0)),
            ]
            .concat(),
            "cfa=[rbp-8] ra=[cfa-8] rbp=[rbp]",
        ),
        (
            cfa_expression(&[&breg(7, 40)[..], &[DEREF], &plus(8)].concat()),
            "cfa=[rsp+40]+8 ra=[cfa-8]",
        ),
        (plt(dw::DW_OP_lit11.0), "cfa=rsp+8, 8 more from byte 11 of 16 on ra=[cfa-8]"),
        (plt(dw::DW_OP_lit10.0), "cfa=rsp+8, 8 more from byte 10 of 16 on ra=[cfa-8]"),
        (
            cfa_expression(&[&breg(7, 40)[..], &plus(8)].concat()),
            "of a shape that no rule can hold",
        ),
        (cfa_expression(&[dw::DW_OP_nop.0; 40]), "of a shape that no rule can hold"),
        (undefined.to_vec(), "end of the stack"),
        ([cfa(7, 0), in_rdi.to_vec()].concat(), "cfa=rsp ra=rdi"),
        (vec![dw::DW_CFA_same_value.0, 6], "cfa=rsp+8 ra=[cfa-8]"),
        (vec![dw::DW_CFA_undefined.0, 6], "cfa=rsp+8 ra=[cfa-8] rbp lost"),
        (saved_expression(6, &breg(7, 16)), "cfa=rsp+8 ra=[cfa-8] rbp lost"),
        (saved_expression(16, &breg(7, 16)), "of a shape that no rule can hold"),
    ] {
        let table = table(Frames::x86().function(CODE, 16, &program));
        assert_eq!(at(&table, 0), expected, "{program:x?}");
        let is_whole =
            !expected.contains("shape") && !program.starts_with(&[dw::DW_CFA_expression.0]);
        assert_eq!(table.report.causes().next().is_none(), is_whole, "{expected}");
    }
}

#[test]
fn shapes_of_arm64() {
    let stored = |fp, lr| [saved(29, fp), saved(30, lr)].concat();
    let signed = [dw::DW_CFA_AARCH64_negate_ra_state.0];
    for (program, expected) in [
        (vec![], "cfa=sp ra=x30"),
        (signed.to_vec(), "cfa=sp ra=x30"),
        ([cfa(31, 32), stored(4, 3)].concat(), "cfa=sp+32 ra=[cfa-24] x29=[cfa-32]"),
        ([cfa(29, 32), stored(4, 3)].concat(), "cfa=x29+32 ra=[cfa-24] x29=[cfa-32]"),
        ([cfa(31, 4096), stored(512, 511)].concat(), "cfa=sp+4096 ra=[cfa-4088] x29=[cfa-4096]"),
        ([cfa(31, 4096), saved(30, 511)].concat(), "cfa=sp+4096 ra=[cfa-4088]"),
        (vec![dw::DW_CFA_undefined.0, 30], "end of the stack"),
        (vec![dw::DW_CFA_register.0, 30, 15], "cfa=sp ra=x15"),
    ] {
        let mut image = Image::new(Frames::arm().function(CODE, 16, &program).bytes);
        image.machine = object::elf::EM_AARCH64;
        let table = loaded(&image).unwrap();
        assert_eq!(at(&table, 0), expected, "{program:x?}");
        assert_eq!(table.report.causes().next(), None, "{expected}");
    }
}

#[test]
fn a_signal_frame_holds_the_interrupted_registers() {
    // As libc describes `__restore_rt`: the CFA is the interrupted stack pointer, at 160.
    let context = [dw::DW_OP_breg0.0 + 7, 0xa0, 0x01, DEREF];
    let frames = Frames::x86_signal().function(CODE, 16, &cfa_expression(&context));
    assert_eq!(at(&table(frames), 0), "registers in the signal frame at rsp");
    let unknown = table(Frames::x86_signal().function(CODE, 16, &cfa(7, 8)));
    assert_eq!(unknown.rule(CODE), Rule::UNSUPPORTED);
    assert_eq!(unknown.report.causes().collect::<Vec<_>>(), [(Cause::Signal, 1)]);
}

#[test]
fn what_lies_between_functions_has_no_rule() {
    let push = [advance(1), cfa(7, 16), advance(3), saved(6, 2), advance(0), saved(3, 3)].concat();
    let table =
        table(Frames::x86().function(CODE + 0x3f0, 32, &[]).function(CODE + 0x10, 0x20, &push));
    let rows: Vec<_> = table.rows().map(|row| (row.start - CODE, row.end - CODE)).collect();
    assert_eq!(rows, [(0x10, 0x11), (0x11, 0x14), (0x14, 0x30), (0x3f0, 0x410)]);
    for outside in [0, 0xf, 0x30, 0x3ef, 0x410, 0x4ff, 0x500, 1 << 40] {
        assert_eq!(table.rule(CODE + outside), Rule::NONE, "{outside:#x}");
    }
    for address in [0, 1, CODE - 1, u64::MAX] {
        assert_eq!(table.rule(address), Rule::NONE, "{address:#x}");
    }
    assert_eq!(table.report.rows, 4);
}

#[test]
fn of_overlapping_descriptions_the_later_beginning_counts() {
    let frames = Frames::x86()
        .function(CODE, 0x100, &cfa(7, 16))
        .function(CODE + 0x40, 0x20, &cfa(7, 24))
        .function(CODE + 0x40, 0x80, &cfa(7, 32))
        .function(CODE, 0x10, &cfa(7, 40));
    let table = table(frames);
    assert_eq!(at(&table, 0), "cfa=rsp+16 ra=[cfa-8]");
    assert_eq!(at(&table, 0x3f), "cfa=rsp+16 ra=[cfa-8]");
    assert_eq!(at(&table, 0x40), "cfa=rsp+24 ra=[cfa-8]");
    assert_eq!(table.rule(CODE + 0x60), Rule::NONE);
    assert_eq!((table.report.fdes, table.report.overlapping), (4, 3));
}

#[test]
fn what_is_no_code_is_passed_over() {
    let frames = Frames::x86()
        .function(0, 0x10, &[])
        .function(CODE + CODE_BYTES, 0x10, &[])
        .function(CODE, u64::MAX, &[])
        .function(CODE + 4, 0, &[]);
    let table = table(frames);
    assert_eq!(table.report.outside, 3);
    assert_eq!(table.rule(CODE + CODE_BYTES - 1), Rule::UNSUPPORTED);
    assert_eq!(table.rule(CODE + CODE_BYTES), Rule::NONE);
}

#[test]
fn a_program_that_breaks_off_is_counted() {
    let broken = [advance(4), cfa(7, 16), advance(4), vec![0x3f]].concat();
    let table = table(Frames::x86().function(CODE, 16, &broken).function(CODE + 16, 16, &[]));
    assert_eq!(at(&table, 0), "cfa=rsp+8 ra=[cfa-8]");
    assert_eq!(at(&table, 4), "cfa=rsp+16 ra=[cfa-8]");
    assert_eq!(table.rule(CODE + 8), Rule::UNSUPPORTED);
    assert_eq!(at(&table, 16), "cfa=rsp+8 ra=[cfa-8]");
    assert_eq!(table.report.causes().collect::<Vec<_>>(), [(Cause::Malformed, 1)]);
}

#[test]
fn a_file_without_sections_tells_by_its_program_headers() {
    let mut image = Image::new(Frames::x86().function(CODE, 16, &[]).bytes);
    image.is_stripped = true;
    // What follows the section in the segment is not a part of it: an empty entry ends it.
    image.sections[0].1.extend([0; 4]);
    image.sections.push((".data", vec![0xff; 64], Packing::Plain));
    let table = loaded(&image).unwrap();
    assert_eq!((at(&table, 0).as_str(), table.report.fdes), ("cfa=rsp+8 ra=[cfa-8]", 1));
    assert_eq!(table.report.causes().next(), None);
}

#[test]
fn debug_frame_covers_what_eh_frame_does_not() {
    let eh = Frames::x86().function(CODE + 16, 16, &cfa(7, 16)).bytes;
    let debug = Frames::debug()
        .function(CODE, 16, &cfa(7, 24))
        .function(CODE + 16, 16, &cfa(7, 24))
        .function(CODE + 24, 4, &cfa(7, 24));
    for packing in [Packing::Plain, Packing::Zlib, Packing::Zstd] {
        let mut image = Image::new(eh.clone());
        image.sections.push((".debug_frame", debug.bytes.clone(), packing));
        let both = loaded(&image).unwrap();
        let rules = [0, 15, 16, 24, 31].map(|offset| at(&both, offset));
        let expected = [24, 24, 16, 16, 16].map(|from| format!("cfa=rsp+{from} ra=[cfa-8]"));
        assert_eq!(rules, expected, "{packing:?}");
        assert_eq!((both.source, both.rule(CODE + 32)), (Source::Both, Rule::NONE));

        let apart = Image { sections: image.sections.split_off(1), ..Image::new(Vec::new()) };
        let mut whole = load(&image.file(), Some(&apart.file()), &Limits::default()).unwrap();
        assert!(std::mem::take(&mut whole.report.debug_frame_apart), "it is the debug file's");
        assert_eq!(whole, both);
        assert_eq!(loaded(&apart).unwrap().source, Source::DebugFrame);
    }
}

#[test]
fn go_code_is_followed_by_its_frame_pointer() {
    let program =
        [advance(1), cfa(7, 16), advance(10), cfa(7, 64), advance(20), cfa(7, 8)].concat();
    let debug = Frames::debug().function(CODE, 64, &program).bytes;
    let mut image = Image::new(Vec::new());
    image.sections =
        vec![(".debug_frame", debug, Packing::Plain), (".gopclntab", vec![0; 16], Packing::Plain)];
    let table = loaded(&image).unwrap();
    let by_frame = "cfa=rbp+16 ra=[cfa-8] rbp=[cfa-16] rbx lost";
    for (offset, expected) in [
        (0, "cfa=rsp+8 ra=[cfa-8]"),
        (1, "cfa=rsp+16 ra=[cfa-8] rbp=[cfa-16]"),
        (3, "cfa=rsp+16 ra=[cfa-8] rbp=[cfa-16]"),
        (4, by_frame),
        (11, by_frame),
        (30, by_frame),
        (31, "cfa=rsp+8 ra=[cfa-8]"),
    ] {
        assert_eq!(at(&table, offset), expected, "{offset}");
    }
}

#[test]
fn files_without_a_table_say_why() {
    let image = |change: fn(&mut Image)| {
        let mut image = Image::new(Frames::x86().function(CODE, 16, &[]).bytes);
        change(&mut image);
        loaded(&image).unwrap_err().to_string()
    };
    for (error, expected) in [
        (image(|i| i.machine = object::elf::EM_386), "machine"),
        (image(|i| i.sections.clear()), "no unwind information"),
        (image(|i| i.code = (0x50_0000, 16)), "none of its code"),
        (image(|i| i.code = (u64::MAX - 4, 16)), "none of its code"),
    ] {
        assert!(error.contains(expected), "{error}");
    }
    let small = Limits { section: 40, ..Limits::default() };
    let file = Image::new(Frames::x86().function(CODE, 16, &[]).bytes).file();
    let error = load(&file, None, &small).unwrap_err();
    assert!(matches!(error, NoTable::TooLarge { what: ".eh_frame", limit: 40 }), "{error}");
    let directory = File::open("/").unwrap();
    assert!(matches!(load(&directory, None, &small), Err(NoTable::NotElf)));
}

/// A section that claims to be smaller when packed than it is, and one that claims to be larger.
#[test]
fn a_packed_section_is_as_large_as_it_says() {
    let debug = Frames::debug().function(CODE, 16, &[0; 4096]).bytes;
    for (packing, claim) in
        [(Packing::Zlib, 4000u64), (Packing::Zstd, 5000), (Packing::Zlib, 1 << 40)]
    {
        let mut image = Image::new(Vec::new());
        image.sections = vec![(".debug_frame", debug.clone(), packing)];
        let mut bytes = image.bytes();
        let size = (debug.len() as u64).to_le_bytes();
        let at = bytes.windows(8).position(|window| window == size).unwrap();
        bytes[at..at + 8].copy_from_slice(&claim.to_le_bytes());
        let result = load(&written(&bytes), None, &Limits::default());
        // What is cut off takes its function along.
        assert!(
            matches!(
                result,
                Err(NoTable::Malformed(_) | NoTable::TooLarge { .. } | NoTable::NoRows)
            ),
            "{result:?}"
        );
    }
}

fn written(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    file
}

/// A file of every length, and with every byte changed.
#[test]
fn no_file_makes_it_panic() {
    let program = [advance(1), cfa(7, 16), cfa_expression(&breg(7, 8)), advance(3), saved(6, 2)];
    let mut image = Image::new(Frames::x86_signal().function(CODE, 64, &program.concat()).bytes);
    let debug = Frames::debug().function(CODE + 64, 64, &program.concat()).bytes;
    image.sections.push((".debug_frame", debug, Packing::Zlib));
    let whole = image.bytes();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let limits = Limits { section: 1 << 20, table: 1 << 20, part: 1 << 16 };
    for at in 0..used {
        let _ = load(&written(&whole[..at]), None, &limits);
        for change in [0x01, 0x80, 0xff] {
            let mut bytes = whole[..used + 256].to_vec();
            bytes[at] ^= change;
            let file = written(&bytes);
            let first = load(&file, None, &limits).ok();
            assert_eq!(first, load(&file, None, &limits).ok(), "byte {at} ^ {change:#x}");
        }
    }
}

#[test]
fn work_is_bounded_by_the_size() {
    // A long common program that each of many functions would run again.
    let mut frames = Frames::x86();
    frames.common("", 16, &cfa(7, 8).repeat(100_000));
    for index in 0..10_000 {
        frames = frames.function(CODE + index, 1, &[]);
    }
    let started = Instant::now();
    let result = loaded(&Image::new(frames.bytes));
    assert!(matches!(result, Err(NoTable::TooMuchWork)), "{result:?}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn a_table_is_bounded_however_much_code_there_is() {
    let frames = Frames::x86().function(CODE, 1 << 39, &[]).bytes;
    let mut image = Image::new(frames);
    image.code = (CODE, u64::MAX);
    let file = image.file();
    // A file may be as long as it likes: it need not take room.
    file.set_len(1 << 40).unwrap();
    let limits = Limits { table: 1 << 20, ..Limits::default() };
    let error = load(&file, None, &limits).unwrap_err();
    assert!(matches!(error, NoTable::TooLarge { what: "table", .. }), "{error}");
}

/// Many rows of many rules, in small parts: what was put in comes out, and each part is within bounds.
#[test]
fn rows_come_back_out_of_all_parts() {
    let limits = Limits { part: 8 << 10, ..Limits::default() };
    let mut encoder = Encoder::new(&limits);
    let mut rows = Vec::new();
    let (mut at, mut random) = (0x40_0010_u64, 1_u64);
    for _ in 0..20_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (gap, len) = match random >> 60 {
            0 => (1 << 20, 3),
            1 => (random >> 40 & 0x3ff, 1000),
            2..9 => (0, 1),
            _ => (0, 1 + (random >> 50 & 15)),
        };
        let rule = Rule::new(profiler_common::native::rule::Cfa::Sp, (random >> 33 & 0x1ff) as i16);
        at += gap;
        encoder.add(at, at + len, rule).unwrap();
        rows.push(Row { start: at, end: at + len, rule });
        at += len;
    }
    let parts = encoder.finish().unwrap();
    assert!(parts.len() > 10);
    for (part, next) in parts.iter().zip(parts.iter().skip(1)) {
        assert!(part.bytes.len() <= 8 << 10 && part.address % 256 == 0 && part.rules % 8 == 0);
        assert!(part.address + part.len <= next.address);
    }
    let report = Report::default();
    let table = Table { machine: Machine::X86_64, parts, source: Source::EhFrame, report };
    let mut end = 0;
    for row in &rows {
        assert_eq!(table.rule(row.start), row.rule, "{row:x?}");
        assert_eq!(table.rule(row.end - 1), row.rule, "{row:x?}");
        if end < row.start {
            assert_eq!((table.rule(end), table.rule(row.start - 1)), (Rule::NONE, Rule::NONE));
        }
        end = row.end;
    }
    let mut merged: Vec<Row> = Vec::new();
    for row in rows {
        match merged.last_mut() {
            Some(last) if last.end == row.start && last.rule == row.rule => last.end = row.end,
            _ => merged.push(row),
        }
    }
    assert_eq!(table.rows().collect::<Vec<_>>(), merged);
}
