//! Code that is known by its instructions, where its description is missing or does not say all:
//!
//! - The return from a signal handler that no description covers, as in musl.
//! - `clone`: glibc describes nothing from the system call on, since the thread that it begins has another
//!   stack there. The caller of `clone` waits in it, though, and with `vfork` semantics for long.
//! - Where a context of `makecontext` ends: nothing calls this function, it is returned to at its first
//!   byte. The byte before it, by which a return address is looked up, belongs to it as well.
//!
//! The second and third are in C libraries only, and looked for in files with a function that begins
//! threads, other than at the entry point. So ordinary files cost a look at what is not described.

use std::ops::Range;

use memchr::memmem::Finder;
use profiler_common::native::rule::{Cfa, ReturnAddress, Rule};

use super::elf::Elf;
use super::functions::{Function, Outline};
use super::machine::Machine;
use super::shape;

/// Between two functions are no more bytes than this, if they are only to align the second.
const ALIGNMENT: u64 = 16;
/// Bytes that are searched at most, and at a time.
const SEARCHED: u64 = 64 << 20;
const BLOCK: u64 = 64 << 10;
/// Functions of a file that are looked at.
const LOOKS: usize = 16 << 10;
/// `clone` takes no more bytes than this; nor does what a context of `makecontext` ends with.
const CLONE: u64 = 256;
const CONTEXT_END: u64 = 64;

/// Code whose rule is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// First address.
    pub start: u64,
    /// Behind the last.
    pub end: u64,
    pub rule: Rule,
}

/// Finds such code, in the order of addresses. Functions come in that order; what overlaps with what is
/// found is cut off of them.
pub(super) fn find(elf: &Elf<'_>, functions: &mut Vec<Function>) -> Vec<Known> {
    let mut known = signal_returns(elf, functions);
    let begins_threads = |f: &Function| f.outline == Outline::Outermost && f.start != elf.entry;
    if functions.iter().any(begins_threads) {
        known.extend(clones(elf, functions));
        known.extend(context_ends(elf, functions));
    }
    known.sort_unstable_by_key(|known| known.start);
    known.dedup_by(|next, before| next.start < before.end);
    for known in &known {
        let after = functions.partition_point(|function| function.end <= known.start);
        if let Some(function) = functions.get_mut(after).filter(|f| f.start < known.end) {
            function.end = known.start.max(function.start);
        }
    }
    functions.retain(|function| function.start < function.end);
    known
}

/// Returns from signal handlers in code that no function describes.
fn signal_returns(elf: &Elf<'_>, functions: &[Function]) -> Vec<Known> {
    // mov $15,%rax or %eax, syscall; mov x8 or w8,#139, svc #0. The number of `rt_sigreturn`.
    let codes: [&[u8]; 2] = match elf.machine {
        Machine::X86_64 => [b"\x48\xc7\xc0\x0f\0\0\0\x0f\x05", b"\xb8\x0f\0\0\0\x0f\x05"],
        Machine::Arm64 => [b"\x68\x11\x80\xd2\x01\0\0\xd4", b"\x68\x11\x80\x52\x01\0\0\xd4"],
    };
    let finders = codes.map(Finder::new);
    let mut left = SEARCHED;
    let mut found = Vec::new();
    for gap in gaps(&elf.code(), functions) {
        if gap.end - gap.start < ALIGNMENT {
            continue;
        }
        let mut at = gap.start;
        while at < gap.end && left > 0 {
            let end = gap.end.min(at.saturating_add(BLOCK.min(left)));
            let bytes = elf.code_at(at..end);
            for (finder, code) in finders.iter().zip(codes) {
                // One in a block: no library has two.
                if let Some(offset) = finder.find(&bytes) {
                    let start = at + offset as u64;
                    found.push(Known {
                        start: gap.start.max(start - 1),
                        end: start + code.len() as u64,
                        rule: shape::signal_return(elf.machine),
                    });
                }
            }
            left -= end - at;
            // The next block begins within this one, for what lies across its end.
            at = if end < gap.end { end - ALIGNMENT } else { end };
        }
    }
    found
}

