//! `profiler-agent unwind-info`: what the agent makes of a binary's unwind information.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::{Serialize, Serializer};

use crate::runtime::native::{Limits, NoTable, Readable, Row, Table, load};
use crate::symbolize;
use crate::symbolize::debug_file::{self, DebugFile};

const EXAMPLES: &str = "\
Examples:
  profiler-agent unwind-info /bin/bash                   everything
  profiler-agent unwind-info /bin/bash --pc 0x31a40      the rule at one address
  profiler-agent unwind-info /bin/bash --format json | jq .unsupported

Addresses are those in the file, as `objdump -d` and `readelf` show them. cfa is the caller's stack
pointer after the return, ra the return address; [x] is the word at x.";

/// Show how the code of a binary is unwound
///
/// Prints the rows that the agent makes of the binary's .eh_frame or .debug_frame: for each range of
/// addresses, how the caller's registers are found.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct UnwindInfoArgs {
    /// An ELF file: a program or a library
    file: PathBuf,

    /// Only the row at this address, hexadecimal after 0x
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pc: Option<u64>,

    /// The file with its debug information, where it is apart; found by itself in /usr/lib/debug
    #[arg(long, value_name = "FILE")]
    debug_file: Option<PathBuf>,

    /// How to print it
    #[arg(long, value_enum, default_value_t = InfoFormat::Text)]
    format: InfoFormat,
}

/// `--format` of `unwind-info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum InfoFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Prints the table, or the row at one address.
///
/// # Errors
/// For the user: which file, and why it has no table.
pub fn run(args: &UnwindInfoArgs) -> anyhow::Result<()> {
    let file = open(&args.file)?;
    let debug = match &args.debug_file {
        Some(path) => Some(DebugFile { file: open(path)?, path: path.clone() }),
        None => found(&file, &args.file),
    };
    let table = load(&file, debug.as_ref().map(|debug| &*debug.file), &Limits::default())
        .map_err(|error| with_way_out(error, &args.file))?;
    let mut info = Info::new(&args.file, &table, args.pc);
    if table.report.debug_frame_apart {
        info.debug_file = debug.map(|debug| debug.path.display().to_string());
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let written = match args.format {
        InfoFormat::Text => info.write_text(&mut out),
        InfoFormat::Json => serde_json::to_writer_pretty(&mut out, &info)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out)),
    };
    match written.and_then(|()| out.flush()) {
        // `unwind-info … | head` closes the pipe early: nothing is wrong.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("standard output"),
    }
}

fn open(path: &Path) -> anyhow::Result<Arc<File>> {
    File::open(path).map(Arc::new).with_context(|| format!("cannot open {}", path.display()))
}

/// The debug file that a recording would use.
fn found(file: &Arc<File>, path: &Path) -> Option<DebugFile> {
    let path = std::fs::canonicalize(path).ok()?;
    debug_file::of_file(file, path.to_str()?, "", &symbolize::Config::default().debug_dirs)
}

/// What the user can do, or what happens to such code when it is profiled.
fn with_way_out(error: NoTable, path: &Path) -> anyhow::Error {
    let way_out = match error {
        NoTable::NoInformation | NoTable::NoRows => {
            "its stacks are followed by frame pointer; give the file with its debug information by \
             --debug-file, or build it without -fno-asynchronous-unwind-tables"
        }
        NoTable::NotLinked => "give the program or library that it was linked into",
        NoTable::NotElf => "give a program or a shared library",
        _ => "its stacks are followed by frame pointer",
    };
    anyhow::anyhow!("{} has no unwind table: {error}; {way_out}", path.display())
}

/// An address as people write it.
fn address(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|error| format!("{error}; give a number such as 0x31a40 or 203328"))
}

/// What is printed.
#[derive(Serialize)]
struct Info<'t> {
    file: String,
    machine: &'static str,
    source: &'static str,
    /// Where `.debug_frame` may be from.
    debug_file: Option<String>,
    eh_frame_bytes: u64,
    debug_frame_bytes: u64,
    functions: u64,
    functions_overlapping: u64,
    functions_outside: u64,
    rows_described: u64,
    /// Bytes of the table.
    table_bytes: u64,
    parts: usize,
    rules: u64,
    /// Rows that no rule can hold, by what of them.
    unsupported: serde_json::Map<String, serde_json::Value>,
    rows: Rows<'t>,
}

/// The rows, made as they are written: a large binary has millions.
struct Rows<'t> {
    table: &'t Table,
    pc: Option<u64>,
}

/// One row.
#[derive(Serialize)]
struct InfoRow {
    start: String,
    end: String,
    rule: Readable,
}

