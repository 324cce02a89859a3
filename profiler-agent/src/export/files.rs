//! A directory of windows: each a `.pb.gz` of its own, as `go tool pprof` and `report` read it.
//!
//! A file appears whole or not at all. Its name is the window's time, so a retry writes the same file
//! again. The oldest files are deleted when there are too many, or too many bytes.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use profiler_proto::pprof::to_gz;

use super::backend::{Backend, LeftOut, Part, Prepared};
use super::config::Files;
use super::outcome::{Outcome, Sent};
use crate::model::finished::Finished;

/// What the names of our files end with.
const EXTENSION: &str = ".pb.gz";

/// A window takes no longer than this to write, but on a disk that is about to fail.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The backend.
pub(super) struct Directory(Arc<Writer>);

struct Writer {
    config: Files,
    /// One at a time, so that two do not delete for the same bytes.
    turn: Mutex<()>,
}

/// One file.
#[derive(Clone)]
pub(super) struct File {
    name: String,
    content: Arc<[u8]>,
}

impl Directory {
    pub(super) fn new(config: Files) -> Self {
        Self(Arc::new(Writer { config, turn: Mutex::new(()) }))
    }
}

impl Backend for Directory {
    type Part = File;

    fn prepare(&self, window: &Finished) -> Result<Prepared<File>, String> {
        let name = file_name(window.start_unix_ns);
        let content = match to_gz(&window.profile).map_err(|error| error.to_string())? {
            Cow::Borrowed(_) => Arc::clone(&window.profile),
            Cow::Owned(packed) => packed.into(),
        };
        let bytes = content.len();
        let parts = vec![Part { body: File { name, content }, bytes }];
        Ok(Prepared { parts, left_out: LeftOut::default() })
    }

    async fn send(&self, part: &Part<File>, deadline: Duration) -> Outcome {
        let (writer, file) = (Arc::clone(&self.0), part.body.clone());
        let write = tokio::task::spawn_blocking(move || writer.write(&file));
        match tokio::time::timeout(deadline, write).await {
            Ok(Ok(Ok(()))) => Outcome::Delivered,
            Ok(Ok(Err(error))) => failed(error.to_string()),
            Ok(Err(error)) => failed(error.to_string()),
            Err(_) => failed(format!("the disk took longer than {deadline:?}")),
        }
    }

    fn in_flight(&self) -> usize {
        1
    }

    fn timeout(&self) -> Duration {
        TIMEOUT
    }
}

/// What is written twice is there once, so no answer can be lost.
fn failed(reason: String) -> Outcome {
    Outcome::Retry { reason, after: None, sent: Sent::No }
}

impl Writer {
    fn write(&self, file: &File) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = &self.config.path;
        fs::create_dir_all(directory).map_err(|e| named(e, directory))?;
        self.make_room(&file.name, file.content.len() as u64)?;
        let mut temporary = tempfile::Builder::new()
            .prefix(".")
            .tempfile_in(directory)
            .map_err(|e| named(e, directory))?;
        temporary.write_all(&file.content)?;
        temporary.as_file().sync_data()?;
        temporary.persist(directory.join(&file.name)).map_err(|e| e.error)?;
        Ok(())
    }

    /// Deletes the oldest files until one more of `bytes` fits.
    fn make_room(&self, name: &str, bytes: u64) -> io::Result<()> {
        let mut files = self.list()?;
        files.retain(|(path, _)| path.file_name() != Some(OsStr::new(name)));
        let mut total: u64 = files.iter().map(|(_, size)| size).sum();
        let mut count = files.len();
        for (path, size) in files {
            let fits = total.saturating_add(bytes) <= self.config.max_bytes
                && count < self.config.max_files.max(1);
            if fits {
                break;
            }
            fs::remove_file(&path).map_err(|e| named(e, &path))?;
            total = total.saturating_sub(size);
            count -= 1;
        }
        Ok(())
    }

    /// Our files and their sizes, the oldest first: their names sort by time.
    fn list(&self) -> io::Result<Vec<(PathBuf, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.config.path)? {
            let entry = entry?;
            if is_ours(&entry.file_name()) {
                files.push((entry.path(), entry.metadata()?.len()));
            }
        }
        files.sort();
        Ok(files)
    }
}

fn named(error: io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// `20261129T031400.000Z.pb.gz`: sorts by time, and is a good name on every file system.
fn file_name(start_unix_ns: u64) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(start_unix_ns)).unwrap_or_default();
    format!("{}{EXTENSION}", time.strftime("%Y%m%dT%H%M%S%.3fZ"))
}

/// Nothing else in the directory is touched.
fn is_ours(name: &OsStr) -> bool {
    let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(EXTENSION)) else {
        return false;
    };
    stem.len() == "20261129T031400.000Z".len()
        && stem.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'T' | b'Z' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(seconds: u64, content: &str) -> Finished {
        Finished {
            start_unix_ns: (1_800_000_000 + seconds) * 1_000_000_000,
            duration_ns: 10_000_000_000,
            profile: content.as_bytes().into(),
        }
    }

    async fn ship(directory: &Directory, window: &Finished) -> Outcome {
        let prepared = directory.prepare(window).unwrap();
        directory.send(&prepared.parts[0], TIMEOUT).await
    }

    fn names(path: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_window_is_a_file_and_a_retry_the_same() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("made/when/missing");
        let directory = Directory::new(Files { path: path.clone(), max_bytes: 100, max_files: 10 });
        for content in ["first", "again"] {
            assert_eq!(ship(&directory, &window(0, content)).await, Outcome::Delivered);
        }
        assert_eq!(names(&path), ["20270115T080000.000Z.pb.gz"]);
        assert_eq!(fs::read(path.join("20270115T080000.000Z.pb.gz")).unwrap(), b"again");
    }

    #[tokio::test]
    async fn the_oldest_go_and_what_is_not_ours_stays() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().to_owned();
        fs::write(path.join("notes.pb.gz"), [0; 1000]).unwrap();
        let by_bytes = Directory::new(Files { path: path.clone(), max_bytes: 20, max_files: 99 });
        for n in 0..6 {
            assert_eq!(ship(&by_bytes, &window(n, "9 bytes!!")).await, Outcome::Delivered);
        }
        assert_eq!(
            names(&path),
            ["20270115T080004.000Z.pb.gz", "20270115T080005.000Z.pb.gz", "notes.pb.gz"]
        );
        let by_count = Directory::new(Files { path: path.clone(), max_bytes: 999, max_files: 1 });
        assert_eq!(ship(&by_count, &window(9, "x")).await, Outcome::Delivered);
        assert_eq!(names(&path), ["20270115T080009.000Z.pb.gz", "notes.pb.gz"]);
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_made_is_tried_again() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        let config = Files { path: file.join("below"), max_bytes: 100, max_files: 10 };
        let directory = Directory::new(config);
        let outcome = ship(&directory, &window(0, "x")).await;
        assert!(matches!(&outcome, Outcome::Retry { .. }), "{outcome:?}");
    }
}
