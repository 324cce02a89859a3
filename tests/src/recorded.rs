//! Stacks of real programs, recorded with what a walk needs: `tests/recorded/*.json`.
//!
//! `cargo xtask record-stacks` writes them, and a test of the agent's walks each one again. What the walk
//! must find was told by another unwinder, elfutils' `eu-stack`, at the same moment.
//!
//! A file has the registers of a stopped thread; of its stack those words that are addresses of code or of
//! the stack, for a walk needs no others, and the rest of it is nobody's business; its mappings; and of
//! each file that the stack leads through the descriptions of those functions. Machine: x86-64.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::workload::repository;

/// Changes with the meaning of a field.
pub const VERSION: u32 = 1;

/// A number that is written as people read addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hex(pub u64);

impl From<Hex> for String {
    fn from(hex: Hex) -> Self {
        format!("{:#x}", hex.0)
    }
}

impl TryFrom<String> for Hex {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.strip_prefix("0x").ok_or_else(|| format!("{text}: not hexadecimal"))?;
        u64::from_str_radix(digits, 16).map(Self).map_err(|error| format!("{text}: {error}"))
    }
}

/// One stack.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recorded {
    /// [`VERSION`] of the writer.
    pub version: u32,
    /// What ran.
    pub program: String,
    /// Where the thread was.
    pub registers: Registers,
    /// First address of each stack and the one behind its last: the one that the thread is on, and another
    /// one that it was interrupted on.
    pub stacks: Vec<(Hex, Hex)>,
    /// Words of the stacks that are addresses of code or of a stack, by their own address. Others read 0.
    pub words: Vec<(Hex, Hex)>,
    /// The files of the executable mappings that the stack leads through.
    pub files: Vec<MappedFile>,
    /// The frames by the other unwinder, innermost first.
    pub frames: Vec<KnownFrame>,
}

/// Registers of x86-64.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Registers {
    /// rip.
    pub pc: Hex,
    /// rsp.
    pub sp: Hex,
    /// rbp.
    pub fp: Hex,
    /// rbx.
    pub rbx: Hex,
}

/// A frame that the other unwinder found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KnownFrame {
    /// Where the function was, or will be returned to.
    pub pc: Hex,
    /// Its name, for people.
    pub name: String,
}

/// A mapped file, and the unwind information of some of its functions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MappedFile {
    /// Its path.
    pub path: String,
    /// Executable mappings.
    pub mappings: Vec<Mapping>,
    /// Executable segments.
    pub segments: Vec<Segment>,
    /// What functions have in common.
    pub commons: Vec<Common>,
}

/// An executable mapping.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Mapping {
    /// First address.
    pub start: Hex,
    /// The one behind the last.
    pub end: Hex,
    /// Offset in the file.
    pub offset: Hex,
}

/// An executable segment.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Segment {
    /// Offset in the file.
    pub offset: Hex,
    /// Bytes there.
    pub size: Hex,
    /// ELF virtual address.
    pub address: Hex,
}

/// A common information entry (CIE) of `.eh_frame`, with offsets in units of 1 and −8.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Common {
    /// Whether its functions return from signal handlers.
    pub is_signal: bool,
    /// The program, as hexadecimal digits.
    pub program: String,
    /// Functions that begin with it.
    pub functions: Vec<Function>,
}

/// A frame description entry (FDE).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Function {
    /// ELF virtual address.
    pub start: Hex,
    /// Bytes of code.
    pub len: Hex,
    /// The program, as hexadecimal digits.
    pub program: String,
}

impl Recorded {
    /// Where they are kept.
    pub fn directory() -> PathBuf {
        repository().join("tests/recorded")
    }

    /// All that are kept, by name.
    pub fn all() -> Result<Vec<(String, Self)>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(Self::directory())? {
            let path = entry?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path)?;
            let recorded: Self = serde_json::from_str(&text).with_context(|| name.clone())?;
            let version = recorded.version;
            ensure!(version == VERSION, "{name} has version {version}: record it again");
            all.push((name, recorded));
        }
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(all)
    }

    /// Writes it, with a line for each word, each frame and each function.
    pub fn write(&self, name: &str) -> Result<()> {
        fs::create_dir_all(Self::directory())?;
        let path = Self::directory().join(format!("{name}.json"));
        let mut text = String::new();
        lines(&serde_json::to_value(self)?, 0, &mut text);
        text.push('\n');
        fs::write(&path, text).with_context(|| path.display().to_string())
    }
}

/// A value with each of its innermost lists and objects on a line.
fn lines(value: &Value, indent: usize, out: &mut String) {
    let is_nested = |value: &Value| value.is_array() || value.is_object();
    let (brackets, items): (_, Vec<(String, &Value)>) = match value {
        Value::Array(items) if items.iter().any(is_nested) => {
            (['[', ']'], items.iter().map(|item| (String::new(), item)).collect())
        }
        Value::Object(fields) if fields.values().any(is_nested) => (
            ['{', '}'],
            fields.iter().map(|(key, field)| (format!("\"{key}\": "), field)).collect(),
        ),
        line => return out.push_str(&line.to_string()),
    };
    out.push(brackets[0]);
    for (index, (key, item)) in items.iter().enumerate() {
        out.push_str(if index > 0 { ",\n" } else { "\n" });
        out.push_str(&" ".repeat(indent + 1));
        out.push_str(key);
        lines(item, indent + 1, out);
    }
    out.push('\n');
    out.push_str(&" ".repeat(indent));
    out.push(brackets[1]);
}

/// Bytes as hexadecimal digits.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of hexadecimal digits.
pub fn from_hex(digits: &str) -> Result<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?)).collect()
}
