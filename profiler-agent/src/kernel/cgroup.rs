//! From the path of a cgroup to what the programs compare: its id and its depth.
//!
//! The id is the inode number of the directory in the v2 hierarchy. The programs ask for the ancestor
//! at one depth, counted from the hierarchy's real root.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use profiler_common::settings::CgroupFilter;

use super::error::KernelError;

/// Inode number of the root of every cgroup hierarchy; that of a cgroup namespace has another.
const ROOT_INODE: u64 = 1;

/// What the programs compare to find a thread in this cgroup or below it.
pub fn filter(path: &Path) -> Result<CgroupFilter, KernelError> {
    let no = |reason: String| KernelError::Cgroup { path: path.to_owned(), reason };
    let directory = path.canonicalize().map_err(|e| no(e.to_string()))?;
    let metadata = directory.metadata().map_err(|e| no(e.to_string()))?;
    if !metadata.is_dir() {
        return Err(no("it is not a directory".to_owned()));
    }
    if !is_v2(&directory) {
        return Err(no(format!("it is not in the v2 hierarchy{}", hint())));
    }
    let root = directory.ancestors().take_while(|a| is_v2(a)).last().unwrap_or(&directory);
    let root_inode = root.metadata().map_err(|e| no(e.to_string()))?.ino();
    if root_inode != ROOT_INODE {
        return Err(no("the agent runs in a cgroup namespace and does not see how deep it lies: run \
                       the agent in the host's (--cgroupns=host, or hostPID and a mounted /sys/fs/cgroup)"
            .to_owned()));
    }
    let depth = directory.components().count().saturating_sub(root.components().count());
    let level = u32::try_from(depth).map_err(|_| no("it lies too deep".to_owned()))?;
    Ok(CgroupFilter { id: metadata.ino(), level, _pad: 0 })
}

fn is_v2(path: &Path) -> bool {
    statfs(path).is_ok_and(|s| s.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

/// Where the v2 hierarchy is mounted.
pub fn mount_point() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, path, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(path))
    })
}

fn hint() -> String {
    mount_point().map_or_else(
        || ", which is not mounted: mount -t cgroup2 none /sys/fs/cgroup".to_owned(),
        |path| format!(": give a directory below {}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_of_the_hierarchy_has_depth_0() {
        let mount = mount_point().expect("this test needs a mounted v2 hierarchy");
        let root = filter(&mount).unwrap();
        assert_eq!((root.id, root.level), (ROOT_INODE, 0));
    }

    #[test]
    fn what_is_no_cgroup_is_refused_with_a_hint() {
        for (path, hint) in [
            ("/proc", "below /"),
            ("/no/such/path", "No such file"),
            ("/proc/self/status", "not a directory"),
        ] {
            let error = filter(Path::new(path)).unwrap_err().to_string();
            assert!(error.contains(path) && error.contains(hint), "{error}");
        }
    }
}
