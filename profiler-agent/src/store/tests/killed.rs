//! A writer that is killed at any moment: this test runs itself as the writer, 200 times.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use super::*;

/// Tells the writer that it is one, and where.
const WRITER: &str = "PROFILER_AGENT_TEST_STORE";

const KILLS: u64 = 200;

/// Only deadlines: nothing here takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Large enough that room has to be made again and again.
const BYTES: usize = 120_000;

/// Not a test: the process that is killed. It says what it has done as soon as it is done.
#[test]
fn writer() {
    let Some(path) = std::env::var_os(WRITER) else { return };
    let store = open(&config(Path::new(&path), &["a"]));
    println!("\nopen");
    let first = store.status().newest_unix_ns.map_or(0, |end| end / LENGTH - 1);
    for number in first.. {
        let id = store.put(&window(number, BYTES));
        println!("put {id}");
        // Every third window is settled; of the others the sink never hears.
        if number % 3 == 0 {
            store.delivered("a", id);
            println!("settled {id}");
        }
    }
}

fn start(path: &Path) -> (Child, ChildStdout) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["store::tests::killed::writer", "--exact", "--nocapture", "--test-threads=1"])
        .env(WRITER, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    (child, stdout)
}

/// The lines of a writer until it ends.
fn lines(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

#[test]
fn two_hundred_kills_cost_no_finished_window_and_no_mark() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), &["a"]);
    let (mut put, mut settled) = (BTreeSet::new(), BTreeSet::new());
    let mut state = 1u64;
    let mut longest_opening = Duration::ZERO;
    for kill in 0..KILLS {
        let (mut child, stdout) = start(directory.path());
        let lines = lines(stdout);
        let line = || lines.recv_timeout(PATIENCE).ok();
        while line().expect("the store opens again by itself") != "open" {}
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // A random moment after a random number of windows.
        let mut done = (state >> 33) % 6;
        let mut seen = Vec::new();
        while done > 0 {
            let line = line().expect("the writer goes on");
            done -= u64::from(line.starts_with("put"));
            seen.push(line);
        }
        thread::sleep(Duration::from_micros((state >> 40) % 4_000));
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9), "kill {kill}");
        seen.extend(std::iter::from_fn(line));
        for line in seen {
            match line.split_once(' ').and_then(|(what, id)| Some((what, id.parse::<u64>().ok()?)))
            {
                Some(("put", id)) => assert!(put.insert(id), "{id} was given twice"),
                Some(("settled", id)) => drop(settled.insert(id)),
                _ => {}
            }
        }
        let began = Instant::now();
        let store = open(&config);
        longest_opening = longest_opening.max(began.elapsed());
        let kept: BTreeSet<u64> = ids(&store.infos(Range::ALL)).into_iter().collect();
        let oldest = *kept.first().unwrap_or(&0);
        // Older ones made room. At most one window was written whose number nobody heard.
        let due: BTreeSet<u64> = put.range(oldest..).copied().collect();
        let unheard: Vec<u64> = kept.difference(&due).copied().collect();
        assert_eq!(due.difference(&kept).count(), 0, "kill {kill}: windows are missing");
        assert!(unheard.len() <= 1, "kill {kill}: {unheard:?}");
        put.extend(unheard);
        let pending: BTreeSet<u64> = ids(&store.pending("a", usize::MAX)).into_iter().collect();
        let again: Vec<_> = pending.intersection(&settled).collect();
        assert_eq!(again, Vec::<&u64>::new(), "kill {kill}: would be shipped again");
        for id in kept.iter().rev().take(3) {
            let found = store.window(*id).unwrap().unwrap();
            assert_eq!(found, window(found.start_unix_ns / LENGTH - 1, BYTES));
        }
        assert!(store.status().bytes <= MIN_BYTES);
    }
    assert!(put.len() as u64 > KILLS, "{} windows were put", put.len());
    println!(
        "{} windows, {} settled, longest opening {longest_opening:?}",
        put.len(),
        settled.len()
    );
}
