//! The stubs through which a program calls functions of other files (the procedure linkage table).
//!
//! No symbol stands for a stub. Its jump goes through a word of the global offset table, and a
//! relocation says whose address the dynamic linker writes there: the stub that jumps to `read` is
//! `read@plt`, as perf, gdb and objdump write it.

use std::collections::BTreeMap;
use std::ops::ControlFlow::{Break, Continue};

use object::{LittleEndian, elf, pod};

use super::elf::{Elf, ElfError, Section};
use super::symbol_table::MAX_SYMBOL;

/// What is put behind the name of the function that a stub jumps to.
pub(super) const SUFFIX: &str = "@plt";

/// Where linkers put stubs: the table itself, the part of it that is called where each target of a jump
/// is marked (`-z ibtplt`), and stubs of functions whose address is taken too.
const STUBS: [&str; 3] = [".plt", ".plt.sec", ".plt.got"];
/// Where the relocations of their words are.
const RELOCATIONS: [&str; 2] = [".rela.plt", ".rela.dyn"];
/// Bytes of one table of relocations that are read at most: 2.8 million.
const MAX_RELOCATIONS: u64 = 64 << 20;
/// No stub is longer, bytes.
const LONGEST: usize = 24;

type Relocation = elf::Rela64<LittleEndian>;
type Symbol = elf::Sym64<LittleEndian>;

/// Names those of the wanted addresses (ELF virtual addresses) that have no symbol and lie in a stub.
/// Returns whether relocations were left unread that could be theirs.
pub(super) fn fill(
    elf: &Elf,
    wanted: &[u64],
    symbols: &mut [Option<Vec<u8>>],
) -> Result<bool, ElfError> {
    let Some(machine) = Machine::of(elf) else { return Ok(false) };
    // Which of the addresses wait for the name of which word.
    let mut waiting = BTreeMap::<u64, Vec<usize>>::new();
    for section in STUBS.iter().filter_map(|name| elf.section(name)) {
        let nameless = wanted.iter().zip(symbols.iter()).enumerate();
        for (index, (address, _)) in nameless.filter(|(_, (_, symbol))| symbol.is_none()) {
            if let Some(word) = machine.word_of(elf, section, *address)? {
                waiting.entry(word).or_default().push(index);
            }
        }
    }
    let mut is_cut = false;
    for table in RELOCATIONS.iter().filter_map(|name| elf.section(name)) {
        if waiting.is_empty() {
            break;
        }
        is_cut |= elf.entries::<Relocation>(table, MAX_RELOCATIONS, |relocation| {
            let word = relocation.r_offset.get(LittleEndian);
            if waiting.contains_key(&word) && machine.is_of_function(relocation) {
                let name = target(elf, table, relocation);
                for index in waiting.remove(&word).unwrap_or_default() {
                    if let Some(symbol) = symbols.get_mut(index) {
                        symbol.clone_from(&name);
                    }
                }
            }
            if waiting.is_empty() { Break(()) } else { Continue(()) }
        })?;
    }
    Ok(is_cut && !waiting.is_empty())
}

/// The name of the stub for the function that a relocation is about.
fn target(elf: &Elf, table: &Section, relocation: &Relocation) -> Option<Vec<u8>> {
    let symbols = elf.section_at(table.link as usize)?;
    let strings = elf.section_at(symbols.link as usize)?;
    let index = u64::from(relocation.r_sym(LittleEndian, false));
    let mut symbol = [0; size_of::<Symbol>()];
    let is_there = elf.read_at(symbols, index * symbol.len() as u64, &mut symbol).ok()?;
    let (symbol, _) = pod::from_bytes::<Symbol>(symbol.get(..).filter(|_| is_there)?).ok()?;
    let mut name = elf.string(strings, symbol.st_name.get(LittleEndian).into(), MAX_SYMBOL)?;
    if name.is_empty() {
        return None;
    }
    name.extend(SUFFIX.bytes());
    Some(name)
}

/// How a processor's stubs look.
#[derive(Clone, Copy)]
enum Machine {
    X86_64,
    Arm64,
}

/// A stub's code: from its first byte on.
#[derive(Debug, PartialEq, Eq)]
struct Stub {
    /// Address of the word that it jumps through.
    word: u64,
    /// Bytes that may be executed.
    len: u64,
}

