//! An apt of our own: other suites than the machine's, and nothing that it does touches the system.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::sh;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A mirror and one of its suites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AptSource {
    uri: String,
    suite: String,
}

/// What the machine's own apt is set to.
pub struct MachineSources {
    /// The release that the machine runs.
    pub codename: String,
    /// Debian's suites that it takes packages from.
    pub sources: Vec<AptSource>,
}

impl MachineSources {
    /// Asks the machine's apt.
    pub fn read() -> Result<Self> {
        let release = fs::read_to_string("/etc/os-release")?;
        let codename =
            release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).context(
                "the matrix takes its kernels from Debian: /etc/os-release names no release",
            )?;
        let targets = sh::output(
            Command::new("apt-get")
                .args(["indextargets", "--format", "$(REPO_URI) $(RELEASE)"])
                .args(["Created-By: Packages", "Component: main", "Origin: Debian"]),
        )?;
        let mut sources = Vec::new();
        for line in targets.lines() {
            let Some((uri, suite)) = line.split_once(' ') else { continue };
            let source = AptSource { uri: uri.to_owned(), suite: suite.to_owned() };
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        let own = sources.iter().any(|source| source.suite == codename);
        ensure!(own, "apt on this machine has no source for {codename} main: run apt-get update");
        Ok(Self { codename: codename.to_owned(), sources })
    }

    /// Other suites of the mirror that has this machine's release.
    pub fn with_suites(&self, suites: &[&str]) -> Vec<AptSource> {
        let own = self.sources.iter().find(|source| source.suite == self.codename);
        let uri = own.map_or("", |source| &source.uri);
        let source = |suite: &&str| AptSource { uri: uri.to_owned(), suite: (*suite).to_owned() };
        suites.iter().map(source).collect()
    }
}

/// An apt whose sources, state and cache are in one directory of ours.
pub struct PrivateApt {
    /// The directory.
    pub root: PathBuf,
}

impl PrivateApt {
    /// Prepares the directory; `status` says which packages count as installed.
    pub fn new(root: &Path, sources: &[AptSource], status: &Path) -> Result<Self> {
        for directory in ["sources.d", "state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(root.join(directory))?;
        }
        let line = |AptSource { uri, suite }: &AptSource| {
            format!("deb [signed-by={KEYRING}] {uri} {suite} main\n")
        };
        fs::write(root.join("sources.list"), sources.iter().map(line).collect::<String>())?;
        let shown = root.display();
        fs::write(
            root.join("apt.conf"),
            format!(
                "Dir::Etc::sourcelist \"{shown}/sources.list\";\n\
                 Dir::Etc::sourceparts \"{shown}/sources.d\";\n\
                 Dir::State \"{shown}/state\";\n\
                 Dir::State::status \"{}\";\n\
                 Dir::Cache \"{shown}/cache\";\n\
                 APT::Sandbox::User \"root\";\n\
                 APT::Architecture \"amd64\";\n\
                 APT::Architectures {{ \"amd64\"; \"arm64\"; }};\n",
                status.display()
            ),
        )?;
        Ok(Self { root: root.to_path_buf() })
    }

    /// Reads the lists of packages.
    pub fn update(&self) -> Result<()> {
        sh::run(self.command("apt-get").args(["update", "-qq"]))
    }

    /// Fetches one package (`name:arch`, `name:arch=version`) and unpacks it into a directory.
    pub fn download(&self, package: &str, into: &Path) -> Result<()> {
        sh::run(self.command("apt-get").args(["download", "-qq", package]).current_dir(into))?;
        for file in files_with_extension(into, "deb")? {
            unpack(&file, into)?;
        }
        Ok(())
    }

    /// A program of apt that works on this directory.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.root.join("apt.conf"));
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    }
}

/// Unpacks a package without installing it.
pub fn unpack(package: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    sh::run(Command::new("dpkg-deb").arg("-x").arg(package).arg(into))
}

/// Files of a directory by their extension, sorted.
pub fn files_with_extension(directory: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new(extension)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
