//! What a committed object was made of, and whether that is still so.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::toolchain::Versions;
use crate::sh;

/// The file beside the object. All hashes are SHA-256, in hex.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Of the sources: names and contents.
    sources: String,
    /// Of the object.
    object: String,
    /// What compiled it.
    pub toolchain: Versions,
}

const HEAD: &str =
    "# Written by `cargo xtask build-ebpf`, checked by `cargo xtask build-ebpf --check`.\n";

impl Manifest {
    /// Of an object that was just made.
    pub fn new(object: &[u8], toolchain: Versions) -> Result<Self> {
        Ok(Self {
            sources: sources(&sh::workspace())?,
            object: hex(Sha256::digest(object)),
            toolchain,
        })
    }

    /// From the text of the file.
    pub fn from_toml(text: &str) -> Result<Self> {
        toml::from_str(text).context("the manifest of the BPF object cannot be read")
    }

    /// The text of the file.
    pub fn to_toml(&self) -> Result<String> {
        Ok(format!("{HEAD}{}", toml::to_string(self)?))
    }

    /// Fails when the object, or the sources in the work tree, are others.
    pub fn verify(&self, object: &[u8]) -> Result<()> {
        if hex(Sha256::digest(object)) != self.object {
            bail!("the BPF object is not the one that its manifest describes");
        }
        if sources(&sh::workspace())? != self.sources {
            bail!("the BPF object is stale: its sources have changed since it was compiled");
        }
        Ok(())
    }
}

/// The hash of everything that the object is compiled from.
fn sources(workspace: &Path) -> Result<String> {
    let mut files = Vec::new();
    for directory in ["profiler-ebpf/src", "profiler-common/src"] {
        collect(&workspace.join(directory), &mut files)?;
    }
    for file in
        ["profiler-ebpf/Cargo.toml", "profiler-ebpf/Cargo.lock", "profiler-common/Cargo.toml"]
    {
        files.push(workspace.join(file));
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let name = file.strip_prefix(workspace)?.to_string_lossy().into_owned();
        let content = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        for part in [name.as_bytes(), &content] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    Ok(hex(hash.finalize()))
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let versions = Versions { compiler: "rustc 1".into(), linker: "bpf-linker 2".into() };
        Manifest::new(b"object", versions).unwrap()
    }

    #[test]
    fn survives_its_file() {
        let manifest = manifest();
        assert_eq!(Manifest::from_toml(&manifest.to_toml().unwrap()).unwrap(), manifest);
    }

    #[test]
    fn tells_a_changed_object_and_changed_sources() {
        let mut manifest = manifest();
        manifest.verify(b"object").unwrap();
        assert!(manifest.verify(b"another").unwrap_err().to_string().contains("not the one"));
        manifest.sources = hex([0; 32]);
        assert!(manifest.verify(b"object").unwrap_err().to_string().contains("stale"));
    }
}