impl Machine {
    fn of(elf: &Elf) -> Option<Self> {
        match elf.machine {
            elf::EM_X86_64 if elf.is_64 => Some(Self::X86_64),
            elf::EM_AARCH64 if elf.is_64 => Some(Self::Arm64),
            _ => None,
        }
    }

    /// Whether a relocation writes the address of a function of another file.
    fn is_of_function(self, relocation: &Relocation) -> bool {
        let kind = relocation.r_type(LittleEndian, false);
        match self {
            Self::X86_64 => matches!(kind, elf::R_X86_64_JUMP_SLOT | elf::R_X86_64_GLOB_DAT),
            Self::Arm64 => matches!(kind, elf::R_AARCH64_JUMP_SLOT | elf::R_AARCH64_GLOB_DAT),
        }
    }

    /// Each stub begins at a multiple of this many bytes.
    fn alignment(self) -> u64 {
        match self {
            Self::X86_64 => 8,
            Self::Arm64 => 4,
        }
    }

    /// Address of the word that the stub around an address jumps through, if it is one. How long the
    /// stubs of a section are is nowhere said for certain: the nearest beginning of one counts.
    fn word_of(self, elf: &Elf, section: &Section, address: u64) -> Result<Option<u64>, ElfError> {
        if !section.contains(address) {
            return Ok(None);
        }
        let at = address - section.address;
        let nearest = at - at % self.alignment();
        for back in (0..LONGEST as u64).step_by(self.alignment() as usize) {
            let Some(start) = nearest.checked_sub(back) else { break };
            let len = usize::try_from(section.size - start).unwrap_or(LONGEST).min(LONGEST);
            let mut code = [0; LONGEST];
            let Some(code) = code.get_mut(..len) else { break };
            if !elf.read_at(section, start, code)? {
                break;
            }
            if let Some(stub) = self.stub(code, section.address.wrapping_add(start)) {
                return Ok((at - start < stub.len).then_some(stub.word));
            }
        }
        Ok(None)
    }

    fn stub(self, code: &[u8], address: u64) -> Option<Stub> {
        match self {
            Self::X86_64 => x86_64(code, address),
            Self::Arm64 => arm64(code, address),
        }
    }
}

/// `[endbr64] [bnd] jmp *word(%rip)`, and what binds the function at its first call, if it is there.
fn x86_64(code: &[u8], address: u64) -> Option<Stub> {
    const LEN: u64 = 16;
    let jump = code.strip_prefix(&[0xf3, 0x0f, 0x1e, 0xfa]).unwrap_or(code);
    let jump = jump.strip_prefix(&[0xf2]).unwrap_or(jump);
    let (displacement, rest) = jump.strip_prefix(&[0xff, 0x25])?.split_first_chunk()?;
    let next = address.wrapping_add((code.len() - rest.len()) as u64);
    let word = next.wrapping_add_signed(i32::from_le_bytes(*displacement).into());
    Some(Stub { word, len: LEN })
}

/// `[bti c]; adrp x16, page; ldr x17, [x16, #in page]; add x16, …; [autia1716]; br x17`.
fn arm64(code: &[u8], address: u64) -> Option<Stub> {
    const BTI_C: u32 = 0xd503_245f;
    const BR_X17: u32 = 0xd61f_0220;
    let instructions = || code.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
    let skipped = u64::from(instructions().next() == Some(BTI_C));
    let mut rest = instructions().skip(skipped as usize);

    let adrp = rest.next().filter(|code| code & 0x9f00_001f == 0x9000_0010)?;
    let ldr = rest.next().filter(|code| code & 0xffc0_03ff == 0xf940_0211)?;
    // 21 bits with a sign: the upper 19 from bit 5 on, the lower two from bit 29 on.
    let pages = ((adrp >> 3) & 0x1f_fffc) | ((adrp >> 29) & 3);
    let pages = i64::from((pages << 11) as i32 >> 11);
    let page = address.wrapping_add(4 * skipped) & !0xfff;
    let in_page = u64::from((ldr >> 10) & 0xfff) * 8;
    let jump = instructions().position(|code| code == BR_X17)?;
    Some(Stub {
        word: page.wrapping_add_signed(pages << 12).wrapping_add(in_page),
        len: 4 * (jump as u64 + 1),
    })
}

#[cfg(test)]
mod tests;