/// The ranges of code that no function describes.
fn gaps<'a>(
    code: &'a [Range<u64>],
    functions: &'a [Function],
) -> impl Iterator<Item = Range<u64>> + 'a {
    code.iter().flat_map(|code| {
        let first = functions.partition_point(|function| function.end <= code.start);
        let inside = functions.iter().skip(first).take_while(|f| f.start < code.end);
        let ends = inside.clone().map(|function| function.end);
        let starts = inside.map(|function| function.start);
        let starts = starts.chain([code.end]);
        let pairs = [code.start].into_iter().chain(ends).zip(starts);
        pairs.filter(|(end, start)| end < start).map(|(end, start)| end..start)
    })
}

/// What follows the system call of `clone`, up to where its thread goes on. The thread has been given
/// 0, and its stack begins there; the caller has its own stack, as before the call.
fn clones(elf: &Elf<'_>, functions: &[Function]) -> Vec<Known> {
    const SYSCALL: [u8; 2] = [0x0f, 0x05];
    const SVC: [u8; 4] = [0x01, 0, 0, 0xd4];
    let rule = match elf.machine {
        Machine::X86_64 => Rule::new(Cfa::Clone, 1),
        Machine::Arm64 => {
            Rule::new(Cfa::Clone, 0).with_return_address(ReturnAddress::LinkRegister, 0)
        }
    };
    let pairs = functions.iter().zip(functions.iter().skip(1));
    let pairs = pairs.filter(|(calls, begins)| {
        calls.outline == Outline::Plain
            && begins.outline == Outline::Outermost
            && begins.start - calls.start <= CLONE
    });
    let found = pairs.filter_map(|(calls, begins)| {
        // The system call ends x86-64's description, and is in the middle of arm64's.
        let (start, end) = match elf.machine {
            Machine::X86_64 => {
                let bytes = elf.code_at(calls.end..begins.start);
                (bytes.starts_with(&SYSCALL).then_some(calls.end)?, begins.start)
            }
            Machine::Arm64 => {
                let bytes = elf.code_at(calls.start..calls.end);
                let index = bytes.chunks_exact(4).rposition(|word| word == SVC)?;
                (calls.start + 4 * index as u64, calls.end)
            }
        };
        Some(Known { start, end, rule })
    });
    found.take(LOOKS).collect()
}

/// What contexts of `makecontext` end with.
fn context_ends(elf: &Elf<'_>, functions: &[Function]) -> Vec<Known> {
    let pairs = functions.iter().zip(functions.iter().skip(1));
    let apart = pairs.filter(|(before, function)| {
        function.outline == Outline::Plain
            && function.end - function.start <= CONTEXT_END
            && before.end < function.start
    });
    let ends = apart.take(LOOKS).filter(|(_, function)| {
        ends_context(elf.machine, &elf.code_at(function.start..function.end))
    });
    ends.map(|(_, f)| Known { start: f.start - 1, end: f.end, rule: Rule::END }).collect()
}

/// Whether a function sets its stack pointer, or the argument of the next `setcontext`, from a register
/// that `makecontext` prepared.
fn ends_context(machine: Machine, code: &[u8]) -> bool {
    match machine {
        // mov %rbx,%rsp
        Machine::X86_64 => {
            code.strip_prefix(b"\xf3\x0f\x1e\xfa").unwrap_or(code).starts_with(b"\x48\x89\xdc")
        }
        // mov x0,x19; cbnz x0
        Machine::Arm64 => {
            let is_hint = code.get(..4).is_some_and(|word| word.ends_with(b"\x03\xd5"));
            let code = if is_hint { code.get(4..).unwrap_or_default() } else { code };
            code.starts_with(b"\xe0\x03\x13\xaa") && code.get(7) == Some(&0xb5)
        }
    }
}
