//! Programs that work alone.

use std::io::pipe;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::inputs;
use super::{Debian, Work};

const fn alone(name: &'static str, start: fn(&mut Work) -> Result<PathBuf>) -> Debian {
    Debian { name, processes: 1, start }
}

/// `openssl speed`, with an algorithm for each process: mostly assembly of libcrypto.
pub const OPENSSL: Debian = Debian {
    name: "openssl",
    processes: ALGORITHMS.len(),
    start: |work| {
        for algorithm in ALGORITHMS {
            let args = ["speed", "-seconds", "300", "-bytes", "1024", algorithm];
            work.spawn(Command::new("/usr/bin/openssl").args(args))?;
        }
        Ok("/usr/bin/openssl".into())
    },
};

const ALGORITHMS: [&str; 4] = ["sha256", "aes-256-cbc", "rsa2048", "ecdsap256"];

/// gzip, fed with text.
pub const GZIP: Debian = alone("gzip", |work| compress(work, "/usr/bin/gzip", &["-9", "-c"]));

/// xz, fed with text.
pub const XZ: Debian = alone("xz", |work| compress(work, "/usr/bin/xz", &["-T1", "-4", "-c"]));

fn compress(work: &mut Work, program: &str, args: &[&str]) -> Result<PathBuf> {
    let (reader, writer) = pipe()?;
    inputs::feed(writer);
    work.spawn_with_input(Command::new(program).args(args).stdin(reader))?;
    Ok(program.into())
}

/// gcc's compiler itself, with a large file.
pub const CC1: Debian = alone("cc1", |work| {
    let source = work.directory().join("large.c");
    inputs::c_file(&source, 20_000)?;
    let asked = Command::new("gcc").arg("-print-prog-name=cc1").output().context("no gcc")?;
    let cc1 = PathBuf::from(String::from_utf8(asked.stdout)?.trim());
    work.spawn(Command::new(&cc1).args(["-quiet", "-O2", "-o", "/dev/null"]).arg(source))?;
    Ok(cc1)
});

/// perl, with regular expressions, sorting and short pauses.
pub const PERL: Debian = alone("perl", |work| {
    const SCRIPT: &str = r#"
        sub walk { my ($n, @l) = @_; return $n ? walk($n - 1, sort { $a <=> $b } @l) : scalar @l }
        while (1) {
            my %seen; my $text = join " ", map { ($_ * 7919) % 1000 } 1 .. 500;
            $seen{$1}++ while $text =~ /(\d+?)(?=\s|$)/g;
            my @sorted = sort { $seen{$a} <=> $seen{$b} || $a cmp $b } keys %seen;
            my $packed = pack("N*", @sorted); my @back = unpack("N*", $packed);
            walk(20, @back); select(undef, undef, undef, 0.0005);
        }"#;
    work.spawn(Command::new("/usr/bin/perl").args(["-e", SCRIPT]))?;
    Ok("/usr/bin/perl".into())
});

/// CPython, with its C modules, recursion and short pauses.
pub const PYTHON: Debian = alone("python3.11", |work| {
    const SCRIPT: &str = "
import json, re, time, hashlib, zlib
def walk(tree, depth):
    return sum(walk(child, depth + 1) for child in tree['children']) + len(sorted(tree['keys']))
def make(depth):
    children = [make(depth - 1) for _ in range(2)] if depth else []
    return {'keys': [str(n * 7919 % 1000) for n in range(60)], 'children': children}
tree = make(6)
while True:
    text = json.dumps(tree)
    walk(json.loads(text), 0)
    re.sub(r'(\\d+)(?=\")', lambda m: m.group(1)[::-1], text[:20000])
    hashlib.sha256(zlib.compress(text.encode()[:50000])).hexdigest()
    time.sleep(0.0005)
";
    work.spawn(Command::new("/usr/bin/python3.11").args(["-I", "-c", SCRIPT]))?;
    Ok("/usr/bin/python3.11".into())
});

/// `git log` with patches, and a search for copies.
pub const GIT_LOG: Debian = alone("git log", |work| {
    repository(work)?;
    let args = ["log", "-p", "--stat", "-C", "--find-copies-harder", "-l0", "main"];
    work.spawn(git().args(args))?;
    Ok(git_file())
});

/// `git grep` through all of a history, with threads.
pub const GIT_GREP: Debian = alone("git grep", |work| {
    repository(work)?;
    let revisions = git().args(["rev-list", "main"]).current_dir(work.directory()).output()?;
    let revisions = String::from_utf8(revisions.stdout)?;
    let pattern = ["-c", "grep.threads=2", "grep", "-E", "(the|stack)[0-9a-f]{2,3} .*(7f|a0) the1"];
    work.spawn(git().args(pattern).args(revisions.lines()))?;
    Ok(git_file())
});

/// What `git gc` does for most of its time.
pub const GIT_REPACK: Debian = alone("git repack", |work| {
    repository(work)?;
    let objects = ["pack-objects", "--all", "--stdout", "--no-reuse-delta", "--threads=2", "-q"];
    work.spawn(git().args(objects).args(["--window=3000", "--depth=50"]))?;
    Ok(git_file())
});

fn git() -> Command {
    let mut git = Command::new(git_file());
    git.env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", "/nonexistent").env("GIT_PAGER", "cat");
    git
}

fn git_file() -> PathBuf {
    "/usr/bin/git".into()
}

/// A repository with a long history.
fn repository(work: &Work) -> Result<()> {
    let stream = work.directory().join("history");
    inputs::history(&stream, 1500)?;
    work.run(git().args(["init", "--quiet", "--initial-branch=main", "."]))?;
    let stream = std::fs::File::open(stream)?;
    let mut import = git();
    import.args(["fast-import", "--quiet"]).current_dir(work.directory()).stdin(stream);
    anyhow::ensure!(import.stdout(Stdio::null()).status()?.success(), "git fast-import failed");
    Ok(())
}

/// Node: its compiled code keeps frame pointers, and is named by a file that it writes.
pub const NODE: Debian = alone("node", |work| {
    const SCRIPT: &str = "
function leaf(n) { let x = n; for (let i = 0; i < 2000; i++) x = (x * 31 + i) | 0; return x; }
function descend(depth, n) { return depth ? descend(depth - 1, n) + 1 : leaf(n); }
let sum = 0;
function round() { for (let n = 0; n < 2000; n++) sum += descend(20, n); setImmediate(round); }
round();";
    let file = PathBuf::from("/usr/bin/node");
    work.spawn(Command::new(&file).args(["--perf-basic-prof", "-e", SCRIPT]))?;
    Ok(file)
});
