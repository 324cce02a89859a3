//! The small files of `/proc/PID`, parsed: `status` and `cgroup`.

use super::container::Container;
use super::text::printable;

/// What is needed of `/proc/PID/status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    /// Process id (thread group), in our namespace.
    pub(super) pid: u32,
    /// Process id in the innermost pid namespace: the one that the process itself knows.
    pub(super) inner_pid: u32,
    /// Real, effective, saved and file-system user id.
    pub(super) uids: Vec<u32>,
}

impl Status {
    /// Parses the file; `None` where it has no process id.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let pid = *numbers(text, b"Tgid:").first()?;
        // Kernels without pid namespaces have no such line.
        let inner_pid = numbers(text, b"NSpid:").last().copied().unwrap_or(pid);
        Some(Self { pid, inner_pid, uids: numbers(text, b"Uid:") })
    }
}

/// The numbers on the line that begins with `key`. The name of the process, on the first line, cannot
/// pretend to be one: the kernel escapes its newlines.
fn numbers(text: &[u8], key: &[u8]) -> Vec<u32> {
    text.split(|b| *b == b'\n')
        .find_map(|line| line.strip_prefix(key))
        .and_then(|rest| std::str::from_utf8(rest).ok())
        .map(|rest| rest.split_ascii_whitespace().map_while(|n| n.parse().ok()).collect())
        .unwrap_or_default()
}

/// A cgroup as `/proc/PID/cgroup` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cgroup {
    /// Its path, printable.
    pub(super) path: String,
    /// Whether it is a path of the v2 hierarchy: the one whose ids samples carry.
    pub(super) v2: bool,
}

impl Cgroup {
    /// Parses the file: the path that says in which container the process is, for on a host with both versions
    /// some runtimes set up only one of them. Else the path in the v2 hierarchy; where that is the root for
    /// everyone, the path that systemd or else the first controller has.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let lines: Vec<(&[u8], &[u8])> =
            text.split(|b| *b == b'\n').filter_map(split_line).collect();
        let v2 = || lines.iter().filter(|(name, _)| name.is_empty());
        let systemd = || lines.iter().filter(|(name, _)| *name == b"name=systemd");
        let ordered = || v2().chain(systemd()).chain(&lines);
        let says_container = |(_, path): &&(&[u8], &[u8])| {
            str::from_utf8(path).is_ok_and(|path| Container::of(path).is_some())
        };
        let below_root = |(_, path): &&(&[u8], &[u8])| *path != b"/";
        let (name, path) = (ordered().find(says_container))
            .or_else(|| ordered().find(below_root))
            .or_else(|| ordered().next())?;
        Some(Self { path: printable(path), v2: name.is_empty() })
    }
}

/// `NUMBER:CONTROLLERS:PATH` → controllers and path. A path may contain colons.
fn split_line(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut fields = line.splitn(3, |b| *b == b':');
    let _number = fields.next()?;
    let (controllers, path) = (fields.next()?, fields.next()?);
    Some((controllers, path.strip_suffix(b" (deleted)").unwrap_or(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_of_a_process_in_two_namespaces() {
        let text =
            b"Name:\tTgid: 5\\nx\nTgid:\t4711\nUid:\t1000\t0\t1000\t1000\nNSpid:\t4711\t12\t3\n";
        let want = Status { pid: 4711, inner_pid: 3, uids: vec![1000, 0, 1000, 1000] };
        assert_eq!(Status::parse(text), Some(want));
    }

    #[test]
    fn hostile_status() {
        for (text, want) in [
            (&b""[..], None),
            (b"Tgid:\n", None),
            (b"Tgid:\t-1\n", None),
            (b"Tgid:\t99999999999\n", None),
            (b"\xff\nTgid:\t\xff\n", None),
            (b"Tgid:\t1", Some(Status { pid: 1, inner_pid: 1, uids: vec![] })),
        ] {
            assert_eq!(Status::parse(text), want, "{:?}", text.escape_ascii());
        }
    }

    #[test]
    fn the_cgroup_that_says_most() {
        for (text, want) in [
            ("0::/system.slice/a.service\n", Some(("/system.slice/a.service", true))),
            ("0::/\n", Some(("/", true))),
            ("9:name=systemd:/\n8:memory:/m\n0::/x:y\n", Some(("/x:y", true))),
            ("8:memory:/m\n9:name=systemd:/docker/1\n0::/\n", Some(("/docker/1", false))),
            ("9:name=systemd:/\n8:memory:/m\n0::/\n", Some(("/m", false))),
            ("9:name=systemd:/\n8:memory:/\n", Some(("/", false))),
            ("0::/gone.scope (deleted)\n", Some(("/gone.scope", true))),
            ("9:name=systemd:/lxc.payload.a\n0::/b\n", Some(("/lxc.payload.a", false))),
            ("0::/a\u{1b}[2J\n", Some(("/a\u{fffd}[2J", true))),
            ("", None),
            ("junk\n:\n", None),
        ] {
            let got = Cgroup::parse(text.as_bytes());
            assert_eq!(got.as_ref().map(|c| (c.path.as_str(), c.v2)), want, "{text:?}");
        }
    }
}
