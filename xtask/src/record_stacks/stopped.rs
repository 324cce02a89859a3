//! A thread that stands still, and what can be read of it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use profiler_tests::recorded::{Hex, KnownFrame, Registers};
use profiler_tests::wait;

/// Bytes of a stack that are kept, at most.
const LONGEST: u64 = 256 << 10;

/// Goes on when this is dropped.
pub struct Stopped {
    pid: u32,
    /// The thread that was the busiest of its process.
    pub tid: u32,
}

/// A line of `/proc/PID/maps`.
#[derive(Clone, Debug)]
pub struct Map {
    /// First address.
    pub start: u64,
    /// The one behind the last.
    pub end: u64,
    /// Whether its code may run.
    pub is_executable: bool,
    /// Offset in the file.
    pub offset: u64,
    /// File, or what it is.
    pub path: String,
}

/// Ranges of stacks, and words of them.
type Stacks = (Vec<(Hex, Hex)>, Vec<(Hex, Hex)>);

impl Stopped {
    /// Stops that of some processes which has worked most, and waits until all its threads stand.
    pub fn busiest(pids: &[u32]) -> Result<Self> {
        let pid = pids.iter().copied().max_by_key(|pid| worked(*pid, *pid));
        let pid = pid.context("it has no process")?;
        let tid = threads(pid)?.into_iter().max_by_key(|tid| worked(pid, *tid));
        let stopped = Self { pid, tid: tid.unwrap_or(pid) };
        kill(pid_of(pid), Signal::SIGSTOP)?;
        wait::until("a stop", Duration::from_secs(5), || {
            let all = threads(pid)?.into_iter().all(|tid| state(pid, tid) == Some('T'));
            Ok(all.then_some(()))
        })?;
        Ok(stopped)
    }

    /// The registers of the thread.
    pub fn registers(&self) -> Result<Registers> {
        let tid = pid_of(self.tid);
        ptrace::seize(tid, Options::empty())?;
        ptrace::interrupt(tid)?;
        waitpid(tid, Some(WaitPidFlag::__WALL))?;
        let found = ptrace::getregs(tid)?;
        ptrace::detach(tid, None)?;
        let [pc, sp, fp, rbx] = [found.rip, found.rsp, found.rbp, found.rbx].map(Hex);
        Ok(Registers { pc, sp, fp, rbx })
    }

    /// Its mappings.
    pub fn maps(&self) -> Result<Vec<Map>> {
        let text = fs::read_to_string(format!("/proc/{}/maps", self.pid))?;
        Ok(text.lines().filter_map(parse).collect())
    }

    /// Its memory.
    pub fn read(&self, start: u64, end: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(start))?];
        File::open(format!("/proc/{}/mem", self.pid))?.read_exact_at(&mut bytes, start)?;
        Ok(bytes)
    }

    /// The stack that the thread is on, up to its outermost return address; where that is not on it, as in
    /// a signal handler with a stack of its own, the process's first stack as well.
    pub fn stacks(&self, maps: &[Map], sp: u64, frames: &[KnownFrame]) -> Result<Stacks> {
        let outermost = frames.last().context("no frames")?.pc.0;
        let is_place = |word: u64| frames.iter().any(|frame| frame.pc.0 == word);
        let holds = |map: &&Map| (map.start..map.end).contains(&sp);
        let own = maps.iter().find(holds).context("the stack pointer leads nowhere")?;
        let mut areas = vec![(sp & !7, own.end)];
        let others = maps.iter().filter(|map| map.path == "[stack]" && map.start != own.start);
        areas.extend(others.map(|map| (map.start, map.end)));
        let is_kept = |word: u64| {
            let on_stack = areas.iter().any(|(start, end)| (*start..*end).contains(&word));
            let code = maps.iter().filter(|map| map.is_executable);
            on_stack || code.into_iter().any(|map| (map.start..map.end).contains(&word))
        };
        let (mut ranges, mut words) = (Vec::new(), Vec::new());
        for (start, end) in areas.iter().copied() {
            let bytes = self.read(start, end)?;
            let all = (start..).step_by(8).zip(bytes.as_chunks().0.iter().copied());
            let all: Vec<(u64, u64)> =
                all.map(|(at, word)| (at, u64::from_le_bytes(word))).collect();
            let find =
                |is_it: &dyn Fn(u64) -> bool| all.iter().rev().find(|(_, word)| is_it(*word));
            let Some((last, _)) = find(&|word| word == outermost).or_else(|| find(&is_place))
            else {
                continue;
            };
            // Behind it, one more is looked at where a frame pointer leads there.
            let end = last + 16;
            ranges.push((Hex(start), Hex(end)));
            let kept = all.into_iter().filter(|(at, word)| *at < end && is_kept(*word));
            words.extend(kept.map(|(at, word)| (Hex(at), Hex(word))));
        }
        let bytes: u64 = ranges.iter().map(|(start, end)| end.0 - start.0).sum();
        ensure!(bytes > 0 && bytes <= LONGEST, "its stack of {bytes} bytes is not kept");
        words.sort();
        Ok((ranges, words))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may have been killed meanwhile.
        let _ = kill(pid_of(self.pid), Signal::SIGCONT);
    }
}

/// `start-end perms offset device inode path`.
fn parse(line: &str) -> Option<Map> {
    let mut fields = line.split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let offset = hex(fields.next()?)?;
    let path = fields.nth(2).unwrap_or_default().to_owned();
    let is_executable = permissions.contains('x');
    Some(Map { start: hex(start)?, end: hex(end)?, is_executable, offset, path })
}

fn threads(pid: u32) -> Result<Vec<u32>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))?.flatten();
    Ok(tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()).collect())
}

/// Nanoseconds on the CPU.
fn worked(pid: u32, tid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat")).unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or_default()
}

fn state(pid: u32, tid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

fn pid_of(id: u32) -> Pid {
    Pid::from_raw(id.cast_signed())
}
