//! The kernel's type information (BTF): a small reader for the few questions that the loader has.
//!
//! aya parses BTF too, but keeps structures and enumerations to itself. The format is that of
//! Documentation/bpf/btf.rst: a header, type records of varying length, and their names. Every access
//! is bounded: a file that contradicts itself answers `None`.

use std::io;

/// Where a kernel with `CONFIG_DEBUG_INFO_BTF` shows its types.
pub const PATH: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
/// Length of a type record before what its kind appends.
const TYPE_LEN: usize = 12;
/// How deep anonymous members are searched.
const MAX_NESTING: u32 = 8;

/// Kinds of type records (`BTF_KIND_*` of include/uapi/linux/btf.h).
mod kind {
    pub const INT: u32 = 1;
    pub const PTR: u32 = 2;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const TYPEDEF: u32 = 8;
    pub const FUNC: u32 = 12;
    pub const FUNC_PROTO: u32 = 13;
    pub const VAR: u32 = 14;
    pub const DATASEC: u32 = 15;
    pub const DECL_TAG: u32 = 17;
    pub const ENUM64: u32 = 19;
    /// The last one that this reader can step over.
    pub const LAST: u32 = ENUM64;
}

/// The types of a kernel.
pub struct Btf {
    data: Vec<u8>,
    /// Where each type record begins; type id 1 is the first.
    types: Vec<usize>,
    /// Where the names begin.
    names: usize,
}

/// One type record.
#[derive(Clone, Copy)]
struct Type {
    at: usize,
    name: u32,
    kind: u32,
    /// How many members, values or parameters follow.
    len: usize,
    /// Of a structure: offsets of members hold a bit-field's size in their upper byte.
    packed_offsets: bool,
    /// Size in bytes, or the id of another type, by kind.
    size_or_type: u32,
}

impl Btf {
    /// The running kernel's types; `None` where it has none.
    pub fn of_kernel() -> io::Result<Option<Self>> {
        match std::fs::read(PATH) {
            Ok(data) => Ok(Self::parse(data)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Finds the type records. A kind that is newer than this reader ends the search: what lies before
    /// it is still there.
    pub fn parse(data: Vec<u8>) -> Option<Self> {
        if u16_at(&data, 0)? != MAGIC {
            return None;
        }
        let header = u32_at(&data, 4)? as usize;
        let begin = header.checked_add(u32_at(&data, 8)? as usize)?;
        let end = begin.checked_add(u32_at(&data, 12)? as usize)?;
        let names = header.checked_add(u32_at(&data, 16)? as usize)?;
        let mut btf = Self { data, types: Vec::new(), names };
        let mut at = begin;
        while at < end.min(btf.data.len()) {
            let record = btf.record(at)?;
            if record.kind == 0 || record.kind > kind::LAST {
                break;
            }
            btf.types.push(at);
            at = at.checked_add(TYPE_LEN)?.checked_add(record.appended())?;
        }
        Some(btf)
    }

    /// A structure or union.
    pub fn structure(&self, name: &str) -> Option<Structure<'_>> {
        let found = self.find(&[kind::STRUCT, kind::UNION], name)?;
        Some(Structure { btf: self, found })
    }

    /// Whether the kernel has a function that BPF may be attached to.
    pub fn has_function(&self, name: &str) -> bool {
        self.find(&[kind::FUNC], name).is_some()
    }

    /// Whether an enumeration of this name has a value of that name.
    pub fn has_enumerator(&self, enumeration: &str, value: &str) -> bool {
        let Some(found) = self.find(&[kind::ENUM], enumeration) else { return false };
        (0..found.len).any(|i| {
            let name = u32_at(&self.data, found.at + TYPE_LEN + 8 * i);
            name.is_some_and(|name| self.is_named(name, value))
        })
    }

    /// How many arguments a BTF tracepoint hands to its programs.
    pub fn tracepoint_arguments(&self, tracepoint: &str) -> Option<usize> {
        let typedef = self.find(&[kind::TYPEDEF], &format!("btf_trace_{tracepoint}"))?;
        let pointer = self.by_id(typedef.size_or_type).filter(|t| t.kind == kind::PTR)?;
        let function = self.by_id(pointer.size_or_type).filter(|t| t.kind == kind::FUNC_PROTO)?;
        // The first parameter is the tracepoint's own data, which programs do not see.
        function.len.checked_sub(1)
    }

    fn member_bits(&self, structure: Type, member: &str, nesting: u32) -> Option<u32> {
        (0..structure.len).find_map(|i| {
            let at = structure.at + TYPE_LEN + 12 * i;
            let name = u32_at(&self.data, at)?;
            let raw = u32_at(&self.data, at + 8)?;
            let bits = if structure.packed_offsets { raw & 0x00ff_ffff } else { raw };
            if self.is_named(name, member) {
                return Some(bits);
            }
            if name != 0 || nesting == 0 {
                return None;
            }
            let inner = self.by_id(u32_at(&self.data, at + 4)?)?;
            if !matches!(inner.kind, kind::STRUCT | kind::UNION) {
                return None;
            }
            bits.checked_add(self.member_bits(inner, member, nesting - 1)?)
        })
    }

    fn find(&self, kinds: &[u32], name: &str) -> Option<Type> {
        self.types
            .iter()
            .filter_map(|at| self.record(*at))
            .find(|t| kinds.contains(&t.kind) && self.is_named(t.name, name))
    }

    fn by_id(&self, id: u32) -> Option<Type> {
        self.record(*self.types.get(id.checked_sub(1)? as usize)?)
    }

    fn record(&self, at: usize) -> Option<Type> {
        let info = u32_at(&self.data, at + 4)?;
        Some(Type {
            at,
            name: u32_at(&self.data, at)?,
            kind: (info >> 24) & 0x1f,
            len: (info & 0xffff) as usize,
            packed_offsets: info >> 31 != 0,
            size_or_type: u32_at(&self.data, at + 8)?,
        })
    }

    fn is_named(&self, name: u32, expected: &str) -> bool {
        let bytes = self.names.checked_add(name as usize).and_then(|at| self.data.get(at..));
        bytes
            .and_then(|b| b.strip_prefix(expected.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&0))
    }
}

/// A structure or union of the kernel.
#[derive(Clone, Copy)]
pub struct Structure<'a> {
    btf: &'a Btf,
    found: Type,
}

impl Structure<'_> {
    /// Its size in bytes.
    pub fn size(&self) -> u32 {
        self.found.size_or_type
    }

