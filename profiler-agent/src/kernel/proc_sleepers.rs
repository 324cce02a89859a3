//! Threads that sleep when an off-CPU recording starts, on kernels whose iterator cannot show them
//! (before 5.18): read from `/proc`, without a stack, so that at least their time is there.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use profiler_common::record::COMM_LEN;
use profiler_common::settings::{CgroupFilter, Filters, Settings};
use profiler_common::thread::{ThreadEntry, ThreadState};
use profiler_common::walk::WalkEnd;

use super::error::KernelError;
use super::maps::Maps;
use super::plan::Plan;
use super::{cgroup, system};
use crate::model::event::{Comm, Event, RawBlock, RawStack};

/// A kernel thread (`PF_KTHREAD` of include/linux/sched.h).
const PF_KTHREAD: u64 = 0x0020_0000;

/// Reports every thread that is wanted, sleeps, and is not known to the programs yet; and makes it
/// known to them, so that its return is reported too.
pub fn visit(
    settings: &Settings,
    plan: &Plan,
    maps: &mut Maps,
    mut sink: impl FnMut(Event),
) -> Result<(), KernelError> {
    let mut cgroups = Cgroups::new();
    for pid in numbers(Path::new("/proc")) {
        if !is_chosen(&plan.pids, &plan.exclude.pids, |wanted| *wanted == pid) {
            continue;
        }
        let tasks = PathBuf::from(format!("/proc/{pid}/task"));
        for tid in numbers(&tasks) {
            let directory = tasks.join(tid.to_string());
            let Some(block) = sleeping(settings, &mut cgroups, &directory, pid, tid) else {
                continue;
            };
            let entry = ThreadEntry {
                blocked_at_ns: block.stack.time_ns,
                pid,
                state: block.state.raw(),
                kept: 1,
                ..ThreadEntry::default()
            };
            if maps.remember(tid, entry)? {
                sink(Event::Block(block));
            }
        }
    }
    Ok(())
}

fn sleeping(
    settings: &Settings,
    cgroups: &mut Cgroups,
    task: &Path,
    pid: u32,
    tid: u32,
) -> Option<RawBlock> {
    let stat = Stat::parse(&fs::read(task.join("stat")).ok()?)?;
    let (wanted, excluded) = (&settings.wanted, &settings.excluded);
    if !is_chosen(comms_of(wanted), comms_of(excluded), |comm| *comm == stat.comm) {
        return None;
    }
    let (users, other_users) = (users_of(wanted), users_of(excluded));
    if !(users.is_empty() && other_users.is_empty()) {
        let owner = user(task)?;
        if !is_chosen(users, other_users, |user| *user == owner) {
            return None;
        }
    }
    let cgroup = cgroups.of(task);
    if !is_chosen(cgroups_of(wanted), cgroups_of(excluded), |c| cgroup.contains(&c.id)) {
        return None;
    }
    let user_end = if stat.is_kernel { WalkEnd::Absent } else { WalkEnd::AsleepSinceBefore };
    let stack = RawStack {
        time_ns: system::monotonic_ns(),
        pid,
        tid,
        cpu: stat.cpu,
        cgroup_id: cgroup.first().copied().unwrap_or(0),
        comm: stat.comm,
        user: Vec::new(),
        // `/proc/PID/stack` has names but, for everyone, hides the addresses.
        kernel: Vec::new(),
        user_end,
        kernel_end: WalkEnd::AsleepSinceBefore,
        rest: None,
    };
    Some(RawBlock { stack, state: stat.state, since_before: true })
}

/// Whether something fits what is wanted, if anything is, and nothing that is excluded.
fn is_chosen<F>(wanted: &[F], excluded: &[F], fits: impl Fn(&F) -> bool) -> bool {
    (wanted.is_empty() || wanted.iter().any(&fits)) && !excluded.iter().any(&fits)
}

/// The cgroups in use.
fn cgroups_of(filters: &Filters) -> &[CgroupFilter] {
    filters.cgroups.get(..filters.cgroup_count as usize).unwrap_or_default()
}

/// The thread names in use.
fn comms_of(filters: &Filters) -> &[Comm] {
    filters.comms.get(..filters.comm_count as usize).unwrap_or_default()
}

/// The users in use.
fn users_of(filters: &Filters) -> &[u32] {
    filters.users.get(..filters.user_count as usize).unwrap_or_default()
}

