//! Packs the guest's files into an initramfs: `cpio` in its `newc` form, not compressed.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// A file of the guest.
pub struct Item {
    /// Where it is here.
    pub from: PathBuf,
    /// Where it will be there, without the leading `/`.
    pub to: String,
}

/// Directories that the guest mounts something on, or needs to be there.
const DIRECTORIES: &[&str] = &["dev", "proc", "sys", "tmp", "guest", "root"];

/// Writes `image` with these files in it.
pub fn pack(items: &[Item], image: &Path) -> Result<()> {
    let tree = tempfile::tempdir()?;
    for directory in DIRECTORIES {
        fs::create_dir_all(tree.path().join(directory))?;
    }
    let mut names: Vec<String> = DIRECTORIES.iter().map(|name| (*name).to_owned()).collect();
    for item in items {
        fs::copy(&item.from, tree.path().join(&item.to))
            .with_context(|| format!("cannot copy {}", item.from.display()))?;
        names.push(item.to.clone());
    }
    let mut cpio = Command::new("cpio")
        .args(["--create", "--format=newc", "--quiet", "--owner=0:0"])
        .current_dir(tree.path())
        .stdin(Stdio::piped())
        .stdout(fs::File::create(image)?)
        .spawn()
        .context("cannot run cpio")?;
    if let Some(mut stdin) = cpio.stdin.take() {
        stdin.write_all(names.join("\n").as_bytes())?;
    }
    let status = cpio.wait()?;
    if !status.success() {
        bail!("cpio failed: {status}");
    }
    Ok(())
}
