//! A CPU that goes and comes back while a recording runs.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use profiler_tests::agent::{Recording, Running};
use profiler_tests::program::{Program, SpinnerTruth};
use profiler_tests::{wait, workload};

use crate::host::{self, assert_within};

/// The CPU that goes. The first one cannot on many machines.
const CPU: &str = "1";

/// Several programs share a CPU in short turns, which samples hit by chance.
const TOLERANCE: f64 = 0.1;

/// The switch of a CPU that may go. The CPU is back when this is dropped.
struct Switch(PathBuf);

impl Switch {
    /// `None` where the kernel has none.
    fn find() -> Option<Self> {
        let path = PathBuf::from(format!("/sys/devices/system/cpu/cpu{CPU}/online"));
        path.exists().then_some(Self(path))
    }

    #[track_caller]
    fn set(&self, state: &str) {
        // The kernel answers "busy" while another change is under way.
        let set = wait::until("a CPU to obey", Duration::from_secs(5), || {
            match fs::write(&self.0, state) {
                Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => Ok(None),
                other => Ok(Some(other?)),
            }
        });
        set.unwrap_or_else(|error| panic!("{state} to {}: {error:#}", self.0.display()));
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        if fs::write(&self.0, "1").is_err() {
            eprintln!("CPU {CPU} stays offline: echo 1 > {}", self.0.display());
        }
    }
}

/// A program that computes for two seconds.
struct Spinner {
    pid: u32,
    truth: SpinnerTruth,
}

impl Spinner {
    /// Runs it to its end, on one CPU if it is told which.
    fn run(cpu: &[&str]) -> Self {
        let program = Program::start(&workload::SPINNER, &[&["2"], cpu].concat()).unwrap();
        Self { pid: program.pid(), truth: program.truth().unwrap() }
    }

    #[track_caller]
    fn assert_recorded(&self, when: &str, recording: &Recording) {
        assert_within(when, cpu_of(self.pid, recording), self.truth.cpu_ns, TOLERANCE);
    }
}

/// CPU time of a process, as it was recorded.
fn cpu_of(pid: u32, recording: &Recording) -> u64 {
    recording.total("cpu", |stack| stack.label("pid") == pid.to_string())
}

fn wait_for_events(agent: &Running, count: usize) {
    wait::until(&format!("{count} perf events"), Duration::from_secs(10), || {
        Ok((agent.holds("anon_inode:[perf_event]")? == count).then_some(()))
    })
    .unwrap();
}

/// Faster than the agent looks, so that all that it can see are events that have stopped.
#[test]
fn a_cpu_that_is_back_at_once_is_followed() {
    let _host = host::claim();
    let Some(switch) = Switch::find() else {
        println!("No CPU of this machine can go: there is nothing to follow.");
        return;
    };
    let agent = Running::start(&["--frequency", "999"]).unwrap();
    wait_for_events(&agent, 2 * host::cpus() as usize);
    switch.set("0");
    switch.set("1");
    // The agent finds out within two of its looks, one second apart: meanwhile, and then.
    let meanwhile = Spinner::run(&[CPU]);
    let after = Spinner::run(&[CPU]);
    let recording = agent.interrupt().unwrap();
    println!("meanwhile: {} of {} ns", cpu_of(meanwhile.pid, &recording), meanwhile.truth.cpu_ns);
    after.assert_recorded("after it came back", &recording);
    assert_eq!(recording.count("cpus_not_followed"), 0);
}

#[test]
fn a_cpu_that_goes_and_comes_back_is_followed() {
    let _host = host::claim();
    let Some(switch) = Switch::find() else {
        println!("No CPU of this machine can go: there is nothing to follow.");
        return;
    };
    let cpus = host::cpus() as usize;
    let agent = Running::start(&["--frequency", "999"]).unwrap();
    // One for the samples and one for the life of processes, on each CPU.
    wait_for_events(&agent, 2 * cpus);
    // One that the kernel moves to another CPU, and one that may be anywhere.
    let moved = Program::start(&workload::SPINNER, &["60", CPU]).unwrap();
    let roaming = Program::start(&workload::SPINNER, &["60"]).unwrap();

    let before = Spinner::run(&[CPU]);
    switch.set("0");
    wait_for_events(&agent, 2 * (cpus - 1));
    let meanwhile = Spinner::run(&[]);
    let back = Instant::now();
    switch.set("1");
    wait_for_events(&agent, 2 * cpus);
    // The agent looks once a second.
    let unseen = back.elapsed().as_nanos() as u64;
    let after = Spinner::run(&[CPU]);

    let lived =
        [&moved, &roaming].map(|program| (program.pid(), host::cpu_until_now(program.pid())));
    let recording = agent.interrupt().unwrap();
    before.assert_recorded("before it went", &recording);
    meanwhile.assert_recorded("while it was away", &recording);
    after.assert_recorded("after it came back", &recording);
    for (pid, truth) in lived {
        let found = cpu_of(pid, &recording);
        println!("a program that went on: {found} of {truth} ns, {unseen} ns of them unseen");
        assert!((found + unseen) as f64 > (1.0 - TOLERANCE) * truth as f64);
    }
    let lost = recording.counts().into_iter().find(|(name, n)| name.contains("lost") && *n > 0);
    assert_eq!(lost, None, "a loss, in {:?}", recording.counts());
    assert_eq!(recording.count("cpus_not_followed"), 0);
}