/// The real user of a thread; `None` where it has ended.
fn user(task: &Path) -> Option<u32> {
    let status = fs::read_to_string(task.join("status")).ok()?;
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_ascii_whitespace().next()?.parse().ok()
}

/// The numbers among the names in a directory of `/proc`.
fn numbers(directory: &Path) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok())
}

/// What `/proc/PID/task/TID/stat` tells of a thread that is off the CPU.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    comm: Comm,
    state: ThreadState,
    is_kernel: bool,
    cpu: u32,
}

impl Stat {
    /// `None` for a thread that runs, may run, or is dead.
    fn parse(line: &[u8]) -> Option<Self> {
        // The name may contain anything, parentheses and spaces included: it ends at the last one.
        let open = line.iter().position(|b| *b == b'(')?;
        let close = line.iter().rposition(|b| *b == b')')?;
        let mut comm = [0; COMM_LEN];
        let name = line.get(open + 1..close)?.iter().take(COMM_LEN - 1);
        comm.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
        let rest = std::str::from_utf8(line.get(close + 1..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // Counted from the state, which is field 3 of proc_pid_stat(5).
        let number = |i: usize| fields.get(i)?.parse::<u64>().ok();
        Some(Self {
            comm,
            state: match *fields.first()? {
                "S" | "I" => ThreadState::Sleeping,
                "D" => ThreadState::Uninterruptible,
                "T" | "t" | "P" => ThreadState::Stopped,
                _ => return None,
            },
            is_kernel: number(6)? & PF_KTHREAD != 0,
            cpu: u32::try_from(number(36)?).ok()?,
        })
    }
}

/// Ids of cgroups by path, since many threads share one.
struct Cgroups {
    mount: Option<PathBuf>,
    known: HashMap<String, Vec<u64>>,
}

impl Cgroups {
    fn new() -> Self {
        Self { mount: cgroup::mount_point(), known: HashMap::new() }
    }

    /// Ids of a thread's cgroup and of all above it, innermost first; empty where unknown.
    fn of(&mut self, task: &Path) -> &[u64] {
        let text = fs::read_to_string(task.join("cgroup")).unwrap_or_default();
        // The v2 hierarchy is the one with number 0 and no controllers.
        let path = text.lines().find_map(|l| l.strip_prefix("0::/")).unwrap_or("");
        let mount = self.mount.as_deref();
        self.known.entry(path.to_owned()).or_insert_with(|| {
            let Some(mount) = mount else { return Vec::new() };
            let directory = mount.join(path);
            let above = directory.ancestors().take_while(|a| a.starts_with(mount));
            above.filter_map(|a| Some(a.metadata().ok()?.ino())).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(comm: &str, state: &str, flags: u64) -> Vec<u8> {
        let zeros = "0 ".repeat(29);
        format!("12 ({comm}) {state} 1 12 12 0 -1 {flags} {zeros}3 0 0\n").into_bytes()
    }

    #[test]
    fn only_threads_off_the_cpu_count() {
        let state = |state| Stat::parse(&line("x", state, 0)).map(|s| s.state);
        for (letter, expected) in [
            ("S", Some(ThreadState::Sleeping)),
            ("I", Some(ThreadState::Sleeping)),
            ("D", Some(ThreadState::Uninterruptible)),
            ("T", Some(ThreadState::Stopped)),
            ("t", Some(ThreadState::Stopped)),
            ("R", None),
            ("Z", None),
            ("X", None),
        ] {
            assert_eq!(state(letter), expected, "{letter}");
        }
    }

    #[test]
    fn a_hostile_name_changes_nothing() {
        let stat = Stat::parse(&line("a) R (b", "S", PF_KTHREAD)).unwrap();
        assert_eq!(&stat.comm, b"a) R (b\0\0\0\0\0\0\0\0\0");
        assert_eq!((stat.state, stat.is_kernel, stat.cpu), (ThreadState::Sleeping, true, 3));
        assert!(!Stat::parse(&line("x", "S", 0)).unwrap().is_kernel);
    }

    #[test]
    fn damaged_lines_are_no_threads() {
        let whole = line("x", "S", 0);
        // The last fields are not read, so the end may be missing.
        for cut in 0..whole.len() - 8 {
            assert_eq!(Stat::parse(&whole[..cut]), None, "{cut}");
        }
        assert_eq!(Stat::parse(b") S ("), None);
    }
}
