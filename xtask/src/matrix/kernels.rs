//! Which kernels: one cloud kernel of each Debian release, and the newest of the backports.

use std::cmp::Ordering;

use anyhow::{Result, bail};

/// The processor of a virtual machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Arch {
    /// x86-64.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl Arch {
    /// Debian's name.
    pub const fn debian(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// Rust's name of the target.
    pub const fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// The compiler of C programs for it.
    pub const fn cc(self) -> &'static str {
        match self {
            Self::Amd64 => "gcc",
            Self::Arm64 => "aarch64-linux-gnu-gcc",
        }
    }
}

/// A kernel of the matrix.
#[derive(Debug, PartialEq, Eq)]
pub struct Release {
    /// What `--kernel` and the logs call it.
    pub name: &'static str,
    /// The Debian suite that has it.
    pub suite: &'static str,
    /// How its version begins.
    pub series: &'static str,
}

/// Oldest first. The first is the oldest kernel that the agent supports.
pub const RELEASES: &[Release] = &[
    Release { name: "5.10", suite: "bullseye", series: "5.10." },
    Release { name: "6.1", suite: "bookworm", series: "6.1." },
    Release { name: "6.12", suite: "trixie", series: "6.12." },
    Release { name: "newest", suite: "trixie-backports", series: "" },
];

/// The releases that a `--kernel` list names, oldest first.
pub fn select(names: &[String]) -> Result<Vec<&'static Release>> {
    let wanted = |release: &Release, name: &str| match name {
        "all" => true,
        "oldest" => RELEASES.first() == Some(release),
        name => release.name == name,
    };
    for name in names {
        if !RELEASES.iter().any(|release| wanted(release, name)) {
            let known: Vec<_> = RELEASES.iter().map(|release| release.name).collect();
            bail!("no kernel {name}: there are {}, oldest, all", known.join(", "));
        }
    }
    Ok(RELEASES.iter().filter(|release| names.iter().any(|name| wanted(release, name))).collect())
}

/// The package with the newest kernel of a series among the names of all packages.
///
/// From 7.x on the image is in `linux-binary-*` and `linux-image-*` only leads to it.
pub fn newest_package<'a>(names: &'a str, series: &str, arch: Arch) -> Option<&'a str> {
    let version = |name: &'a str| {
        let (rest, binary) = match name.strip_prefix("linux-binary-") {
            Some(rest) => (rest, true),
            None => (name.strip_prefix("linux-image-")?, false),
        };
        let version = rest.strip_suffix(arch.debian())?.strip_suffix("-cloud-")?;
        // A meta-package's "version" is its series alone; deb11 kernels are rebuilds of newer ones.
        let concrete = version.matches('.').count() >= 2 && !version.contains("-0.deb");
        (concrete && version.starts_with(series)).then_some((version, binary))
    };
    names
        .lines()
        .filter_map(|name| Some((version(name)?, name)))
        .max_by(|((a, a_binary), _), ((b, b_binary), _)| {
            compare_versions(a, b).then(a_binary.cmp(b_binary))
        })
        .map(|(_, name)| name)
}

/// Compares two versions by their numbers: `6.1.0-47` is older than `6.12.9`.
fn compare_versions(a: &str, b: &str) -> Ordering {
    let numbers = |version: &str| -> Vec<u64> {
        version
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|number| number.parse().ok())
            .collect()
    };
    numbers(a).cmp(&numbers(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &str = "\
linux-image-5.10.0-30-cloud-amd64
linux-image-5.10.0-32-cloud-amd64-unsigned
linux-image-5.10.0-32-cloud-amd64
linux-image-5.10.0-9-cloud-amd64
linux-image-6.1-cloud-amd64
linux-image-6.1.0-0.deb11.52-cloud-amd64
linux-image-6.1.0-47-cloud-amd64
linux-image-6.1.0-50-cloud-arm64
linux-image-6.12.107+deb13-cloud-amd64
linux-image-6.12.90+deb12.1-cloud-amd64
linux-binary-7.3.4+deb13-cloud-amd64
linux-image-7.3.4+deb13-cloud-amd64
linux-image-6.12.107+deb13-cloud-amd64-dbg
";

    #[test]
    fn the_newest_package_of_each_series() {
        let newest = |series| newest_package(NAMES, series, Arch::Amd64);
        assert_eq!(newest("5.10."), Some("linux-image-5.10.0-32-cloud-amd64"));
        assert_eq!(newest("6.1."), Some("linux-image-6.1.0-47-cloud-amd64"));
        assert_eq!(newest("6.12."), Some("linux-image-6.12.107+deb13-cloud-amd64"));
        assert_eq!(newest(""), Some("linux-binary-7.3.4+deb13-cloud-amd64"));
        assert_eq!(newest("4.19."), None);
        assert_eq!(
            newest_package(NAMES, "", Arch::Arm64),
            Some("linux-image-6.1.0-50-cloud-arm64")
        );
    }

    #[test]
    fn names_select_releases_in_the_order_of_age() {
        let select = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            select(&names)
                .map(|releases| releases.iter().map(|release| release.name).collect::<Vec<_>>())
        };
        assert_eq!(select(&["newest", "oldest"]).unwrap(), ["5.10", "newest"]);
        assert_eq!(select(&["all"]).unwrap().len(), RELEASES.len());
        assert!(select(&["4.4"]).unwrap_err().to_string().contains("no kernel 4.4"));
    }
}
