//! Well-formed, truncated and hostile headers.

use std::io::Write;

use super::*;

/// A little-endian 64-bit ELF file of headers alone: one note segment, one executable segment.
fn image(program_headers: u16, note: &[u8]) -> Vec<u8> {
    let note_at = 64 + 56 * 2;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([3, 0, 62, 0, 1, 0, 0, 0]);
    file.extend(0_u64.to_le_bytes()); // entry
    file.extend(64_u64.to_le_bytes()); // program headers
    file.extend(0_u64.to_le_bytes()); // section headers
    file.extend([0, 0, 0, 0, 64, 0, 56, 0]);
    file.extend(program_headers.to_le_bytes());
    file.extend([64, 0, 0, 0, 0, 0]);
    for (kind, flags, offset, address, size) in [
        (elf::PT_NOTE, elf::PF_R, note_at, 0, note.len() as u64),
        (elf::PT_LOAD, elf::PF_X, 0x1000, 0x2000, 0x500),
    ] {
        file.extend(kind.0.to_le_bytes());
        file.extend(flags.0.to_le_bytes());
        for word in [offset, address, address, size, size, 4] {
            file.extend(word.to_le_bytes());
        }
    }
    file.extend(note);
    file
}

fn note(name: &[u8], kind: elf::NoteType, id: &[u8]) -> Vec<u8> {
    let mut note = (name.len() as u32).to_le_bytes().to_vec();
    note.extend((id.len() as u32).to_le_bytes());
    note.extend(kind.0.to_le_bytes());
    note.extend(name);
    note.resize(note.len().next_multiple_of(4), 0);
    note.extend(id);
    note.resize(note.len().next_multiple_of(4), 0);
    note
}

fn gnu(id: &[u8]) -> Vec<u8> {
    note(b"GNU\0", elf::NT_GNU_BUILD_ID, id)
}

fn parsed(bytes: &[u8]) -> Result<Headers, ElfError> {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(bytes).expect("space for it");
    read(&file)
}

fn build_id_of(note: &[u8]) -> String {
    parsed(&image(2, note)).expect("a well-formed file").build_id
}

#[test]
fn build_id_and_text() {
    let headers = parsed(&image(2, &gnu(&[0xAB, 0x01, 0xFF]))).unwrap();
    assert_eq!(headers.build_id, "ab01ff");
    let text = Segment { file_offset: 0x1000, file_size: 0x500, address: 0x2000 };
    assert_eq!(headers.segments, [text]);
}

#[test]
fn only_a_build_id_is_one() {
    let long = [7; MAX_BUILD_ID + 1];
    for (what, note, want) in [
        ("none", Vec::new(), ""),
        ("another owner", note(b"Go\0\0", elf::NT_GNU_BUILD_ID, b"abcd"), ""),
        ("another kind", note(b"GNU\0", elf::NT_GNU_ABI_TAG, b"abcd"), ""),
        (
            "after another",
            [note(b"GNU\0", elf::NT_GNU_ABI_TAG, b"abcd"), gnu(&[1, 2])].concat(),
            "0102",
        ),
        ("empty", gnu(&[]), ""),
        ("too long", gnu(&long), ""),
        ("cut", gnu(&[1, 2, 3, 4])[..14].to_vec(), ""),
        ("wild sizes", vec![0xff; 64], ""),
    ] {
        assert_eq!(build_id_of(&note), want, "{what}");
    }
}

#[test]
fn what_is_no_elf_file() {
    for (bytes, want) in [
        (&b""[..], "not an ELF file"),
        (b"#!/bin/sh\n", "not an ELF file"),
        (b"\x7fELF", "not an ELF file"),
        (b"\x7fELF\x02\x02\x01\0", "an ELF file for a big-endian machine"),
        (b"\x7fELF\x09\x01\x01\0", "not an ELF file"),
    ] {
        assert_eq!(parsed(bytes).unwrap_err().to_string(), want);
    }
}

#[test]
fn truncated_at_every_byte() {
    let whole = image(2, &gnu(&[1; 20]));
    for len in 0..whole.len() {
        if let Ok(headers) = parsed(&whole[..len]) {
            assert_eq!(headers.build_id, "", "cut at {len}");
        }
    }
}

#[test]
fn every_byte_wild() {
    let whole = image(2, &gnu(&[1; 20]));
    for at in 0..whole.len() {
        for wild in [0x00, 0x7f, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = wild;
            if let Ok(headers) = parsed(&bytes) {
                assert!(headers.segments.len() <= MAX_SEGMENTS);
            }
        }
    }
}

#[test]
fn huge_counts_read_little() {
    // 65,534 program headers are 3.6 MB, more than is ever read; the file is sparse.
    let file = tempfile::tempfile().expect("a temporary file");
    file.set_len(1 << 40).unwrap();
    file.write_at(&image(u16::MAX - 1, &[]), 0).unwrap();
    assert!(matches!(read(&file), Err(ElfError::Damaged(_))));

    // A note segment that claims the whole of a terabyte.
    let mut bytes = image(2, &[]);
    bytes[64 + 32..64 + 40].copy_from_slice(&(1_u64 << 39).to_le_bytes());
    file.set_len(0).unwrap();
    file.set_len(1 << 40).unwrap();
    file.write_at(&bytes, 0).unwrap();
    let headers = read(&file).unwrap();
    assert_eq!((headers.build_id.as_str(), headers.segments.len()), ("", 1));
}

#[test]
fn our_own_executable() {
    let headers = read(&File::open("/proc/self/exe").unwrap()).unwrap();
    assert_eq!(headers.segments.len(), 1);
    assert!(headers.segments[0].file_size > 0);
}
