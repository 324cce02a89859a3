//! `doctor --pid`: of each executable mapping of a process, by what its code is unwound, and what the
//! table for that costs.

use std::collections::HashSet;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use serde::Serialize;

use super::DoctorFormat;
use crate::model::frame::{Binary, Segment};
use crate::model::space::{Code, Mapping, Space};
use crate::pipeline::table_limits;
use crate::process::{self, Processes};
use crate::runtime::native::{Limits, Source, Table, load};
use crate::symbolize::debug_file::{self, DebugFile};
use crate::symbolize::{self, fence};

/// Memory for unwinding that a recording has by default, in bytes.
const BUDGET: u64 = 64 << 20;

/// Prints how the process is unwound.
///
/// # Errors
/// For the user: there is no such process, or it cannot be looked at.
pub fn run(pid: u32, format: DoctorFormat) -> anyhow::Result<()> {
    let report = report(pid)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let written = match format {
        DoctorFormat::Text => report.write_text(&mut out),
        DoctorFormat::Json => serde_json::to_writer_pretty(&mut out, &report)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out)),
    };
    written.and_then(|()| out.flush()).context("standard output")
}

fn report(pid: u32) -> anyhow::Result<Report> {
    let space = match Processes::new(process::Config::default()).look(pid) {
        Ok(space) => space,
        Err(error) => bail!("{}", cause(pid, &error)),
    };
    if space.is_empty() {
        bail!(
            "process {pid} has no memory that it could execute: it is a kernel thread, or has just ended"
        );
    }
    Ok(Report::new(pid, &space))
}

fn cause(pid: u32, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            format!("--pid {pid}: there is no such process; `ps -e` lists those that there are")
        }
        io::ErrorKind::PermissionDenied => format!(
            "--pid {pid}: its mappings cannot be read: {error}; run as root, or with CAP_SYS_PTRACE"
        ),
        _ if error.raw_os_error() == Some(libc::ESRCH) => {
            format!("--pid {pid}: the process ended while it was looked at")
        }
        _ => format!("--pid {pid}: its mappings cannot be read: {error}"),
    }
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    pid: u32,
    mappings: Vec<Line>,
    /// Of all tables, each counted once.
    rows: u64,
    table_bytes: u64,
    milliseconds: f64,
    /// Bytes of all mappings.
    code_bytes: u64,
    /// Those that have rows.
    covered_bytes: u64,
}

/// One mapping.
#[derive(Debug, Serialize)]
struct Line {
    start: String,
    end: String,
    /// The path, as the process sees it.
    file: String,
    /// The section, or what is done without one.
    unwound_by: &'static str,
    /// The file that `.debug_frame` is from, if it is not the mapped one.
    debug_file: Option<String>,
    code_bytes: u64,
    covered_bytes: u64,
    /// What its table costs; `None` where another mapping above has the same.
    cost: Option<Cost>,
    /// Why there are no rows.
    problem: Option<String>,
}

/// What a table costs.
#[derive(Clone, Copy, Debug, Serialize)]
struct Cost {
    rows: u64,
    table_bytes: u64,
    /// To read the file, and to make the table.
    milliseconds: f64,
}

/// The table of a binary.
struct Made {
    binary: Arc<Binary>,
    table: Result<(Table, Option<DebugFile>), String>,
    milliseconds: f64,
}

