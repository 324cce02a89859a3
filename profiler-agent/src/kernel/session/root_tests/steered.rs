//! What is left out, and what changes while a session runs.

use std::collections::HashMap;

use super::*;
use crate::kernel::control::Processes;
use crate::kernel::plan::Exclude;
use crate::model::rates::{Burst, Rates};

#[test]
fn what_is_excluded_is_recorded_neither_awake_nor_asleep() {
    let cgroup = Cgroup::create("excluded");
    let in_cgroup = Program::start("exec sleep 1000").asleep();
    cgroup.take(&in_cgroup);
    let (busy, other) = (Program::busy(), Program::busy());
    let idle = Program::start("exec sleep 1000").asleep();
    let switching = Program::start("while :; do sleep 0.01; done");
    let named = Program::start("exec bash -c 'while :; do :; done'");
    let asleep_too = Program::start("exec sleep 1000").asleep();
    for without in [vec![], vec![Feature::SleepersIterator]] {
        let exclude = Exclude {
            pids: vec![busy.pid(), idle.pid(), switching.pid()],
            cgroups: vec![cgroup.0.clone()],
            comms: vec!["bash".into()],
            users: Vec::new(),
        };
        let plan = Plan { exclude, without, frequency: 999, ..plan(EventChoice::Wall, &[]) };
        let mut session = start(&plan);
        let attached_ns = session.facts().started_at_ns;
        let mut events = poll_until(&mut session, 2, |_| false);
        events.extend(session.stop().unwrap().events);
        let unwanted = [&busy, &idle, &switching, &in_cgroup, &named].map(Program::pid);
        assert!(samples(&events).any(|s| s.pid == other.pid()));
        assert!(blocks(&events).any(|b| b.stack.pid == asleep_too.pid() && b.since_before));
        assert!(samples(&events).all(|s| !unwanted.contains(&s.pid)), "{:?}", plan.without);
        assert!(blocks(&events).all(|b| !unwanted.contains(&b.stack.pid)), "{:?}", plan.without);
        // Its children are as it is, if they were born while the programs were attached.
        let attached_ns = attached_ns + 500_000_000;
        let children: Vec<u32> = events
            .iter()
            .filter_map(|e| match e {
                Event::Fork(f) if f.parent_pid == switching.pid() && f.time_ns > attached_ns => {
                    Some(f.pid)
                }
                _ => None,
            })
            .collect();
        assert!(!children.is_empty());
        // Of one that has ended, the last switch may come after its mark was taken.
        let ended = |b: &RawBlock| {
            events.iter().any(|e| matches!(e, Event::Exit(x) if x.pid == b.stack.pid && x.time_ns <= b.stack.time_ns))
        };
        let unwanted = blocks(&events).find(|b| children.contains(&b.stack.pid) && !ended(b));
        assert!(unwanted.is_none(), "{unwanted:?}");
    }
}

#[test]
fn users_are_chosen_and_excluded() {
    let as_nobody = |shell: &str| Program::start(&format!("exec setpriv --reuid 65534 {shell}"));
    let busy = as_nobody("sh -c 'while :; do :; done'");
    let idle = as_nobody("sleep 1000").asleep();
    let (root_busy, root_idle) = (Program::busy(), Program::start("exec sleep 1000").asleep());
    let (of_nobody, of_root) = ([busy.pid(), idle.pid()], [root_busy.pid(), root_idle.pid()]);
    for without in [vec![], vec![Feature::SleepersIterator]] {
        for (users, exclude, present, absent) in
            [(vec![65534], vec![], of_nobody, of_root), (vec![], vec![65534], of_root, of_nobody)]
        {
            let exclude = Exclude { users: exclude, ..Exclude::default() };
            let plan = plan(EventChoice::Wall, &[]);
            let without = without.clone();
            let mut session = start(&Plan { users, exclude, without, frequency: 999, ..plan });
            let mut events = poll_until(&mut session, 1, |_| false);
            events.extend(session.stop().unwrap().events);
            assert!(samples(&events).any(|s| s.pid == present[0]));
            assert!(blocks(&events).any(|b| b.stack.pid == present[1] && b.since_before));
            assert!(samples(&events).all(|s| !absent.contains(&s.pid)));
            assert!(blocks(&events).all(|b| !absent.contains(&b.stack.pid)));
        }
    }
}

