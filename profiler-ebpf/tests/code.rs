//! What the kernel side makes of code, tested on instructions as assemblers write them. Run by the
//! workspace, as a test of `profiler-common`: the rest of this crate is only for the BPF target.
#![expect(dead_code, unused_macros, unused_imports, reason = "a part of each module is tested")]
#![expect(clippy::unwrap_used, reason = "a test")]
#![expect(clippy::indexing_slicing, reason = "by constants, or in bounds as the verifier proves")]

#[path = "../src/opaque.rs"]
mod opaque;

#[path = "../src/unwind"]
mod unwind {
    pub mod arm64;
    pub mod code;
    pub mod x86_64;
    pub mod x86_64_lengths;
}

use unwind::code::{BEFORE, CODE_BYTES, CodeBytes, Prologue};
use unwind::{arm64, x86_64, x86_64_lengths};

/// Bytes from their hexadecimal digits, with blanks for people.
fn parse(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|b| *b != b' ').collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut words = [0; N];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks(8)) {
        let mut whole = [0; 8];
        whole[..chunk.len()].copy_from_slice(chunk);
        *word = u64::from_le_bytes(whole);
    }
    words
}

/// The copy of code that the programs make, with the program counter at the bar.
fn code(hex: &str) -> CodeBytes {
    let (before, after) = hex.split_once('|').unwrap();
    let (before, after) = (parse(before), parse(after));
    let mut bytes = vec![0x90; BEFORE as usize - before.len()];
    bytes.extend(before);
    bytes.extend(after);
    assert!(bytes.len() <= CODE_BYTES as usize);
    words(&bytes)
}

#[test]
fn instructions_have_their_lengths() {
    for (hex, len) in [
        ("90", 1),                      // nop
        ("89 f8", 2),                   // mov eax, edi
        ("48 89 e5", 3),                // mov rbp, rsp
        ("8b 44 24 08", 4),             // mov eax, [rsp + 8]
        ("48 8b 05 11 22 33 44", 7),    // mov rax, [rip + n]
        ("48 8b 04 25 11 22 33 44", 8), // mov rax, [n]
        ("41 83 c0 01", 4),             // add r8d, 1
        ("48 3d 00 f0 ff ff", 6),       // cmp rax, -4096
        ("48 81 c4 88 00 00 00", 7),    // add rsp, 136
        ("77 5b", 2),                   // ja
        ("0f 87 11 22 33 44", 6),       // ja
        ("0f b6 c0", 3),                // movzx eax, al
        ("b8 01 00 00 00", 5),          // mov eax, 1
        ("66 b8 01 00", 4),             // mov ax, 1
        ("f7 d8", 2),                   // neg eax
        ("f7 c7 01 00 00 00", 6),       // test edi, 1
        ("40 f6 c7 01", 4),             // test dil, 1
        ("64 89 02", 3),                // mov fs:[rdx], eax
        ("66 0f 1f 44 00 00", 6),       // nop word [rax + rax]
        ("f3 0f 1e fa", 4),             // endbr64
        ("0f 05", 2),                   // syscall
        ("e8 11 22 33 44", 5),          // call
        ("ff 14 c5 11 22 33 44", 7),    // call [rax * 8 + n]
        ("c7 44 24 08 01 00 00 00", 8), // mov dword [rsp + 8], 1
        ("66 0f ef c0", 4),             // pxor xmm0, xmm0
        ("c4 e2 79 18", 0),             // VEX: not in the tables
        ("0f 0b", 0),                   // ud2: nothing follows it
        ("c3", 0),                      // ret: nothing follows it
    ] {
        let [bytes] = words::<1>(&parse(hex));
        assert_eq!(x86_64_lengths::decode(bytes).len, len, "{hex}");
    }
    // movabs has 10 bytes.
    assert_eq!(x86_64_lengths::decode(u64::from_le_bytes([0x48, 0xb8, 1, 2, 3, 4, 5, 6])).len, 10);
}

/// Bytes to the return address, and 1 + bytes to the caller's frame pointer, if the function has no
/// frame where it is.
fn follow(hex: &str) -> Option<(u64, u64)> {
    let saved = x86_64::follow(&code(hex), BEFORE, &mut x86_64::WayOut::default())?;
    Some((saved.return_address, saved.fp))
}

