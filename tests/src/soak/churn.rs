//! All that comes and goes on a host: processes by the hundred, binaries that nobody has seen before,
//! containers, and threads.
//!
//! A binary is a copy of [`RESTLESS`] with another build ID and other names of its functions: whoever
//! remembers binaries, tables or names by what is in them remembers one more. Every other one runs in a
//! container: a cgroup, and namespaces of mounts and processes, with a root of its own.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::program::{Program, StormTruth};
use crate::wait;
use crate::workload::{NOTHING, RESTLESS, STORM};

/// New processes a second.
const PROCESSES: &str = "100";

/// So long the storm of processes is one program.
const ROUND_SECONDS: &str = "4";

/// How long a binary lives, in seconds.
const LIFE_SECONDS: &str = "1";

/// Binaries that live at the same time.
const AT_ONCE: u64 = 2;

/// So long a new binary may be busy.
const BUSY: Duration = Duration::from_secs(10);

/// The digits in the names of [`RESTLESS`].
const DIGITS: &[u8] = b"_00000000";

/// The head of a note with a build ID: the sizes of its name and of the ID, its type, its name.
const BUILD_ID: &[u8] = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0";

/// What came and went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Churned {
    /// Processes that ended at once.
    pub processes: u64,
    /// Binaries, each with threads by the dozen.
    pub binaries: u64,
    /// The part of them that ran in containers.
    pub containers: u64,
}

impl fmt::Display for Churned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processes, binaries, containers } = self;
        write!(
            f,
            "{processes} processes and {binaries} new binaries came and went, {containers} in containers"
        )
    }
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    processes: AtomicU64,
    binaries: AtomicU64,
    containers: AtomicU64,
}

/// The churn, until it is stopped.
#[derive(Debug)]
pub struct Churn {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<()>>>,
    /// Where binaries and the roots of containers are.
    _directory: tempfile::TempDir,
}

impl Churn {
    /// Starts it.
    ///
    /// # Errors
    /// Where a program cannot be built.
    pub fn start() -> Result<Self> {
        let (nothing, template) = (NOTHING.build()?, fs::read(RESTLESS.build()?)?);
        STORM.build()?;
        let (shared, template) = (Arc::<Shared>::default(), Arc::new(template));
        let directory = tempfile::tempdir()?;
        let storm = Arc::clone(&shared);
        let mut threads = vec![std::thread::spawn(move || storms(&storm, &nothing))];
        for lane in 0..AT_ONCE {
            let (shared, template) = (Arc::clone(&shared), Arc::clone(&template));
            let directory = directory.path().to_owned();
            threads
                .push(std::thread::spawn(move || binaries(&shared, &template, &directory, lane)));
        }
        Ok(Self { shared, threads, _directory: directory })
    }

