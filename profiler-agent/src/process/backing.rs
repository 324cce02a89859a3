//! What stands behind an executable mapping, by the name that the kernel gave it.

/// The kernel's mark on the path of a file that has no name any more.
const DELETED: &[u8] = b" (deleted)";

/// What stands behind a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backing<'a> {
    /// A file with a path.
    File(&'a [u8]),
    /// A file that lost this path, by unlinking or replacing it.
    Deleted(&'a [u8]),
    /// A memory file (`memfd_create`): `/memfd:` and the name that its maker gave it.
    Memfd(&'a [u8]),
    /// The kernel's vDSO.
    Vdso,
    /// Memory without a file: code that the process itself made.
    Anonymous,
}

impl<'a> Backing<'a> {
    /// Judges the path of a mapping, as `/proc/PID/maps` or a side-band record tells it.
    pub(super) fn of(path: &'a [u8]) -> Self {
        // What has no file: `[heap]`, `[stack]`, `[anon:name]`, `[vsyscall]`, `//anon` of the
        // side-band; and files that stand for memory: shared anonymous memory, System V segments,
        // huge pages, `anon_inode:[...]`.
        const MEMORY: &[&[u8]] =
            &[b"[", b"//anon", b"/anon_hugepage", b"anon_inode:", b"/anon_inode:", b"/SYSV"];
        if path == b"[vdso]" {
            return Self::Vdso;
        }
        let (name, deleted) = match path.strip_suffix(DELETED) {
            Some(name) => (name, true),
            None => (path, false),
        };
        let is_memory = name.is_empty()
            || name == b"/dev/zero"
            || MEMORY.iter().any(|prefix| name.starts_with(prefix));
        match () {
            () if is_memory => Self::Anonymous,
            () if name.starts_with(b"/memfd:") => Self::Memfd(name),
            () if deleted => Self::Deleted(name),
            () => Self::File(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judged_by_its_name() {
        use Backing::*;
        for (path, want) in [
            (&b"/usr/bin/cat"[..], File(b"/usr/bin/cat")),
            (b"/usr/bin/cat (deleted)", Deleted(b"/usr/bin/cat")),
            (
                b"/memfd:runc_cloned:/proc/self/exe (deleted)",
                Memfd(b"/memfd:runc_cloned:/proc/self/exe"),
            ),
            (b"[vdso]", Vdso),
            (b"[vsyscall]", Anonymous),
            (b"[heap]", Anonymous),
            (b"[stack]", Anonymous),
            (b"[anon:v8]", Anonymous),
            (b"[uprobes]", Anonymous),
            (b"", Anonymous),
            (b"//anon", Anonymous),
            (b"/dev/zero (deleted)", Anonymous),
            (b"/dev/zero", Anonymous),
            (b"/dev/zeroes", File(b"/dev/zeroes")),
            (b"/SYSV00000000 (deleted)", Anonymous),
            (b"/anon_hugepage (deleted)", Anonymous),
            (b"anon_inode:[io_uring]", Anonymous),
            (b" (deleted)", Anonymous),
            (b"//toolong", File(b"//toolong")),
            (b"/tmp/two\nlines", File(b"/tmp/two\nlines")),
        ] {
            assert_eq!(Backing::of(path), want, "{:?}", path.escape_ascii());
        }
    }
}
