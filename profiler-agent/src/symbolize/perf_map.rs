//! Perf maps (`/tmp/perf-PID.map`): the names that a process gives to the code that it generates, one
//! `START SIZE NAME` a line. The file belongs to the process and may hold anything, so it is read in
//! one pass through a small buffer, and of its lines only those that name a wanted address are kept.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::lines::{FromStart, Line, Lines};
use super::text::{MAX_NAME, printable};
use super::wanted::Wanted;

/// Bytes of a map that are read at most. Real ones reach some tens of megabytes.
const MAX_BYTES: u64 = 256 << 20;

/// What one pass over a map found.
pub(super) struct Found {
    /// Name of each wanted address, in the order of [`Wanted::addresses`].
    pub names: Vec<Option<String>>,
    /// The map was longer, or matched more, than is read.
    pub cut: bool,
}

/// A line that names an address: where its name lies in the file.
#[derive(Clone, Copy)]
struct NameAt {
    offset: u64,
    len: usize,
}

/// Looks the wanted addresses up. Of several entries that hold an address the last wins: code is
/// thrown away and its memory used again, and the map only grows.
pub(super) fn read(file: &Arc<File>, wanted: &mut Wanted) -> io::Result<Found> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut at: Vec<Option<NameAt>> = vec![None; wanted.addresses().len()];
    let mut lines = Lines::new(FromStart::new(file), MAX_BYTES);
    while !wanted.is_exhausted() {
        let Some(line) = lines.next()? else { break };
        let Some((start, end, name)) = parse(&line) else { continue };
        for slot in at.get_mut(wanted.within(start, end)).into_iter().flatten() {
            *slot = Some(name);
        }
    }
    let cut = lines.is_cut() || wanted.is_exhausted();
    Ok(Found { names: at.iter().map(|at| name(file, (*at)?)).collect(), cut })
}

fn name(file: &File, at: NameAt) -> Option<String> {
    let mut bytes = vec![0; at.len];
    file.read_exact_at(&mut bytes, at.offset).ok()?;
    Some(printable(&bytes))
}

/// First address, end address, and place of the name.
fn parse(line: &Line<'_>) -> Option<(u64, u64, NameAt)> {
    let (start, rest) = field(line.bytes)?;
    let (size, name) = field(rest)?;
    let name = name.trim_ascii();
    if name.is_empty() {
        return None;
    }
    let start = hex(start)?;
    let end = start.checked_add(hex(size)?)?;
    // Where the name begins: both are slices of the same line.
    let skipped = line.bytes.len() - line.bytes.trim_ascii_end().len();
    let begin = line.bytes.len() - skipped - name.len();
    let len = name.len().min(MAX_NAME + 1);
    Some((start, end, NameAt { offset: line.offset + begin as u64, len }))
}

/// The first field of a line and what follows it.
fn field(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.trim_ascii_start();
    let end = text.iter().position(|b| *b == b' ' || *b == b'\t')?;
    text.split_at_checked(end)
}

fn hex(digits: &[u8]) -> Option<u64> {
    let digits = digits.strip_prefix(b"0x").unwrap_or(digits);
    u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn look_up(map: &[u8], addresses: &[u64]) -> (Vec<Option<String>>, bool) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(map).unwrap();
        let found = read(&Arc::new(file), &mut Wanted::new(addresses.to_vec())).unwrap();
        (found.names, found.cut)
    }

    fn names(map: &[u8], addresses: &[u64]) -> Vec<String> {
        look_up(map, addresses).0.into_iter().map(Option::unwrap_or_default).collect()
    }

    #[test]
    fn entries_are_found() {
        let map = b"1000 10 first\n1010 20 py::f:/a b.py\n0x2000 0x8 hex  \r\n";
        assert_eq!(
            names(map, &[0xfff, 0x1000, 0x100f, 0x1010, 0x102f, 0x1030, 0x2007]),
            ["", "first", "first", "py::f:/a b.py", "py::f:/a b.py", "", "hex"]
        );
    }

    #[test]
    fn later_entries_win() {
        assert_eq!(names(b"1000 100 old\n1000 10 new\n", &[0x1008, 0x1018]), ["new", "old"]);
    }

    #[test]
    fn hostile_lines_are_harmless() {
        let map = b"\n \nzz 10 x\n1000\n1000 10\n1000 10 \n1000 fffffffffffffffff wide\n\
                    ffffffffffffffff 2 wraps\n1000 -5 negative\n1000 10 a\x1b]0;b\x07\xff\n\0\0\0";
        assert_eq!(names(map, &[0x1000, u64::MAX]), ["a\u{fffd}]0;b\u{fffd}\u{fffd}", ""]);
        assert_eq!(names(&vec![b'1'; 1 << 20], &[0x1000]), [""]);
        let mut long = b"1000 10 ".to_vec();
        long.resize(1 << 20, b'n');
        assert!(names(&long, &[0x1000])[0].len() <= MAX_NAME);
    }

    #[test]
    fn overlaps_without_end_are_cut() {
        let map = b"0 ffffffffffffffff x\n".repeat(30_000);
        let addresses: Vec<u64> = (0..1000).collect();
        let (found, cut) = look_up(&map, &addresses);
        assert!(cut && found.iter().all(|name| name.as_deref() == Some("x")));
    }

    #[test]
    fn other_things_than_files_are_refused() {
        let file = Arc::new(File::open("/dev/zero").unwrap());
        assert!(read(&file, &mut Wanted::new(vec![1])).is_err());
    }
}
