//! `/proc/PID/maps`: the executable mappings of a process that was there before the side-band.
//!
//! The kernel writes the lines, but their paths are the process's: any bytes, as long as the kernel
//! allows. Only a newline is escaped (`\012`).

use std::io::{self, BufRead};

use crate::model::event::{Mmap, MmapId};

/// Longest line that is read: four escaped bytes for each of a path (`PATH_MAX`), and the numbers.
const MAX_LINE: u64 = 4 * 4096 + 256;

/// A line that does not look like one of the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// What a whole file held.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Maps {
    /// Executable mappings, by address.
    pub(super) mappings: Vec<Mmap>,
    /// Executable mappings beyond the limit.
    pub(super) beyond_limit: u64,
    /// Lines that could not be understood.
    pub(super) malformed: u64,
}

/// Reads all lines, keeping at most `limit` executable mappings.
pub(super) fn read(
    mut reader: impl BufRead,
    pid: u32,
    time_ns: u64,
    limit: usize,
) -> io::Result<Maps> {
    let mut maps = Maps::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        if io::Read::take(&mut reader, MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(maps);
        }
        match parse_line(&line, pid, time_ns) {
            Ok(Some(_)) if maps.mappings.len() >= limit => maps.beyond_limit += 1,
            Ok(Some(mapping)) => maps.mappings.push(mapping),
            Ok(None) => {}
            Err(Malformed) => maps.malformed += 1,
        }
    }
}

/// One line; `None` where nothing in it may be executed.
pub(super) fn parse_line(line: &[u8], pid: u32, time_ns: u64) -> Result<Option<Mmap>, Malformed> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut fields = line.splitn(6, |b| *b == b' ');
    let mut field = || fields.next().ok_or(Malformed);
    let (start, end) = pair(field()?, b'-', 16)?;
    let permissions = field()?;
    let file_offset = number(field()?, 16)?;
    let (major, minor) = pair(field()?, b':', 16)?;
    let inode = number(field()?, 10)?;
    let path = field().unwrap_or_default().trim_ascii_start();
    if permissions.get(2) != Some(&b'x') {
        return Ok(None);
    }
    let len = end.checked_sub(start).filter(|len| *len > 0).ok_or(Malformed)?;
    let narrow = |n: u64| u32::try_from(n).map_err(|_| Malformed);
    let id = MmapId::Inode { major: narrow(major)?, minor: narrow(minor)?, inode, generation: 0 };
    Ok(Some(Mmap { time_ns, pid, start, len, file_offset, id, path: unescape(path) }))
}

fn pair(field: &[u8], separator: u8, radix: u32) -> Result<(u64, u64), Malformed> {
    let at = field.iter().position(|b| *b == separator).ok_or(Malformed)?;
    let (first, second) = field.split_at(at);
    Ok((number(first, radix)?, number(second.get(1..).ok_or(Malformed)?, radix)?))
}

fn number(digits: &[u8], radix: u32) -> Result<u64, Malformed> {
    if !digits.first().is_some_and(u8::is_ascii_hexdigit) {
        return Err(Malformed);
    }
    let text = std::str::from_utf8(digits).map_err(|_| Malformed)?;
    u64::from_str_radix(text, radix).map_err(|_| Malformed)
}

