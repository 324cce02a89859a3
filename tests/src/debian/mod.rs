//! Debian's own programs at work: built by others, stripped, without frame pointers.
//!
//! Each one works for longer than anybody records, so that its start and its end play no part, and in a
//! directory of its own. [`tools`] work alone, [`servers`] for a client that is started with them.

mod inputs;
mod servers;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait;

pub use servers::{NGINX, POSTGRES, REDIS};
pub use tools::{CC1, GIT_GREP, GIT_LOG, GIT_REPACK, GZIP, NODE, OPENSSL, PERL, PYTHON, XZ};

/// All that are unwound by tables.
pub const ALL: &[Debian] =
    &[OPENSSL, GZIP, XZ, CC1, PERL, PYTHON, GIT_LOG, GIT_GREP, GIT_REPACK, REDIS, POSTGRES, NGINX];

/// A program of Debian's, and work for it.
#[derive(Clone, Copy, Debug)]
pub struct Debian {
    /// What it is called here.
    pub name: &'static str,
    /// Processes of it that must be there before it is recorded.
    processes: usize,
    /// Starts it, and last what gives it work, in a directory; the file of the program itself.
    start: fn(&mut Work) -> Result<PathBuf>,
}

/// A program at work. It ends when this is dropped.
#[derive(Debug)]
pub struct Work {
    /// The file that its processes run.
    pub file: PathBuf,
    directory: tempfile::TempDir,
    children: Vec<Child>,
}

impl Debian {
    /// Starts it, and waits until all of its processes have worked.
    pub fn start(&self) -> Result<Work> {
        let directory = tempfile::Builder::new().prefix("profiler-debian-").tempdir()?;
        let mut work = Work { file: PathBuf::new(), directory, children: Vec::new() };
        let file =
            (self.start)(&mut work).with_context(|| format!("cannot start {}", self.name))?;
        work.file = fs::canonicalize(&file)
            .with_context(|| format!("{} is missing: see `cargo xtask test`", file.display()))?;
        wait::until(self.name, Duration::from_secs(60), || {
            for child in &mut work.children {
                if let Some(status) = child.try_wait()? {
                    bail!("{} has work no more: {status}", self.name);
                }
            }
            let busy = work.pids()?.into_iter().filter(|pid| cpu_ticks(*pid) > 0).count();
            Ok((busy >= self.processes).then_some(()))
        })?;
        Ok(work)
    }
}

impl Work {
    /// Its own directory.
    fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts a child with nothing to read and nobody to listen.
    fn spawn(&mut self, command: &mut Command) -> Result<()> {
        command.stdin(Stdio::null());
        self.spawn_with_input(command)
    }

    /// The same with the input that the command already has.
    fn spawn_with_input(&mut self, command: &mut Command) -> Result<()> {
        command.current_dir(self.directory()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
        self.children.push(child);
        Ok(())
    }

    /// Runs a command that prepares something, to its end.
    fn run(&self, command: &mut Command) -> Result<()> {
        command.current_dir(self.directory()).stdin(Stdio::null());
        let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
        if !output.status.success() {
            bail!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// The processes that run the program: children of ours, and theirs.
    pub fn pids(&self) -> Result<Vec<u32>> {
        let mut pids = descendants(self.children.iter().map(Child::id).collect())?;
        let runs = |pid: &u32| fs::read_link(format!("/proc/{pid}/exe")).ok();
        pids.retain(|pid| runs(pid).as_ref() == Some(&self.file));
        Ok(pids)
    }
}

impl Drop for Work {
    /// Clients first: a server then has nobody to wait for.
    fn drop(&mut self) {
        let ids = self.children.iter().map(Child::id).collect();
        let all = descendants(ids).unwrap_or_default();
        for child in self.children.iter_mut().rev() {
            // It may have ended by itself.
            let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
            let ended = wait::until("an end", Duration::from_secs(5), || Ok(child.try_wait()?));
            if ended.is_err() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        // What a server left behind that had to be killed.
        for pid in all {
            if fs::read_link(format!("/proc/{pid}/exe")).ok().as_ref() == Some(&self.file) {
                let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
            }
        }
    }
}

/// These processes and all that they started, directly or not.
fn descendants(mut pids: Vec<u32>) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if let Some(parent) = stat_field(pid, 1) {
            parents.push((pid, parent));
        }
    }
    let mut at = 0;
    while let Some(parent) = pids.get(at).copied() {
        let children = parents.iter().filter(|(_, of)| *of == u64::from(parent));
        pids.extend(children.map(|(pid, _)| *pid));
        at += 1;
    }
    Ok(pids)
}

/// CPU time of a process, in the kernel's ticks; 0 when it is gone.
fn cpu_ticks(pid: u32) -> u64 {
    // proc(5): fields 14 and 15 are utime and stime.
    stat_field(pid, 11).unwrap_or_default() + stat_field(pid, 12).unwrap_or_default()
}

/// A number of `/proc/PID/stat`, counted from the field behind the name.
fn stat_field(pid: u32, index: usize) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, behind_name) = stat.rsplit_once(") ")?;
    behind_name.split(' ').nth(index)?.parse().ok()
}
