//! Fetches kernels and QEMU from Debian, beside the system: an apt of its own with other suites.
//!
//! The mirror is the one that the machine's own apt uses; nothing is installed. What was unpacked
//! stays in the cache, since suites drop old kernels.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::kernels::{self, Arch, RELEASES, Release};
use crate::sh;

/// The QEMU that boots the machines.
pub struct Qemu {
    /// Where its packages were unpacked.
    root: PathBuf,
}

impl Qemu {
    /// A command for the emulator of one processor, with its libraries and firmware.
    pub fn command(&self, arch: Arch) -> Command {
        let program = match arch {
            Arch::Amd64 => "qemu-system-x86_64",
            Arch::Arm64 => "qemu-system-aarch64",
        };
        let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"]
            .map(|directory| self.root.join(directory));
        let mut command = Command::new(self.root.join("usr/bin").join(program));
        command.env("LD_LIBRARY_PATH", std::env::join_paths(libraries).unwrap_or_default());
        for share in ["qemu", "seabios", "ipxe-qemu"] {
            command.arg("-L").arg(self.root.join("usr/share").join(share));
        }
        command.arg("-L").arg(self.root.join("usr/lib/ipxe/qemu"));
        command
    }
}

/// QEMU 10 or later: the 7.2 of Debian 12 crashes guests that patch tracepoints.
pub fn qemu(cache: &Path) -> Result<Qemu> {
    let root = cache.join("qemu");
    if root.join("usr/bin/qemu-system-x86_64").is_file() {
        return Ok(Qemu { root });
    }
    let own = MachineSources::read()?;
    let suites = match own.codename.as_str() {
        "bookworm" => vec!["bookworm", "bookworm-backports"],
        other => vec![other],
    };
    let apt = PrivateApt::new(
        &cache.join("apt-qemu"),
        &own.uri,
        &suites,
        Path::new("/var/lib/dpkg/status"),
    )?;
    apt.update()?;
    let target = suites.last().copied().unwrap_or_default();
    sh::run(
        apt.command("apt-get")
            .args(["install", "--download-only", "--yes", "-qq", "--no-install-recommends"])
            .args(["-t", target, "qemu-system-x86", "qemu-system-arm"]),
    )?;
    let partial = cache.join("qemu.partial");
    for package in files_with_extension(&apt.root.join("cache/archives"), "deb")? {
        unpack(&package, &partial)?;
    }
    fs::rename(&partial, &root)?;
    Ok(Qemu { root })
}

/// The kernel image of a release: from the cache, or fetched into it.
pub fn kernel(cache: &Path, release: &Release, arch: Arch, refresh: bool) -> Result<PathBuf> {
    let place = cache.join("kernels").join(arch.debian()).join(release.name);
    if !refresh && let Some(found) = image_in(&place) {
        return Ok(found);
    }
    let own = MachineSources::read()?;
    let suites: Vec<&str> = RELEASES.iter().map(|release| release.suite).collect();
    // An empty status file: nothing is "installed" there, so every architecture can be fetched.
    let status = cache.join("no-packages");
    fs::write(&status, "")?;
    let apt = PrivateApt::new(&cache.join("apt-kernels"), &own.uri, &suites, &status)?;
    apt.update()?;
    let names = sh::output(apt.command("apt-cache").args(["pkgnames", "linux-"]))?;
    let package = kernels::newest_package(&names, release.series, arch)
        .with_context(|| format!("{} has no cloud kernel {}", release.suite, release.name))?;
    let scratch = tempfile::tempdir_in(cache)?;
    sh::run(
        apt.command("apt-get")
            .args(["download", "-qq"])
            .arg(format!("{package}:{}", arch.debian()))
            .current_dir(scratch.path()),
    )?;
    for package in files_with_extension(scratch.path(), "deb")? {
        unpack(&package, scratch.path())?;
    }
    // 7.x keeps the image beside its modules.
    let image = image_in(&scratch.path().join("boot"))
        .or_else(|| image_in(&only_child(&scratch.path().join("usr/lib/modules"))?))
        .with_context(|| format!("{package} has no kernel image"))?;
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place)?;
    let kept = place.join(format!("vmlinuz-{package}"));
    fs::copy(&image, &kept)?;
    Ok(kept)
}

/// What the machine's own apt is set to.
struct MachineSources {
    uri: String,
    codename: String,
}

impl MachineSources {
    fn read() -> Result<Self> {
        let release = fs::read_to_string("/etc/os-release")?;
        let codename =
            release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).context(
                "the matrix takes its kernels from Debian: /etc/os-release names no release",
            )?;
        let targets = sh::output(
            Command::new("apt-get")
                .args(["indextargets", "--format", "$(REPO_URI) $(RELEASE)"])
                .args(["Created-By: Packages", "Component: main"]),
        )?;
        let uri = targets.lines().find_map(|line| {
            let (uri, suite) = line.split_once(' ')?;
            (suite == codename).then_some(uri)
        });
        let Some(uri) = uri else {
            bail!("apt on this machine has no source for {codename} main");
        };
        Ok(Self { uri: uri.to_owned(), codename: codename.to_owned() })
    }
}

/// An apt whose sources, state and cache are in one directory of ours.
struct PrivateApt {
    root: PathBuf,
}

impl PrivateApt {
    fn new(root: &Path, uri: &str, suites: &[&str], status: &Path) -> Result<Self> {
        for directory in ["sources.d", "state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(root.join(directory))?;
        }
        let sources: String = suites
            .iter()
            .map(|suite| format!("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {uri} {suite} main\n"))
            .collect();
        fs::write(root.join("sources.list"), sources)?;
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

    fn update(&self) -> Result<()> {
        sh::run(self.command("apt-get").args(["update", "-qq"]))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("APT_CONFIG", self.root.join("apt.conf"))
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    }
}

fn unpack(package: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    sh::run(Command::new("dpkg-deb").arg("-x").arg(package).arg(into))
}

fn image_in(directory: &Path) -> Option<PathBuf> {
    fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path())).find(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"))
    })
}

fn only_child(directory: &Path) -> Option<PathBuf> {
    fs::read_dir(directory).ok()?.find_map(|entry| Some(entry.ok()?.path()))
}

fn files_with_extension(directory: &Path, extension: &str) -> Result<Vec<PathBuf>> {
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