impl Rows<'_> {
    fn iter(&self) -> impl Iterator<Item = InfoRow> + '_ {
        let is_wanted = |row: &Row| self.pc.is_none_or(|pc| row.start <= pc && pc < row.end);
        self.table.rows().filter(is_wanted).map(|row| InfoRow {
            start: format!("{:#x}", row.start),
            end: format!("{:#x}", row.end),
            rule: Readable { rule: row.rule, machine: self.table.machine },
        })
    }
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'t> Info<'t> {
    fn new(file: &Path, table: &'t Table, pc: Option<u64>) -> Self {
        let report = &table.report;
        Self {
            file: file.display().to_string(),
            machine: table.machine.name(),
            source: table.source.name(),
            debug_file: None,
            eh_frame_bytes: report.eh_frame,
            debug_frame_bytes: report.debug_frame,
            functions: report.fdes,
            functions_overlapping: report.overlapping,
            functions_outside: report.outside,
            rows_described: report.rows,
            table_bytes: table.size(),
            parts: table.parts.len(),
            rules: report.rules,
            unsupported: report.causes().map(|(c, n)| (c.name().to_owned(), n.into())).collect(),
            rows: Rows { table, pc },
        }
    }

    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}: {}, unwound by {}", self.file, self.machine, self.source)?;
        if let Some(path) = &self.debug_file {
            writeln!(out, "{:<14}{path}", "debug file")?;
        }
        for (what, bytes) in
            [(".eh_frame", self.eh_frame_bytes), (".debug_frame", self.debug_frame_bytes)]
        {
            if bytes > 0 {
                writeln!(out, "{what:<14}{bytes} bytes")?;
            }
        }
        write!(out, "{:<14}{}", "functions", self.functions)?;
        for (count, what) in
            [(self.functions_overlapping, "overlap"), (self.functions_outside, "are no code")]
        {
            if count > 0 {
                write!(out, ", {count} {what}")?;
            }
        }
        writeln!(out, "\n{:<14}{} described", "rows", self.rows_described)?;
        let (bytes, rules, parts) = (self.table_bytes, self.rules, self.parts);
        let s = if parts == 1 { "" } else { "s" };
        writeln!(out, "{:<14}{bytes} bytes, {rules} rules, {parts} part{s}", "table")?;
        let causes: Vec<String> =
            self.unsupported.iter().map(|(cause, count)| format!("{count} {cause}")).collect();
        let causes = if causes.is_empty() { "none".to_owned() } else { causes.join(", ") };
        writeln!(out, "{:<14}{causes}\n", "unsupported")?;
        let mut is_empty = true;
        for row in self.rows.iter() {
            writeln!(out, "{:>12} {:>12}  {}", row.start, row.end, row.rule)?;
            is_empty = false;
        }
        if is_empty { writeln!(out, "no row: no function is described there") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// The flags as a command of their own.
    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: UnwindInfoArgs,
    }

    fn args(flags: &[&str]) -> Result<UnwindInfoArgs, clap::Error> {
        let flags = std::iter::once("unwind-info").chain(flags.iter().copied());
        Command::try_parse_from(flags).map(|command| command.args)
    }

    /// The row of this function, in a form.
    fn own_row(format: &str) -> String {
        let path = Path::new("/proc/self/exe");
        let table = load(&File::open(path).unwrap(), None, &Limits::default()).unwrap();
        let start = table.rows().find(|row| row.end - row.start > 1).unwrap().start;
        let info = Info::new(path, &table, Some(start + 1));
        let mut out = Vec::new();
        match format {
            "json" => serde_json::to_writer(&mut out, &info).unwrap(),
            _ => info.write_text(&mut out).unwrap(),
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_address_has_one_row() {
        let text = own_row("text");
        let rows = text.lines().filter(|line| line.trim_start().starts_with("0x")).count();
        assert_eq!(rows, 1, "{text}");
        let json: serde_json::Value = serde_json::from_str(&own_row("json")).unwrap();
        assert_eq!(json["rows"].as_array().unwrap().len(), 1);
        assert!(json["rows"][0]["rule"].is_string() && json["functions"].as_u64() > Some(100));
    }

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, expected) in
            [("0x31a40", Some(0x31a40)), ("0X1F", Some(31)), ("203328", Some(203_328))]
        {
            assert_eq!(args(&["/x", "--pc", text]).unwrap().pc, expected);
        }
        for text in ["", "0x", "31a40", "-1", "0x1ffffffffffffffff"] {
            assert!(args(&["/x", "--pc", text]).is_err(), "{text}");
        }
    }

    #[test]
    fn errors_name_the_file_and_the_way_out() {
        for (file, expected) in [
            ("/nonexistent", ["/nonexistent", "No such file"]),
            ("/proc/self/maps", ["/proc/self/maps", "give a program"]),
            ("/usr", ["/usr", "give a program"]),
        ] {
            let error = format!("{:#}", run(&args(&[file]).unwrap()).unwrap_err());
            for part in expected {
                assert!(error.contains(part), "{part:?} is not in {error:?}");
            }
        }
    }
}