    /// Whether all of it is still at work. Where it is not, [`Self::stop`] says why.
    pub fn is_whole(&self) -> bool {
        !self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Ends it, and waits for all that it started.
    ///
    /// # Errors
    /// Where something of it failed.
    pub fn stop(mut self) -> Result<Churned> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().ok().context("the churn panicked")??;
        }
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Shared { processes, binaries, containers, .. } = &*self.shared;
        Ok(Churned {
            processes: count(processes),
            binaries: count(binaries),
            containers: count(containers),
        })
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        // What was started ends by itself, within seconds; its files are needed until then.
        self.shared.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn storms(shared: &Shared, nothing: &Path) -> Result<()> {
    let nothing = nothing.to_str().context("a path that is no text")?;
    while !shared.stop.load(Ordering::Relaxed) {
        let storm = Program::start(&STORM, &["1000000", PROCESSES, ROUND_SECONDS, nothing])?;
        let truth: StormTruth = storm.truth()?;
        shared.processes.fetch_add(truth.programs, Ordering::Relaxed);
    }
    Ok(())
}

/// One binary after the other, every other one in a container.
fn binaries(shared: &Shared, template: &[u8], directory: &Path, lane: u64) -> Result<()> {
    let mut number = lane;
    while !shared.stop.load(Ordering::Relaxed) {
        let path = directory.join(format!("restless-{number}"));
        fs::write(&path, variant(template, number))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        if (number / AT_ONCE).is_multiple_of(2) {
            run(Command::new(&path).arg(LIFE_SECONDS))?;
        } else {
            Container::make(directory, number)?.run(&path)?;
            shared.containers.fetch_add(1, Ordering::Relaxed);
        }
        fs::remove_file(&path)?;
        shared.binaries.fetch_add(1, Ordering::Relaxed);
        number += AT_ONCE;
    }
    Ok(())
}

/// A program like the template, with a build ID and names of functions that no other number has.
fn variant(template: &[u8], number: u64) -> Vec<u8> {
    let mut bytes = template.to_vec();
    let digits = format!("_{number:08}");
    for at in places(&bytes, DIGITS) {
        bytes.splice(at..at + DIGITS.len(), digits.bytes());
    }
    for at in places(&bytes, BUILD_ID) {
        let id = at + BUILD_ID.len();
        bytes.splice(id..id + 8, number.to_le_bytes());
    }
    bytes
}

/// Where these bytes stand.
fn places(bytes: &[u8], wanted: &[u8]) -> Vec<usize> {
    let windows = bytes.windows(wanted.len()).enumerate();
    windows.filter(|(_, window)| *window == wanted).map(|(at, _)| at).collect()
}

fn run(command: &mut Command) -> Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    // A file that was just written is busy for as long as a child of another thread, between its fork and
    // its exec, has a copy of the descriptor.
    let status = wait::until("a file that is not busy", BUSY, || match command.status() {
        Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => Ok(None),
        status => Ok(Some(status.with_context(|| format!("cannot run {command:?}"))?)),
    })?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}

/// A cgroup as a container has one, and a directory to mount its root at. Both go with this value.
struct Container {
    cgroup: PathBuf,
    root: PathBuf,
}

impl Container {
    fn make(directory: &Path, number: u64) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/mounts")?;
        let v2 = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let v2 = v2.into_iter().find(|words| words.get(2) == Some(&"cgroup2"));
        let v2 = v2.and_then(|words| words.get(1).map(|path| Path::new(*path).to_owned()));
        let v2 = v2.context("containers need a cgroup v2 hierarchy: mount one")?;
        let id = u64::from(std::process::id());
        let cgroup = v2.join(format!("docker-{id:032x}{number:032x}.scope"));
        let root = directory.join(format!("root-{number}"));
        fs::create_dir(&cgroup)?;
        let made = Self { cgroup, root };
        fs::create_dir(&made.root)?;
        Ok(made)
    }

    /// Runs a program in it: what its root is is not to be seen from outside.
    fn run(&self, program: &Path) -> Result<()> {
        let script = "echo $$ > \"$0/cgroup.procs\" && exec unshare --mount --pid --fork sh -c '\
                      mount -t tmpfs -o size=8m root \"$0\" && cp \"$1\" \"$0/restless\" && \
                      exec chroot \"$0\" /restless \"$2\"' \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script]).args([&self.cgroup, &self.root]).arg(program);
        run(command.arg(LIFE_SECONDS))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // A cgroup can be removed once its last process is reaped. What stays here stays empty.
        let limit = Duration::from_secs(5);
        let _ = wait::until("an empty cgroup", limit, || Ok(fs::remove_dir(&self.cgroup).ok()));
        let _ = fs::remove_dir(&self.root);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_is_another_binary() {
        let template = fs::read(RESTLESS.build().unwrap()).unwrap();
        assert_eq!(places(&template, BUILD_ID).len(), 1);
        assert!(places(&template, DIGITS).len() >= 3);
        let (one, two) = (variant(&template, 1), variant(&template, 2));
        assert_eq!(one.len(), template.len());
        let names = |bytes: &[u8], name: &[u8]| places(bytes, name).len();
        assert!(names(&one, b"compute_00000001") > 0 && names(&one, b"compute_00000002") == 0);
        assert!(names(&two, b"compute_00000002") > 0 && one != two);
    }
}
