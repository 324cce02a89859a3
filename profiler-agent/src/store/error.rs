//! Why the store, or one of its files, cannot be used.

use std::io;
use std::path::PathBuf;

/// Why a store cannot be used at all. What can pass (a full disk, say) is none of these: the store works
/// in memory meanwhile.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process writes to it.
    #[error(
        "the store {} is in use by {holder}; end that agent, or give this one a store.path of its own",
        .path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Who has it: process id and name, as far as known.
        holder: String,
    },
    /// The path is not a directory that a store may live in.
    #[error("the store {} cannot be used: {reason}", .path.display())]
    Unfit {
        /// The directory.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// There is no store.
    #[error("there is no store in {}; `profiler-agent run` makes one at its store.path", .0.display())]
    Missing(PathBuf),
    /// The budget is too small to work with.
    #[error("store.size is {given} bytes; it must be at least {}", super::MIN_BYTES)]
    TooSmall {
        /// What was asked for.
        given: u64,
    },
    /// The system refuses.
    #[error("the store {} cannot be used: {error}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

/// Why one file of the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    /// The system refuses now; the file may be whole.
    #[error("{0}")]
    Io(io::Error),
    /// Its content makes no sense, and no repair helped.
    #[error("{0}")]
    Broken(String),
    /// It was written by another version.
    #[error("its format is version {0}")]
    OtherVersion(u64),
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Self::Broken("it is no database, or its end is missing".to_owned())
            }
            _ => Self::Io(error),
        }
    }
}

impl From<redb::Error> for FileError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => error.into(),
            redb::Error::UpgradeRequired(version) => Self::OtherVersion(version.into()),
            redb::Error::Corrupted(_)
            | redb::Error::RepairAborted
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::TableDoesNotExist(_) => Self::Broken(error.to_string()),
            // An earlier error of the disk, or of a lock: the next opening tells more.
            other => Self::Io(io::Error::other(other.to_string())),
        }
    }
}

/// redb has an error type per operation, all of which lead to one.
macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for FileError {
            fn from(error: $error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )*};
}

from_redb!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError
);
