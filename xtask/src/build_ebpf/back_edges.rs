//! A rule of verifiers before 6.0 that the compiler does not know: a loop may be closed by a jump, not by
//! an instruction that just goes on to the next. Which of the two it is depends on how LLVM places the
//! blocks of a function, so every object is checked as `check_cfg` of kernel/bpf/verifier.c does it.

use anyhow::{Result, bail};

use super::functions;

/// Bytes of an instruction.
const SIZE: usize = 8;

/// Fails when a function of the object has a loop that old kernels refuse.
pub fn check(object: &[u8]) -> Result<()> {
    functions::each(object, |name, code| {
        if let Some((from, to)) = refused_edge(code) {
            bail!(
                "kernels before 6.0 refuse {name}: its instruction {from} closes a loop by going on to {to}"
            );
        }
        Ok(())
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    No,
    Discovered,
    Explored,
}

/// The first edge, in the order of the kernel's search, that closes a loop without a jump.
fn refused_edge(code: &[u8]) -> Option<(usize, usize)> {
    let mut visits = vec![Visit::No; code.len() / SIZE];
    let mut path = vec![(0, successors(code, 0))];
    *visits.first_mut()? = Visit::Discovered;
    while let Some((at, edges)) = path.last_mut() {
        let at = *at;
        let Some((to, by_jump)) = edges.pop() else {
            *visits.get_mut(at)? = Visit::Explored;
            path.pop();
            continue;
        };
        match visits.get(to) {
            Some(Visit::No) => {
                *visits.get_mut(to)? = Visit::Discovered;
                path.push((to, successors(code, to)));
            }
            Some(Visit::Discovered) if !by_jump => return Some((at, to)),
            _ => {}
        }
    }
    None
}

/// Where an instruction leads, and whether by a jump; the first to be followed is last.
fn successors(code: &[u8], at: usize) -> Vec<(usize, bool)> {
    let instruction = code.get(at * SIZE..).and_then(|rest| rest.first_chunk::<SIZE>());
    let Some([opcode, _, low, high, ..]) = instruction else { return Vec::new() };
    let offset = isize::from(i16::from_le_bytes([*low, *high]));
    let target = (at + 1).saturating_add_signed(offset);
    match opcode {
        0x18 => vec![(at + 2, false)], // a constant of two instructions
        0x95 => Vec::new(),            // exit
        0x85 => vec![(at + 1, false)], // call
        0x05 => vec![(target, true)],  // always
        _ if matches!(opcode & 7, 5 | 6) => vec![(target, true), (at + 1, true)], // on a condition
        _ => vec![(at + 1, false)],
    }
}

#[cfg(test)]
mod tests {
    use super::refused_edge;

    const ADD: [u8; 8] = [0x07, 1, 0, 0, 1, 0, 0, 0];
    const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

    fn jump(opcode: u8, offset: i16) -> [u8; 8] {
        let [low, high] = offset.to_le_bytes();
        [opcode, 0, low, high, 0, 0, 0, 0]
    }

    #[test]
    fn a_loop_closed_by_a_jump_is_taken() {
        // 0: add, 1: if … goto 0, 2: exit
        assert_eq!(refused_edge(&[ADD, jump(0x15, -2), EXIT].concat()), None);
        // 0: add, 1: if … goto 3, 2: goto 0, 3: exit
        assert_eq!(refused_edge(&[ADD, jump(0x15, 1), jump(0x05, -3), EXIT].concat()), None);
    }

    #[test]
    fn a_loop_closed_by_going_on_is_refused() {
        // 0: goto 2, 1: add, 2: if … goto 1, 3: exit: from 1 to 2 without a jump
        let code = [jump(0x05, 1), ADD, jump(0x15, -2), EXIT].concat();
        assert_eq!(refused_edge(&code), Some((1, 2)));
    }
}
