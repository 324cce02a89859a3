//! Where a command writes its result. A file appears whole, under its name, or not at all: it is
//! written beside its place and renamed.

use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A place that can be written to, as far as can be known beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output(Target);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Stdout,
    /// A pipe, terminal or device: written as it comes.
    Stream(PathBuf),
    /// A file that exists or will.
    File(PathBuf),
}

/// Why a result could not be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The path names a directory.
    #[error("cannot write {}: it is a directory; name a file in it, such as {}/flame.svg", .0.display(), .0.display())]
    IsDirectory(PathBuf),
    /// The directory of the file does not exist.
    #[error("cannot write {}: there is no directory {}; make it, or choose another --output", .path.display(), .directory.display())]
    NoDirectory {
        /// The file.
        path: PathBuf,
        /// What is missing.
        directory: PathBuf,
    },
    /// Everything else that the system says: no permission, no space left, a closed pipe.
    #[error("cannot write {}: {error}; {}", .path.display(), way_out(.error))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl OutputError {
    /// Whether the reader of a pipe went away.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Io { error, .. } if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space or choose another --output (nothing was left behind)"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "choose an --output where you may write"
        }
        _ => "nothing was left behind",
    }
}

impl Output {
    /// Checks that a path can be written to, before the work whose result goes there: its directory
    /// exists and takes a new file. `-` is standard output.
    ///
    /// # Errors
    /// Where it cannot.
    pub fn prepare(path: &Path) -> Result<Self, OutputError> {
        if path == Path::new("-") {
            return Ok(Self(Target::Stdout));
        }
        // A link is followed, so that the file it names is replaced and not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        if let Ok(metadata) = fs::metadata(&path) {
            let kind = metadata.file_type();
            if kind.is_dir() {
                return Err(OutputError::IsDirectory(path));
            }
            if kind.is_char_device() || kind.is_fifo() || kind.is_socket() {
                return Ok(Self(Target::Stream(path)));
            }
        }
        let directory = directory_of(&path);
        if !directory.is_dir() {
            let directory = directory.to_path_buf();
            return Err(OutputError::NoDirectory { path, directory });
        }
        match temporary_beside(&path) {
            Ok(_removed_again) => Ok(Self(Target::File(path))),
            Err(error) => Err(OutputError::Io { path, error }),
        }
    }

    /// Writes what `produce` writes. Of a file, nothing is seen before all of it is on the disk, and
    /// a file that was there before stays as it is until then.
    ///
    /// # Errors
    /// Where the system refuses, or `produce` fails.
    pub fn write(
        &self,
        produce: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), OutputError> {
        let result = match &self.0 {
            Target::Stdout => stream(io::stdout().lock(), produce),
            Target::Stream(path) => {
                File::options().write(true).open(path).and_then(|file| stream(file, produce))
            }
            Target::File(path) => replace(path, produce),
        };
        result.map_err(|error| OutputError::Io { path: PathBuf::from(self.to_string()), error })
    }

    /// Whether the result goes to standard output.
    pub fn is_stdout(&self) -> bool {
        self.0 == Target::Stdout
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::Stdout => f.write_str("standard output"),
            Target::Stream(path) | Target::File(path) => path.display().fmt(f),
        }
    }
}

fn stream(
    writer: impl Write,
    produce: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut writer = BufWriter::new(writer);
    produce(&mut writer)?;
    writer.flush()
}

fn replace(path: &Path, produce: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    // Dropped before it is persisted, the temporary file removes itself.
    let mut temporary = temporary_beside(path)?;
    stream(temporary.as_file_mut(), produce)?;
    // A file system may tell of a full disk only here.
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|e| e.error)?;
    Ok(())
}

/// In the same directory, since a rename does not cross file systems; readable as the umask says.
fn temporary_beside(path: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".profiler-agent-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory_of(path))
        // Its message names the temporary file, which would only puzzle.
        .map_err(|error| io::Error::from(error.kind()))
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_appears_whole_with_ordinary_permissions() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("flame.svg");
        let output = Output::prepare(&path).unwrap();
        assert_eq!(names_in(directory.path()), Vec::<String>::new());
        output.write(|w| w.write_all(b"<svg/>")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"<svg/>");
        assert_eq!(names_in(directory.path()), ["flame.svg"]);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0, "not executable");
        assert_ne!(mode & 0o400, 0, "readable");
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("flame.svg");
        fs::write(&path, "old").unwrap();
        let error = Output::prepare(&path)
            .unwrap()
            .write(|w| {
                w.write_all(b"half")?;
                Err(io::Error::from(io::ErrorKind::StorageFull))
            })
            .unwrap_err();
        assert!(error.to_string().contains("free some space"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names_in(directory.path()), ["flame.svg"]);
    }

    #[test]
    fn a_link_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        Output::prepare(&link).unwrap().write(|w| w.write_all(b"new")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
    }

    #[test]
    fn bad_places_are_refused_beforehand() {
        let directory = tempfile::tempdir().unwrap();
        let error = Output::prepare(directory.path()).unwrap_err();
        assert!(matches!(error, OutputError::IsDirectory(_)), "{error}");
        let error = Output::prepare(&directory.path().join("no/such.svg")).unwrap_err();
        assert!(matches!(error, OutputError::NoDirectory { .. }), "{error}");
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Output::prepare(&file.join("below.svg")).unwrap_err();
        assert!(matches!(error, OutputError::NoDirectory { .. }), "{error}");
    }

    #[test]
    fn devices_are_written_as_they_are() {
        let full = Output::prepare(Path::new("/dev/full")).unwrap();
        let error = full.write(|w| w.write_all(b"x")).unwrap_err();
        assert!(error.to_string().contains("/dev/full"), "{error}");
        assert!(error.to_string().contains("free some space"), "{error}");
        Output::prepare(Path::new("/dev/null")).unwrap().write(|w| w.write_all(b"x")).unwrap();
        assert!(Output::prepare(Path::new("-")).unwrap().is_stdout());
    }
}
