//! Files in memory that nobody but the agent can change.

use std::ffi::CStr;
use std::fs::File;
use std::io;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// A new, empty one. The name shows in `/proc/PID/fd` only.
pub(super) fn create(name: &CStr) -> io::Result<File> {
    let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    Ok(File::from(fd))
}

/// From here on it keeps its contents: it can be mapped without fear of SIGBUS.
pub(super) fn seal(file: &File) -> io::Result<()> {
    let seals = SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SEAL;
    fcntl(file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn sealed_files_cannot_change() {
        let mut file = create(c"test").unwrap();
        file.write_all(b"contents").unwrap();
        seal(&file).unwrap();
        assert!(file.set_len(0).is_err());
        assert!(file.write_all(b"more").is_err());
        assert_eq!(file.metadata().unwrap().len(), 8);
    }
}
