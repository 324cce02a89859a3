//! A database file as redb sees it, without writing to it: what is written goes to memory.
//!
//! So a file can be read that nobody may write (another's, on a read-only disk), or that a crash left in
//! need of a repair: the repair happens in memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;

use redb::StorageBackend;

/// Bytes that are kept together; redb's pages are as large.
const BLOCK: u64 = 4096;

/// The file, and what was written over it.
#[derive(Debug)]
pub(super) struct Overlay {
    file: File,
    over: Mutex<Over>,
}

#[derive(Debug)]
struct Over {
    len: u64,
    /// Length of the file that still shows through: what was cut off once stays away.
    shows: u64,
    blocks: BTreeMap<u64, Box<[u8]>>,
}

impl Overlay {
    /// The file stays as it is.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file, over: Mutex::new(Over { len, shows: len, blocks: BTreeMap::new() }) })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Over) -> io::Result<T>) -> io::Result<T> {
        let mut over = self.over.lock().map_err(|_| io::Error::other("a reader panicked"))?;
        f(&mut over)
    }

    /// Reads of the file what shows through; zeros beyond.
    fn read_file(&self, shows: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        out.fill(0);
        let shown = shows.saturating_sub(offset).min(out.len() as u64);
        match out.get_mut(..usize::try_from(shown).unwrap_or(0)) {
            Some(out) => self.file.read_exact_at(out, offset),
            None => Ok(()),
        }
    }
}

/// The parts of a range that lie in one block each: the block's number, the offset in it, and the part's
/// offset and length in the range.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done >= len {
            return None;
        }
        let at = offset.checked_add(done as u64)?;
        let within = usize::try_from(at % BLOCK).ok()?;
        let part = (len - done).min(usize::try_from(BLOCK).ok()? - within);
        done += part;
        Some((at / BLOCK, within, done - part, part))
    })
}

fn copy(to: &mut [u8], to_at: usize, from: &[u8], from_at: usize, len: usize) -> Option<()> {
    let from = from.get(from_at..from_at.checked_add(len)?)?;
    to.get_mut(to_at..to_at.checked_add(len)?)?.copy_from_slice(from);
    Some(())
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        self.with(|over| Ok(over.len))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|over| {
            if offset.checked_add(out.len() as u64).is_none_or(|end| end > over.len) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.read_file(over.shows, offset, out)?;
            if over.blocks.is_empty() {
                return Ok(());
            }
            for (block, within, at, len) in parts(offset, out.len()) {
                if let Some(bytes) = over.blocks.get(&block) {
                    copy(out, at, bytes, within, len).ok_or(io::ErrorKind::UnexpectedEof)?;
                }
            }
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|over| {
            over.len = len;
            over.shows = over.shows.min(len);
            over.blocks.retain(|block, _| block.saturating_mul(BLOCK) < len);
            // The rest of the last block comes back as zeros.
            if let Some(last) = over.blocks.get_mut(&(len / BLOCK)) {
                let within = usize::try_from(len % BLOCK).unwrap_or(0);
                last.get_mut(within..).unwrap_or_default().fill(0);
            }
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|over| {
            for (block, within, at, len) in parts(offset, data.len()) {
                if !over.blocks.contains_key(&block) {
                    let mut bytes = vec![0; usize::try_from(BLOCK).unwrap_or(0)];
                    self.read_file(over.shows, block.saturating_mul(BLOCK), &mut bytes)?;
                    over.blocks.insert(block, bytes.into());
                }
                let bytes = over.blocks.get_mut(&block);
                bytes
                    .and_then(|bytes| copy(bytes, within, data, at, len))
                    .ok_or(io::ErrorKind::UnexpectedEof)?;
            }
            over.len = over.len.max(offset.saturating_add(data.len() as u64));
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn it_reads_what_was_written_and_the_file_stays() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[1; 10_000]).unwrap();
        let overlay = Overlay::new(file.try_clone().unwrap()).unwrap();
        let read = |offset, len| {
            let mut out = vec![9; len];
            overlay.read(offset, &mut out).map(|()| out)
        };
        overlay.write(4000, &[2; 5000]).unwrap();
        assert_eq!(read(3999, 2).unwrap(), [1, 2]);
        assert_eq!(read(8999, 2).unwrap(), [2, 1]);
        assert!(read(9999, 2).is_err());
        overlay.set_len(5000).unwrap();
        overlay.set_len(20_000).unwrap();
        assert_eq!(read(4999, 3).unwrap(), [2, 0, 0], "what was cut off is gone");
        assert_eq!(read(19_999, 1).unwrap(), [0]);
        assert_eq!(file.metadata().unwrap().len(), 10_000);
    }
}
