//! A rule of arm64 kernels before 6.0 that the compiler does not know: a program that makes tail calls may
//! not call functions (`check_max_stack_depth` of kernel/bpf/verifier.c). LLVM calls `memset` and `memcpy`
//! where it finds that shorter, so every object is checked.

use anyhow::{Result, bail};

use super::functions;

/// `BPF_JMP | BPF_CALL`.
const CALL: u8 = 0x85;
/// In the source register of a call: of a function in the object, not of a helper.
const PSEUDO_CALL: u8 = 1;
/// The helper `bpf_tail_call`.
const TAIL_CALL: i32 = 12;

/// Fails when a function of the object makes tail calls and calls functions.
pub fn check(object: &[u8]) -> Result<()> {
    functions::each(object, |name, code| {
        if does_both(code) {
            bail!(
                "arm64 kernels before 6.0 refuse {name}: it makes tail calls and calls functions, of which \
                 `memset` and `memcpy` are LLVM's own idea"
            );
        }
        Ok(())
    })
}

fn does_both(code: &[u8]) -> bool {
    let (instructions, _) = code.as_chunks::<8>();
    let calls = instructions.iter().filter(|[opcode, ..]| *opcode == CALL);
    let (mut functions, mut tails) = (false, false);
    for [_, registers, _, _, number @ ..] in calls {
        functions |= registers >> 4 == PSEUDO_CALL;
        tails |= registers >> 4 == 0 && i32::from_le_bytes(*number) == TAIL_CALL;
    }
    functions && tails
}

#[cfg(test)]
mod tests {
    use super::does_both;

    const MEMSET: [u8; 8] = [0x85, 0x10, 0, 0, 0xff, 0xff, 0xff, 0xff];
    const TAIL_CALL: [u8; 8] = [0x85, 0, 0, 0, 12, 0, 0, 0];
    const CLOCK: [u8; 8] = [0x85, 0, 0, 0, 5, 0, 0, 0];

    #[test]
    fn either_is_taken_and_both_are_refused() {
        assert!(!does_both(&[MEMSET, CLOCK].concat()));
        assert!(!does_both(&[TAIL_CALL, CLOCK].concat()));
        assert!(does_both(&[MEMSET, CLOCK, TAIL_CALL].concat()));
    }
}