/// Undoes the kernel's escape of newlines.
fn unescape(path: &[u8]) -> Vec<u8> {
    const NEWLINE: &[u8] = b"\\012";
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(NEWLINE) {
            plain.push(b'\n');
            rest = after;
        } else {
            plain.push(*first);
            rest = tail;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &[u8]) -> Option<Mmap> {
        parse_line(line, 7, 9).expect("a well-formed line")
    }

    #[test]
    fn a_file_keeps_all_its_fields() {
        let line =
            b"7faca6f7e000-7faca70d4000 r-xp 00026000 fe:01 326269        /usr/lib/libc.so.6\n";
        let want = Mmap {
            time_ns: 9,
            pid: 7,
            start: 0x7faca6f7e000,
            len: 0x156000,
            file_offset: 0x26000,
            id: MmapId::Inode { major: 0xfe, minor: 1, inode: 326_269, generation: 0 },
            path: b"/usr/lib/libc.so.6".to_vec(),
        };
        assert_eq!(parsed(line), Some(want));
    }

    #[test]
    fn paths_are_bytes() {
        for (path, want) in [
            (&b""[..], &b""[..]),
            (b"[vdso]", b"[vdso]"),
            (b"/tmp/a b", b"/tmp/a b"),
            (b"/tmp/x (deleted)", b"/tmp/x (deleted)"),
            (b"/tmp/two\\012lines", b"/tmp/two\nlines"),
            (b"/tmp/back\\slash\\01", b"/tmp/back\\slash\\01"),
            (b"/tmp/\xff\x1b", b"/tmp/\xff\x1b"),
            (b"/memfd:x (deleted)", b"/memfd:x (deleted)"),
        ] {
            let line = [b"1000-2000 rwxp 00000000 00:00 0     ", path].concat();
            assert_eq!(parsed(&line).map(|m| m.path).as_deref(), Some(want));
        }
    }

    #[test]
    fn only_what_may_be_executed() {
        for (permissions, executable) in
            [("r--p", false), ("rw-s", false), ("r-xp", true), ("--xp", true), ("rwxs", true)]
        {
            let line = format!("1000-2000 {permissions} 00000000 00:00 0");
            assert_eq!(parsed(line.as_bytes()).is_some(), executable, "{permissions}");
        }
    }

    #[test]
    fn the_last_page_of_the_address_space() {
        let line = b"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n";
        assert_eq!(parsed(line).map(|m| (m.start, m.len)), Some((0xffff_ffff_ff60_0000, 0x1000)));
    }

    #[test]
    fn hostile_lines_are_refused() {
        for line in [
            &b""[..],
            b"\n",
            b" ",
            b"1000 r-xp 0 0:0 0",
            b"1000-2000",
            b"1000-2000 r-xp",
            b"1000-2000 r-xp 0",
            b"1000-2000 r-xp 0 0:0",
            b"1000-2000 r-xp 0 00 0",
            b"2000-1000 r-xp 0 0:0 0",
            b"1000-1000 r-xp 0 0:0 0",
            b"-1000-2000 r-xp 0 0:0 0",
            b"+1000-2000 r-xp 0 0:0 0",
            b"1000-+2000 r-xp 0 0:0 0",
            b"10000000000000000-20000000000000000 r-xp 0 0:0 0",
            b"1000-2000 r-xp 0 fffffffff:0 0",
            b"1000-2000 r-xp 0 0:0 99999999999999999999",
            b"zz-2000 r-xp 0 0:0 0",
            b"\xff\xff-2000 r-xp 0 0:0 0",
            b"1000-2000  r-xp 0 0:0 0",
        ] {
            assert_eq!(parse_line(line, 1, 1), Err(Malformed), "{:?}", line.escape_ascii());
        }
    }

    #[test]
    fn a_file_is_bounded() {
        let text = "1000-2000 r-xp 0 0:0 0\n".repeat(5) + "junk\n" + "2000-3000 r--p 0 0:0 0";
        let maps = read(text.as_bytes(), 1, 1, 3).expect("memory is readable");
        assert_eq!((maps.mappings.len(), maps.beyond_limit, maps.malformed), (3, 2, 1));
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let text = [b"1000-2000 r-xp 0 0:0 0 /", vec![b'a'; 1 << 20].as_slice()].concat();
        let maps = read(text.as_slice(), 1, 1, 10).expect("memory is readable");
        assert_eq!(maps.mappings.len(), 1);
        assert!(maps.mappings[0].path.len() as u64 <= MAX_LINE);
    }
}