/// Polls for so many seconds; the samples of each process meanwhile, and the last rates that were told.
fn count_for(session: &mut Session, seconds: u64) -> (HashMap<u32, usize>, Option<Rates>) {
    let events = poll_until(session, seconds, |_| false);
    let mut counts = HashMap::new();
    samples(&events).for_each(|s| *counts.entry(s.pid).or_default() += 1);
    let rates = events.iter().rev().find_map(|e| match e {
        Event::Rates(change) => Some(change.rates.clone()),
        _ => None,
    });
    (counts, rates)
}

#[test]
fn processes_come_and_go_while_a_session_runs() {
    let (first, second) = (Program::busy(), Program::busy());
    let mut session = start(&Plan { frequency: 499, ..plan(EventChoice::Wall, &[first.pid()]) });
    let is_there = |counts: &HashMap<u32, usize>| {
        [first.pid(), second.pid()].map(|pid| counts.contains_key(&pid))
    };
    let choice = |wanted: &[&Program], excluded: &[&Program]| Processes {
        wanted: wanted.iter().map(|p| p.pid()).collect(),
        excluded: excluded.iter().map(|p| p.pid()).collect(),
    };
    assert_eq!(is_there(&count_for(&mut session, 1).0), [true, false]);
    for (choice, expected) in [
        (choice(&[&second], &[]), [false, true]),
        (choice(&[], &[]), [true, true]),
        (choice(&[], &[&second]), [true, false]),
        (choice(&[&first, &second], &[&first]), [false, true]),
    ] {
        session.choose(&choice).unwrap();
        // What was under way.
        poll_until(&mut session, 1, |_| false);
        assert_eq!(is_there(&count_for(&mut session, 1).0), expected, "{choice:?}");
    }
}

#[test]
fn a_frequency_changes_while_a_session_runs_and_is_told() {
    let (burst, other) = (Program::busy(), Program::busy());
    // Each alone on its CPU, as far as others let them.
    for (cpu, program) in [("0", &burst), ("1", &other)] {
        let pid = program.pid().to_string();
        assert!(
            Command::new("taskset").args(["-pc", cpu, &pid]).output().unwrap().status.success()
        );
    }
    let pids = [burst.pid(), other.pid()];
    let mut session = start(&Plan { frequency: 100, ..plan(EventChoice::OnCpu, &pids) });
    let base = session.rates().clone();
    let with = |frequency, pids: &[u32]| Rates {
        burst: Some(Burst { frequency, pids: pids.to_vec() }),
        ..base.clone()
    };
    // Samples per second of CPU time, since others run here too.
    let mut seen_at = |rates: &Rates| {
        assert_eq!(session.apply(rates).unwrap(), *rates);
        let (_, told) = count_for(&mut session, 1);
        assert!(told.is_none_or(|told| told == *rates));
        let before = pids.map(cpu_seconds);
        let (counts, _) = count_for(&mut session, 2);
        let after = pids.map(cpu_seconds);
        [0, 1].map(|i| {
            let samples = counts.get(&pids[i]).copied().unwrap_or(0);
            samples as f64 / (after[i] - before[i])
        })
    };
    for (rates, expected) in [
        (base.clone(), [100.0, 100.0]),
        (with(1_000, &[]), [1_000.0, 1_000.0]),
        (with(1_000, &[pids[0]]), [1_000.0, 100.0]),
        (base.clone(), [100.0, 100.0]),
    ] {
        let seen = seen_at(&rates);
        for (seen, expected) in seen.iter().zip(expected) {
            assert!((expected * 0.6..expected * 1.6).contains(seen), "{seen} of {expected} Hz");
        }
    }
}

/// CPU time of a process so far: fields 14 and 15 of `/proc/PID/stat`, in hundredths of a second.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    [11, 12].iter().map(|i| fields[*i].parse::<f64>().unwrap() / 100.0).sum()
}

#[test]
fn short_blocks_are_carried_by_their_thread_when_they_have_no_record() {
    let child = Program::start("while :; do sleep 0.001; done");
    let mut session = start(&plan(EventChoice::OffCpu, &[child.pid()]));
    let carry_below = Duration::from_secs(10);
    session.apply(&Rates { carry_below, ..session.rates().clone() }).unwrap();
    poll_until(&mut session, 1, |_| false);
    let events = poll_until(&mut session, 1, |_| false);
    assert!(blocks(&events).next().is_some());
    let ended = events.iter().any(|e| matches!(e, Event::Resume(r) if r.blocked_at_ns != 0));
    assert!(!ended, "no block lasted 10 s");
    let ending = session.stop().unwrap();
    let carried: u64 = ending.threads.iter().flat_map(|(_, t)| t.skipped).map(|s| s.ns).sum();
    assert!(carried > 1_000_000_000, "{carried} ns of the 2 s");
}
