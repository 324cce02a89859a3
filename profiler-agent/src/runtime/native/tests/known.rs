//! Code that is known by its instructions.

use super::*;

/// Where the code is that a test looks at.
const AT: u64 = 0x4000;

/// The rules at some offsets from [`AT`], of a file with this code there.
fn rules(machine: Machine, frames: Frames, code: &[u8], offsets: &[u64]) -> Vec<String> {
    let mut image = Image::new(frames.bytes);
    if machine == Machine::Arm64 {
        image.machine = object::elf::EM_AARCH64;
    }
    image.instructions = vec![(AT, code.to_vec())];
    let table = loaded(&image).unwrap();
    offsets.iter().map(|offset| at(&table, AT + offset - HERE)).collect()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Offsets in a test are from here, so that they may be before the code.
const HERE: u64 = 0x20;

#[test]
fn a_return_from_a_signal_handler() {
    let x86 =
        [(&b"\x48\xc7\xc0\x0f\0\0\0\x0f\x05"[..], 9), (&b"\x90\x90\xb8\x0f\0\0\0\x0f\x05"[..], 9)];
    for (code, end) in x86 {
        let start = end - if code[0] == 0x90 { 7 } else { 9 };
        let at = [start - 2, start - 1, end - 1, end].map(|at| (HERE as i64 + at) as u64);
        // Of files with descriptions of other code, and without any.
        for frames in [Frames::x86().function(CODE, 16, &[]), Frames::x86()] {
            let rules = rules(Machine::X86_64, frames, code, &at);
            let known = "registers in the signal frame at rsp";
            assert_eq!(rules, ["no rule", known, known, "no rule"]);
        }
        let described = Frames::x86().function(CODE + AT - 16, 64, &[]);
        assert_eq!(rules(Machine::X86_64, described, code, &[HERE]), ["cfa=rsp+8 ra=[cfa-8]"]);
    }
    let code = words(&[0xd280_1168, 0xd400_0001]);
    let known = "registers in the signal frame at sp+128";
    let found = rules(Machine::Arm64, Frames::arm(), &code, &[HERE - 1, HERE, HERE + 7, HERE + 8]);
    assert_eq!(found, [known, known, known, "no rule"]);
}

#[test]
fn what_clone_does_behind_its_system_call() {
    let undefined = [dw::DW_CFA_undefined.0, 16];
    let frames = |program: &[u8]| {
        Frames::x86().function(CODE + AT, 5, &[]).function(CODE + AT + 12, 8, program)
    };
    let code = b"\xb8\x38\0\0\0\x0f\x05\x48\x85\xc0\x74\x01\xc3";
    let at = [HERE + 4, HERE + 5, HERE + 11, HERE + 12];
    let plain = "cfa=rsp+8 ra=[cfa-8]";
    let clone = "end of the stack where 0 was returned, else cfa=rsp+8 ra=[cfa-8]";
    let found = rules(Machine::X86_64, frames(&undefined), code, &at);
    assert_eq!(found, [plain, clone, clone, "end of the stack"]);
    // What follows is an ordinary function, or there is no system call.
    let found = rules(Machine::X86_64, frames(&[]), code, &at);
    assert_eq!(found, [plain, "no rule", "no rule", plain]);
    let found = rules(Machine::X86_64, frames(&undefined), &[0x90; 13], &at);
    assert_eq!(found, [plain, "no rule", "no rule", "end of the stack"]);

    let undefined = [dw::DW_CFA_undefined.0, 30];
    let frames = Frames::arm().function(CODE + AT, 16, &[]).function(CODE + AT + 16, 8, &undefined);
    let code = words(&[0xd280_1b88, 0xd400_0001, 0xf100_001f, 0xd65f_03c0]);
    let at = [HERE + 3, HERE + 4, HERE + 15, HERE + 16];
    let clone = "end of the stack where 0 was returned, else cfa=sp ra=x30";
    let found = rules(Machine::Arm64, frames, &code, &at);
    assert_eq!(found, ["cfa=sp ra=x30", clone, clone, "end of the stack"]);
}

#[test]
fn what_a_context_ends_with() {
    let x86: [&[u8]; 3] = [b"\x48\x89\xdc\x48", b"\xf3\x0f\x1e\xfa\x48\x89\xdc", b"\x48\x89\xdd"];
    let arm = [
        words(&[0xd503_201f, 0xaa13_03e0, 0xb5ff_f9c0]),
        words(&[0xaa13_03e0, 0xb500_0080]),
        words(&[0xaa13_03e0, 0xb400_0080]),
    ];
    let arm = arm.iter().map(|code| (Machine::Arm64, code.as_slice()));
    for (index, (machine, code)) in
        x86.into_iter().map(|code| (Machine::X86_64, code)).chain(arm).enumerate()
    {
        let (frames, ra) = match machine {
            Machine::X86_64 => (Frames::x86(), 16),
            Machine::Arm64 => (Frames::arm(), 30),
        };
        // A library that begins threads.
        let frames = frames
            .function(CODE + 0x100, 16, &[dw::DW_CFA_undefined.0, ra])
            .function(CODE + AT - 16, 8, &[])
            .function(CODE + AT, 16, &[]);
        let at = [HERE - 2, HERE - 1, HERE, HERE + 15, HERE + 16];
        let found = rules(machine, frames, code, &at);
        let (end, none) = ("end of the stack", "no rule");
        if index % 3 < 2 {
            assert_eq!(found, [none, end, end, end, none], "{code:x?}");
        } else {
            assert_eq!((found[0].as_str(), found[1].as_str()), (none, none), "{code:x?}");
            assert_ne!(found[2], end);
        }
    }
}
