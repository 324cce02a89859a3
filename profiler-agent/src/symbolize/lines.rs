//! Lines of a file of unknown size and honesty, one at a time, in a buffer of fixed size.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Longest line that is kept, in bytes; the rest of a longer one is skipped.
pub(super) const MAX_LINE: usize = 8192;

/// Reads lines, at most a given number of bytes in all.
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    offset: u64,
    limit: u64,
}

/// One line, without its end.
pub(super) struct Line<'a> {
    /// Offset of its first byte in the file.
    pub offset: u64,
    /// Its bytes, at most [`MAX_LINE`].
    pub bytes: &'a [u8],
}

impl<R: Read> Lines<R> {
    /// Reads at most `limit` bytes of `reader`.
    pub fn new(reader: R, limit: u64) -> Self {
        let reader = BufReader::with_capacity(64 << 10, reader);
        Self { reader, line: Vec::new(), offset: 0, limit }
    }

    /// The next line, `None` at the end of the file or at the limit.
    pub fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let offset = self.offset;
        loop {
            if self.offset >= self.limit {
                return Ok(None);
            }
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                break;
            }
            let end = buffer.iter().position(|b| *b == b'\n');
            let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or(buffer);
            let room = part.len().min(MAX_LINE - self.line.len());
            self.line.extend_from_slice(part.get(..room).unwrap_or(part));
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            self.offset += used as u64;
            if end.is_some() {
                break;
            }
        }
        let more = self.offset > offset;
        Ok(more.then_some(Line { offset, bytes: &self.line }))
    }

    /// Whether the last line was not reached because of the limit.
    pub fn is_cut(&self) -> bool {
        self.offset >= self.limit
    }
}

/// Reads a file from its start without moving the offset that it shares with others.
pub(super) struct FromStart {
    file: Arc<File>,
    position: u64,
}

impl FromStart {
    pub fn new(file: &Arc<File>) -> Self {
        Self { file: Arc::clone(file), position: 0 }
    }
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buffer, self.position)?;
        self.position += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], limit: u64) -> (Vec<(u64, usize)>, bool) {
        let mut lines = Lines::new(text, limit);
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.push((line.offset, line.bytes.len()));
        }
        (found, lines.is_cut())
    }

    #[test]
    fn lines_are_found_and_bounded() {
        assert_eq!(read(b"", 99), (vec![], false));
        assert_eq!(read(b"ab\n\nc", 99), (vec![(0, 2), (3, 0), (4, 1)], false));
        assert_eq!(read(b"ab\ncd\n", 3), (vec![(0, 2)], true));

        let mut text = vec![b'x'; 1 << 20];
        text.extend(b"\nshort\n");
        assert_eq!(read(&text, u64::MAX), (vec![(0, MAX_LINE), ((1 << 20) + 1, 5)], false));
        assert_eq!(read(&vec![b'x'; 1 << 20], 1 << 16), (vec![], true));
    }
}