impl Report {
    fn new(pid: u32, space: &Space) -> Self {
        let (mut made, mut told): (Vec<Made>, _) = (Vec::new(), HashSet::new());
        let mut report = Self {
            pid,
            mappings: Vec::new(),
            rows: 0,
            table_bytes: 0,
            milliseconds: 0.0,
            code_bytes: 0,
            covered_bytes: 0,
        };
        for mapping in space.iter() {
            let line = match &mapping.code {
                Code::Generated => Line::bare(mapping, "[generated code]", None),
                Code::Binary(binary) => {
                    let known = made.iter().position(|made| made.binary.id == binary.id);
                    let at = known.unwrap_or_else(|| {
                        made.push(Made::of(binary));
                        made.len() - 1
                    });
                    let is_new = told.insert(binary.id);
                    match made.get(at) {
                        Some(made) => made.line(mapping, is_new),
                        None => continue,
                    }
                }
            };
            report.code_bytes += line.code_bytes;
            report.covered_bytes += line.covered_bytes;
            if let Some(cost) = line.cost {
                report.rows += cost.rows;
                report.table_bytes += cost.table_bytes;
                report.milliseconds += cost.milliseconds;
            }
            report.mappings.push(line);
        }
        report
    }

    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "{:>16} {:>7}  {:<26} {:>8} {:>9} {:>8}  file",
            "address", "covered", "unwound by", "rows", "table", "ms"
        )?;
        for line in &self.mappings {
            let (rows, bytes, ms) = match line.cost {
                Some(cost) => (
                    cost.rows.to_string(),
                    cost.table_bytes.to_string(),
                    format!("{:.1}", cost.milliseconds),
                ),
                None => ("-".to_owned(), "-".to_owned(), "-".to_owned()),
            };
            let covered = percent(line.covered_bytes, line.code_bytes);
            let (start, by, file) = (&line.start, line.unwound_by, &line.file);
            writeln!(
                out,
                "{start:>16} {covered:>7}  {by:<26} {rows:>8} {bytes:>9} {ms:>8}  {file}"
            )?;
            if let Some(path) = &line.debug_file {
                writeln!(out, "{:>26}.debug_frame is from {path}", "")?;
            }
            if let Some(problem) = &line.problem {
                writeln!(out, "{:>26}{problem}", "")?;
            }
        }
        writeln!(
            out,
            "\n{} of {} bytes of code have rows; {} rows in tables of {} bytes, made in {:.1} ms",
            percent(self.covered_bytes, self.code_bytes),
            self.code_bytes,
            self.rows,
            self.table_bytes,
            self.milliseconds
        )
    }
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", part as f64 / whole.max(1) as f64 * 100.0)
}

impl Line {
    /// A mapping without a table.
    fn bare(mapping: &Mapping, file: &str, problem: Option<String>) -> Self {
        Self {
            start: format!("{:x}", mapping.start),
            end: format!("{:x}", mapping.end),
            file: file.to_owned(),
            unwound_by: "frame pointers",
            debug_file: None,
            code_bytes: mapping.end.saturating_sub(mapping.start),
            covered_bytes: 0,
            cost: None,
            problem,
        }
    }
}

impl Made {
    fn of(binary: &Arc<Binary>) -> Self {
        let begun = Instant::now();
        let table = make(binary, &table_limits(BUDGET));
        let milliseconds = begun.elapsed().as_secs_f64() * 1e3;
        Self { binary: Arc::clone(binary), table, milliseconds }
    }

    fn line(&self, mapping: &Mapping, with_cost: bool) -> Line {
        let path = &self.binary.path;
        let (table, debug) = match &self.table {
            Ok((table, debug)) => (table, debug),
            Err(problem) => return Line::bare(mapping, path, Some(problem.clone())),
        };
        let cost = Cost {
            rows: table.report.rows,
            table_bytes: table.size(),
            milliseconds: self.milliseconds,
        };
        Line {
            unwound_by: table.source.name(),
            debug_file: debug.as_ref().map(|debug| debug.path.display().to_string()),
            covered_bytes: covered(table, &self.binary, mapping),
            cost: with_cost.then_some(cost),
            ..Line::bare(mapping, path, None)
        }
    }
}

/// The table of a binary as a recording makes it, with the debug file if that contributed; or why there
/// is none.
fn make(binary: &Binary, limits: &Limits) -> Result<(Table, Option<DebugFile>), String> {
    let Some(file) = &binary.file else {
        let problem = binary.problem.clone();
        return Err(problem.unwrap_or_else(|| "its file could not be opened".to_owned()));
    };
    let directories = symbolize::Config::default().debug_dirs;
    let read = || {
        let debug = debug_file::of_binary(binary, &directories);
        let whole = debug.and_then(|debug| {
            let table = load(file, Some(&debug.file), limits).ok()?;
            Some((table, Some(debug)))
        });
        match whole {
            Some(found) => Ok(found),
            None => load(file, None, limits).map(|table| (table, None)),
        }
    };
    let (table, debug) = match fence::guard(read) {
        Some(Ok(found)) => found,
        Some(Err(error)) => return Err(error.to_string()),
        None => return Err("reading it failed: a defect of the agent, please report it".to_owned()),
    };
    let debug = debug.filter(|_| table.report.debug_frame_apart && table.source != Source::EhFrame);
    Ok((table, debug))
}

