//! Which file systems are local: those that answer whatever happens elsewhere.

use std::collections::HashMap;

use super::procfs::Procfs;
use crate::model::event::{Mmap, MmapId};

/// Devices that are remembered, at most.
const MAX_DEVICES: usize = 1024;

/// File systems without a block device of their own that are local all the same: in memory, made of others,
/// or with several devices.
const LOCAL: &[&str] = &[
    "bcachefs",
    "bpf",
    "btrfs",
    "devtmpfs",
    "hugetlbfs",
    "overlay",
    "proc",
    "ramfs",
    "rootfs",
    "sysfs",
    "tmpfs",
    "zfs",
];

/// What is known of file systems.
#[derive(Debug)]
pub(super) struct Mounts {
    procfs: Procfs,
    /// Devices, and whether they are local.
    devices: HashMap<(u32, u32), bool>,
}

/// A line of `mountinfo` (see proc_pid_mountinfo(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mount<'a> {
    device: (u32, u32),
    /// Where it is mounted, with octal escapes.
    point: &'a str,
    is_local: bool,
}

impl Mounts {
    /// Asks this procfs.
    pub(super) fn new(procfs: Procfs) -> Self {
        Self { procfs, devices: HashMap::new() }
    }

    /// Whether the file behind a mapping lies on a local file system. Where no mount tells, it does if it is
    /// on a block device.
    pub(super) fn is_local(&mut self, mmap: &Mmap) -> bool {
        let (major, minor) = match mmap.id {
            MmapId::Inode { major, minor, .. } => (major, minor),
            MmapId::BuildId(_) => {
                let text = self.text(mmap.pid);
                return mounts(&text)
                    .filter(|mount| mount.holds(&mmap.path))
                    .max_by_key(Mount::depth)
                    .is_some_and(|mount| mount.is_local);
            }
        };
        if let Some(is_local) = self.devices.get(&(major, minor)) {
            return *is_local;
        }
        if self.devices.len() >= MAX_DEVICES {
            self.devices.clear();
        }
        for pid in [mmap.pid, std::process::id()] {
            let text = self.text(pid);
            self.devices.extend(mounts(&text).map(|mount| (mount.device, mount.is_local)));
        }
        *self.devices.entry((major, minor)).or_insert(major != 0)
    }

    /// What is mounted where a process lives, or where the agent does.
    fn text(&self, pid: u32) -> Vec<u8> {
        let read = |pid| self.procfs.process(pid).and_then(|dir| dir.mounts()).ok();
        let of_process = read(pid).filter(|text| !text.is_empty());
        of_process.or_else(|| read(std::process::id())).unwrap_or_default()
    }
}

impl Mount<'_> {
    /// Whether a path lies below it.
    fn holds(&self, path: &[u8]) -> bool {
        let point = self.point.trim_end_matches('/').as_bytes();
        path.strip_prefix(point).is_some_and(|rest| rest.first() == Some(&b'/'))
    }

    fn depth(&self) -> usize {
        self.point.len()
    }
}

fn mounts(text: &[u8]) -> impl Iterator<Item = Mount<'_>> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let (before, after) = str::from_utf8(line).ok()?.split_once(" - ")?;
        let mut fields = before.split(' ').skip(2);
        let (major, minor) = fields.next()?.split_once(':')?;
        let device: (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
        let (_root, point) = (fields.next()?, fields.next()?);
        let kind = after.split(' ').next()?;
        let is_local = LOCAL.contains(&kind) || (device.0 != 0 && !kind.starts_with("fuse"));
        Some(Mount { device, point, is_local })
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const TEXT: &[u8] = b"\
        22 1 254:0 / / rw,relatime - ext4 /dev/root rw\n\
        30 22 0:26 / /run rw,nosuid shared:5 - tmpfs tmpfs rw\n\
        31 22 0:40 / /mnt/far rw - nfs4 server:/export rw\n\
        32 22 0:41 / /home/u/doc rw - fuse.portal portal rw\n\
        33 22 8:17 / /ntfs rw - fuseblk /dev/sdb1 rw\n\
        34 22 0:50 / /mnt/far/near rw - overlay overlay rw\n\
        a line that is none\n";

    #[test]
    fn a_file_system_is_local_by_its_kind() {
        let found: Vec<_> = mounts(TEXT).map(|mount| (mount.point, mount.is_local)).collect();
        let expected = [
            ("/", true),
            ("/run", true),
            ("/mnt/far", false),
            ("/home/u/doc", false),
            ("/ntfs", false),
            ("/mnt/far/near", true),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_path_lies_in_the_deepest_mount_that_holds_it() {
        for (path, point) in [
            ("/usr/bin/a", "/"),
            ("/running/a", "/"),
            ("/mnt/far/a", "/mnt/far"),
            ("/mnt/far/near/a", "/mnt/far/near"),
        ] {
            let holding = mounts(TEXT).filter(|mount| mount.holds(path.as_bytes()));
            assert_eq!(holding.max_by_key(Mount::depth).map(|mount| mount.point), Some(point));
        }
    }

    #[test]
    fn what_no_mount_tells_is_local_with_a_block_device() {
        let mut mounts = Mounts::new(Procfs::new(PathBuf::from("/proc")));
        let mut is_local = |major, minor| {
            let id = MmapId::Inode { major, minor, inode: 1, generation: 0 };
            let pid = std::process::id();
            let (start, len, path) = (0, 0, Vec::new());
            mounts.is_local(&Mmap { time_ns: 0, pid, start, len, file_offset: 0, id, path })
        };
        assert!(is_local(4000, 1));
        assert!(!is_local(0, 1 << 19));
    }
}
