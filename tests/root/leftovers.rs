//! What is left in the kernel: of an agent that is killed, nothing; while one runs, nothing of processes
//! that are gone.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Result;
use profiler_tests::program::{StormTruth, truth};
use profiler_tests::{agent, wait, workload};

use crate::host;

/// Kinds of BPF objects: the key of their id in `/proc/PID/fdinfo`, and bpftool's word for them.
const KINDS: &[(&str, &str)] = &[("prog_id", "prog"), ("map_id", "map"), ("link_id", "link")];

/// What a process holds by its file descriptors: (bpftool's word, id).
pub(crate) fn held_by(pid: u32) -> Result<BTreeSet<(&'static str, u32)>> {
    let mut held = BTreeSet::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A descriptor may be closed while we look.
        let Ok(info) = std::fs::read_to_string(entry?.path()) else { continue };
        for line in info.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let kind = KINDS.iter().find(|(name, _)| *name == key);
            if let (Some((_, word)), Ok(id)) = (kind, value.trim().parse()) {
                held.insert((*word, id));
            }
        }
    }
    Ok(held)
}

pub(crate) fn exists(word: &str, id: u32) -> bool {
    let shown = Command::new("bpftool")
        .args([word, "show", "id", &id.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    shown.expect("bpftool").success()
}

fn recording_agent(event: &str, output: &std::path::Path) -> Child {
    Command::new(agent::binary().unwrap())
        .args(["record", "--event", event, "--duration", "60s", "--output"])
        .arg(output)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn nothing_is_left_after_sigkill() {
    let _host = host::claim();
    for event in ["on-cpu", "wall"] {
        let directory = tempfile::tempdir().unwrap();
        let mut child = recording_agent(event, &directory.path().join("never.svg"));
        let held = wait::until("the agent's programs", Duration::from_secs(20), || {
            let held = held_by(child.id())?;
            let complete =
                ["prog", "map"].iter().all(|kind| held.iter().any(|(word, _)| word == kind));
            Ok(complete.then_some(held))
        });
        child.kill().unwrap();
        child.wait().unwrap();
        for (word, id) in held.unwrap() {
            // The kernel frees programs a little after the last reference is gone.
            wait::until(&format!("{word} {id} to go"), Duration::from_secs(10), || {
                Ok((!exists(word, id)).then_some(()))
            })
            .unwrap();
        }
        let written: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
        assert!(written.is_empty(), "half-written: {written:?}");
    }
}

#[test]
fn of_100000_short_processes_nothing_is_left_in_the_tables() {
    let _host = host::claim();
    let (storm, nothing) = (workload::STORM.build().unwrap(), workload::NOTHING.build().unwrap());
    // No longer than a minute: a busy machine has no time for all of them. The last program is the one that
    // ends when all is told of the others.
    let storm = format!("{} 100000 0 60 {} && exec sleep 1", storm.display(), nothing.display());
    let args = ["record", "--log-level", "info", "--output", "/dev/null", "--format", "folded"];
    let command = ["--", "sh", "-c", &storm];
    let run = agent::run(&[&args[..], &command].concat()).unwrap();
    assert!(run.status.success(), "{}", run.stderr);
    let truth: StormTruth = truth(&run.stdout).unwrap();
    println!("{} programs in {:.1} s", truth.programs, truth.ns as f64 / 1e9);
    assert!(truth.programs >= 2_000, "{}", run.stdout);

    let living = std::fs::read_dir("/proc").unwrap().flatten();
    let living = living.filter(|e| e.file_name().to_string_lossy().parse::<u32>().is_ok()).count();
    let told = |key| run.told("unwind tables tables", key).unwrap();
    let (processes, lists) = (told("processes"), told("list_bytes"));
    println!("{processes} lists of {lists} bytes for {living} processes that live");
    assert!(processes <= living as u64 + 20, "{processes} have a list, {living} live");
    // A list has 32 bytes for each mapping.
    assert!(lists <= (processes + 20) * 4096, "{processes} lists take {lists} bytes");
}