#[test]
fn x86_64_code_tells_where_the_return_address_is() {
    let top = Some((0, 0));
    for (what, hex, expected) in [
        ("at a return", "5d | c3", top),
        ("a leaf", "| 8d 04 7f 83 c0 01 c3", top),
        ("past a conditional jump", "| 85 ff 74 05 8d 04 7f c3", top),
        ("before the frame is made", "| f3 0f 1e fa 55 48 89 e5", top),
        ("before it, with Go's check", "| 49 3b 66 10 76 20 55 48 89 e5", top),
        ("the frame pointer was pushed", "55 | 48 89 e5 48 83 ec 10", Some((8, 1))),
        ("pushed, with something between", "55 | 31 c0 48 89 e5", Some((8, 1))),
        ("after the frame was given back", "5d | 83 c0 01 c3", top),
        ("a call in tail position", "5d | e9 11 22 33 44", top),
        ("in the epilogue", "| 5b 41 5c 5d c3", Some((24, 17))),
        ("in a frame that `leave` gives back", "| 89 c8 c9 c3", None),
        ("a wrapper of a system call", "0f 05 | 48 3d 00 f0 ff ff 77 5b c3", top),
        (
            "a wrapper with room on the stack",
            "0f 05 | 48 3d 00 f0 ff ff 77 34 44 89 c7 48 89 44 24 08 e8 9f d5 f8 ff \
             48 8b 44 24 08 48 83 c4 28 c3",
            Some((40, 0)),
        ),
        ("a jump elsewhere", "| 31 c0 eb 10", None),
        ("a call that may not return, and the next function", "| e8 11 22 33 44 55 48 89 e5", None),
        ("a call that may not return, and an entry", "| e8 11 22 33 44 f3 0f 1e fa c3", None),
        ("room is made on the stack", "| 48 83 ec 28 c3", None),
        ("nothing that is known", "| 0f 0b", None),
    ] {
        assert_eq!(follow(hex), expected, "{what}");
    }
}

#[test]
fn code_that_never_returns_is_not_followed_out_of_the_copy() {
    assert_eq!(follow(&format!("| {}", "90 ".repeat(64))), None);
    let mut code = code("| c3");
    code[8] = u64::MAX;
    for at in 0..2 * CODE_BYTES {
        x86_64::follow(&code, at, &mut x86_64::WayOut::default());
        arm64::follow(&code, at & !3);
    }
}

#[test]
fn x86_64_frames_show_in_the_beginning_of_a_function() {
    for (hex, expected) in [
        ("55 48 89 e5", true),
        ("f3 0f 1e fa 55 48 89 e5", true), // across the first two words
        ("90 90 90 90 90 55 48 89 e5", true),
        ("55 48 89", false), // not there yet
        ("41 57 41 56 48 89 f5", false),
    ] {
        let prologue: Prologue = words(&parse(hex));
        assert_eq!(x86_64::makes_frame(&prologue), expected, "{hex}");
    }
}

#[test]
fn system_calls_are_seen_behind_the_program_counter() {
    assert!(x86_64::follows_syscall(&code("0f 05 |"), BEFORE));
    assert!(!x86_64::follows_syscall(&code("05 0f | 0f 05"), BEFORE));
}

#[test]
fn arm64_code_tells_whether_the_link_register_holds_the_return_address() {
    use arm64::Way::{Framed, Returns, Unknown};
    // As words, since that is how their manual writes them.
    for (what, instructions, expected) in [
        ("ret", &[0xd65f_03c0_u32][..], Returns),
        ("stp x29, x30, [sp, #-32]!", &[0xa9be_7bfd], Returns),
        ("paciasp", &[0xd503_233f], Returns),
        ("mov x29, sp", &[0x9100_03fd], Returns),
        ("mov w0, w1; ret", &[0x2a01_03e0, 0xd65f_03c0], Returns),
        ("ldp x29, x30, [sp], #32; ret", &[0xa8c2_7bfd, 0xd65f_03c0], Framed),
        ("ldr x30, [sp], #16; ret", &[0xf841_07fe, 0xd65f_03c0], Framed),
        ("bl", &[0x9400_0010], Framed),
        ("blr x1", &[0xd63f_0020], Framed),
        ("b", &[0x1400_0010], Unknown),
        ("br x16", &[0xd61f_0200], Unknown),
    ] {
        let bytes: Vec<u8> = instructions.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(arm64::follow(&words(&bytes), 0), expected, "{what}");
    }
}