/// Bytes of a mapping that have rows.
fn covered(table: &Table, binary: &Binary, mapping: &Mapping) -> u64 {
    let mapped = mapping.end.saturating_sub(mapping.start);
    let ends = mapping.file_offset.saturating_add(mapped);
    let in_segment = |segment: &Segment| {
        // A mapping begins at a page, and a segment anywhere in it.
        let from = mapping.file_offset.max(segment.file_offset);
        let to = ends.min(segment.file_offset.saturating_add(segment.file_size));
        let start = segment.address.saturating_add(from - segment.file_offset);
        let end = start.saturating_add(to.saturating_sub(from));
        let rows = table.rows().skip_while(|row| row.end <= start);
        let rows = rows.take_while(|row| row.start < end);
        rows.map(|row| row.end.min(end) - row.start.max(start)).sum::<u64>()
    };
    binary.segments.iter().map(in_segment).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mapping_says_by_what_it_is_unwound() {
        let cost = Cost { rows: 18_612, table_bytes: 76_476, milliseconds: 2.04 };
        let bare = |file: &str, problem: Option<&str>| {
            let (start, end) = (0x1000, 0x3000);
            let mapping = Mapping { start, end, file_offset: 0, code: Code::Generated };
            Line::bare(&mapping, file, problem.map(str::to_owned))
        };
        let mappings = vec![
            Line {
                unwound_by: ".eh_frame",
                covered_bytes: 0x1f00,
                cost: Some(cost),
                ..bare("/usr/bin/bash", None)
            },
            Line {
                unwound_by: ".eh_frame and .debug_frame",
                debug_file: Some("/usr/lib/debug/a.debug".to_owned()),
                covered_bytes: 0x2000,
                ..bare("/usr/bin/bash", None)
            },
            bare("/opt/x", Some("it has no unwind information")),
            bare("[generated code]", None),
        ];
        let (rows, table_bytes, milliseconds) = (18_612, 76_476, 2.04);
        let (code_bytes, covered_bytes) = (0x8000, 0x3f00);
        let report =
            Report { pid: 7, mappings, rows, table_bytes, milliseconds, code_bytes, covered_bytes };
        let mut text = Vec::new();
        report.write_text(&mut text).unwrap();
        expect_test::expect![[r#"
                     address covered  unwound by                     rows     table       ms  file
                        1000  96.9 %  .eh_frame                     18612     76476      2.0  /usr/bin/bash
                        1000 100.0 %  .eh_frame and .debug_frame        -         -        -  /usr/bin/bash
                                      .debug_frame is from /usr/lib/debug/a.debug
                        1000   0.0 %  frame pointers                    -         -        -  /opt/x
                                      it has no unwind information
                        1000   0.0 %  frame pointers                    -         -        -  [generated code]

            49.2 % of 32768 bytes of code have rows; 18612 rows in tables of 76476 bytes, made in 2.0 ms
        "#]].assert_eq(std::str::from_utf8(&text).unwrap());
    }

    #[test]
    fn this_process_is_unwound() {
        let report = report(std::process::id()).unwrap();
        let own = std::env::current_exe().unwrap();
        let line = report.mappings.iter().find(|line| own.to_str() == Some(&line.file)).unwrap();
        assert_eq!(line.unwound_by, ".eh_frame");
        assert!(line.covered_bytes * 10 > line.code_bytes * 9, "{line:?}");
        assert!(line.cost.is_some_and(|cost| cost.rows > 1000 && cost.table_bytes > 1000));
        let costs = report.mappings.iter().filter_map(|line| line.cost);
        assert_eq!(report.rows, costs.map(|cost| cost.rows).sum::<u64>());
    }

    #[test]
    fn what_is_no_process_is_refused() {
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        let error = report(pid).unwrap_err().to_string();
        assert!(error.contains("there is no such process"), "{error}");

        // One that nobody has waited for: its memory is gone already.
        let mut zombie = std::process::Command::new("/bin/true")
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        io::copy(zombie.stdout.as_mut().unwrap(), &mut io::sink()).unwrap();
        let error = (0..10_000).find_map(|_| report(zombie.id()).err()).expect("it ends");
        assert!(error.to_string().contains("ended"), "{error}");
        zombie.wait().unwrap();
    }
}