    /// Offset in bytes of a member; anonymous structures within it are searched too.
    pub fn offset_of(&self, member: &str) -> Option<u32> {
        Some(self.btf.member_bits(self.found, member, MAX_NESTING)? / 8)
    }
}

impl Type {
    /// Length of what follows the record.
    fn appended(&self) -> usize {
        match self.kind {
            kind::INT | kind::VAR | kind::DECL_TAG => 4,
            kind::ARRAY => 12,
            kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * self.len,
            kind::ENUM | kind::FUNC_PROTO => 8 * self.len,
            _ => 0,
        }
    }
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*data.get(at..)?.first_chunk()?))
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*data.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds BTF from type records given as words and names given as text.
    fn build(types: &[&[u32]], names: &str) -> Vec<u8> {
        let words: Vec<u8> =
            types.iter().flat_map(|t| t.iter()).flat_map(|w| w.to_ne_bytes()).collect();
        let mut data = MAGIC.to_ne_bytes().to_vec();
        data.extend([1, 0]);
        for word in [24, 0, words.len(), words.len(), names.len()] {
            data.extend((word as u32).to_ne_bytes());
        }
        data.extend(words);
        data.extend(names.as_bytes());
        data
    }

    fn info(kind: u32, len: u32) -> u32 {
        kind << 24 | len
    }

    /// Names and, by hand, where each begins.
    const NAMES: &str = "\0task\0pid\0tgid\0btf_trace_x\0fids\0one\0";
    const TASK: u32 = 1;
    const PID: u32 = 6;
    const TGID: u32 = 10;
    const TRACE_X: u32 = 15;
    const FIDS: u32 = 27;
    const ONE: u32 = 32;

    fn sample() -> Vec<u8> {
        build(
            &[
                &[0, info(kind::INT, 0), 4, 32],
                &[0, info(kind::STRUCT, 1), 4, TGID, 1, 32],
                &[TASK, info(kind::STRUCT, 2) | 1 << 31, 16, PID, 1, 4 << 24 | 64, 0, 2, 96],
                &[0, info(kind::FUNC_PROTO, 4), 0, 0, 1, 0, 1, 0, 1, 0, 1],
                &[0, info(kind::PTR, 0), 4],
                &[TRACE_X, info(kind::TYPEDEF, 0), 5],
                &[FIDS, info(kind::ENUM, 1), 4, ONE, 1],
                &[PID, info(kind::FUNC, 0), 4],
            ],
            NAMES,
        )
    }

    #[test]
    fn answers_what_the_loader_asks() {
        let btf = Btf::parse(sample()).unwrap();
        let task = btf.structure("task").unwrap();
        assert_eq!(task.size(), 16);
        assert_eq!(task.offset_of("pid"), Some(8));
        assert_eq!(task.offset_of("tgid"), Some(16), "in an anonymous structure");
        assert_eq!(task.offset_of("comm"), None);
        assert!(btf.structure("tas").is_none(), "a prefix is not the name");
        assert_eq!(btf.tracepoint_arguments("x"), Some(3));
        assert!(btf.has_enumerator("fids", "one") && !btf.has_enumerator("fids", "two"));
        assert!(btf.has_function("pid") && !btf.has_function("tgid"));
    }

    #[test]
    fn damaged_input_is_never_followed_out_of_bounds() {
        let whole = sample();
        for cut in 0..whole.len() {
            if let Some(btf) = Btf::parse(whole[..cut].to_vec()) {
                btf.structure("task").and_then(|t| t.offset_of("tgid"));
                btf.tracepoint_arguments("x");
            }
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] = 0xff;
            if let Some(btf) = Btf::parse(bytes) {
                btf.structure("task").and_then(|t| t.offset_of("tgid"));
                btf.tracepoint_arguments("x");
                btf.has_enumerator("fids", "two");
            }
        }
    }

    #[test]
    fn a_structure_that_contains_itself_ends() {
        let cycle: &[u32] = &[TASK, info(kind::STRUCT, 1), 4, 0, 1, 0];
        let btf = Btf::parse(build(&[cycle], NAMES)).unwrap();
        assert_eq!(btf.structure("task").unwrap().offset_of("pid"), None);
    }
}
