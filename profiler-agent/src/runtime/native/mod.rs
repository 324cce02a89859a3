//! From the unwind information of an ELF file to the table that the kernel side looks up.
//!
//! `.eh_frame` and `.debug_frame` describe, for each place in the code, how to find the caller's
//! registers (call frame information, DWARF 5, 6.4), as a program that must be run from a function's
//! beginning. [`load`] runs all programs once and keeps what the walk needs, three registers of each
//! row, in the form of [`profiler_common::native::lookup`].
//!
//! The way: [`elf`] finds the sections → [`functions`] lists what they describe, in the order of
//! addresses → [`known`] adds what they leave out → [`rows`] runs each program → [`shape`] makes a row a rule → [`encode`] packs the rules.
//!
//! [`cache`] keeps tables on disk, so that a restart makes none twice.
//!
//! [`keeper`] knows which process maps which binary, and keeps the kernel's tables to it: a `shelf` of
//! tables, the `lists` of the processes, and mappings `cut` into what has a table and what has none.
//!
//! Any process may map any file, so nothing in one is believed: sections are copied by `pread` within
//! [`Limits`], time is linear in their size, and what cannot be understood is counted in the
//! [`Report`].

pub mod keeper;

mod cache;
mod cut;
mod elf;
mod encode;
mod expression;
mod functions;
mod go;
mod known;
mod lists;
mod machine;
mod rows;
mod section;
mod shape;
mod shelf;
mod sources;
mod table;
mod text;
mod unwind;

use std::fs::File;

pub use cache::{Cache, CacheConfig, CacheCounts, Refused};
pub use machine::Machine;
pub use table::{Cause, Limits, NoTable, Part, Report, Row, Source, Table};
pub use text::Readable;
pub use unwind::{Unwound, unwind};

use encode::Encoder;
use sources::{Listed, Sources};

/// Reads the unwind information of an ELF file, and where given of the file with its debug
/// information.
///
/// # Errors
/// Why there is no table.
pub fn load(file: &File, debug: Option<&File>, limits: &Limits) -> Result<Table, NoTable> {
    let sources = Sources::read(file, debug, limits)?;
    make(&sources, sources.list()?, limits)
}

/// The parts of the table of an ELF file, as [`load`] makes it: from the cache, or made and left there. A
/// file without a build ID has no place in it.
///
/// # Errors
/// Why there is no table.
pub fn load_cached(
    file: &File,
    debug: Option<&File>,
    build_id: &str,
    limits: &Limits,
    cache: &Cache,
) -> Result<Vec<Part>, NoTable> {
    let sources = Sources::read(file, debug, limits)?;
    let listed = sources.list()?;
    let Some(key) = sources.key(&listed, build_id, limits) else {
        return Ok(make(&sources, listed, limits)?.parts);
    };
    if let Some(parts) = cache.get(&key, limits) {
        return Ok(parts);
    }
    let parts = make(&sources, listed, limits)?.parts;
    drop(sources);
    cache.put(&key, &parts);
    Ok(parts)
}

fn make(sources: &Sources<'_>, mut listed: Listed, limits: &Limits) -> Result<Table, NoTable> {
    let mut encoder = Encoder::new(limits);
    sources.rows(&mut listed, &mut |start, end, rule| encoder.add(start, end, rule))?;
    let parts = encoder.finish()?;
    let Listed { source, mut report, .. } = listed;
    report.rules = parts.iter().map(Part::rule_count).sum();
    Ok(Table { machine: sources.machine(), parts, source, report })
}

#[cfg(test)]
mod tests;
