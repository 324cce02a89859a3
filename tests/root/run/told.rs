//! What the agent is told while it runs, by signals and by people, and what it tells the service manager.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;
use profiler_proto::pprof::Profile;
use profiler_tests::agent::{self, Run};
use profiler_tests::daemon::{Daemon, Room};
use profiler_tests::program::Program;
use profiler_tests::{stacks, wait, workload};

use super::windows::{samples_of, wait_for};
use crate::host;

const LIMIT: Duration = Duration::from_secs(60);

/// A service manager that listens.
struct Manager(Arc<Mutex<Vec<String>>>);

impl Manager {
    fn listen(at: &Path) -> Self {
        let socket = UnixDatagram::bind(at).unwrap();
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let book = Arc::clone(&heard);
        // It ends with the test's process.
        std::thread::spawn(move || {
            let mut buffer = [0; 1024];
            while let Ok(length) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                book.lock().unwrap().extend(text.lines().map(str::to_owned));
            }
        });
        Self(heard)
    }

    fn heard(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn count(&self, what: &str) -> usize {
        self.heard().iter().filter(|line| *line == what).count()
    }

    /// Waits until it has heard this so often.
    fn wait_for(&self, what: &str, times: usize) {
        let heard = wait::until(what, LIMIT, || Ok((self.count(what) >= times).then_some(())));
        heard.unwrap_or_else(|error| panic!("{error}: {:?}", self.heard()));
    }
}

/// Starts the agent as systemd does: with a socket to notify, and a watchdog that bites after two seconds.
fn start(room: &Room) -> (Daemon, Manager) {
    let socket = room.path("notify");
    let manager = Manager::listen(&socket);
    let mut command = Command::new("sh");
    command.args(["-c", "WATCHDOG_PID=$$ exec \"$@\"", "sh"]).arg(agent::binary().unwrap());
    command.arg("run").arg("--config").arg(room.path("agent.toml"));
    command.env("NOTIFY_SOCKET", socket).env("WATCHDOG_USEC", "2000000");
    room.with_log(&mut command).unwrap();
    (room.started(&mut command).unwrap(), manager)
}

/// Runs a command of the agent's against the socket of this room.
#[track_caller]
fn ask(room: &Room, args: &[&str]) -> Run {
    let mut command = Command::new(agent::binary().unwrap());
    command.args(args).arg("--socket").arg(room.path("agent.sock"));
    let run = agent::finish(&mut command).unwrap();
    assert!(run.status.success(), "{args:?}: {}\n{}", run.stderr, room.log());
    run
}

#[test]
fn it_does_as_signals_and_people_say_and_tells_the_service_manager() {
    let _host = host::claim();
    let room = Room::new().unwrap();
    // A busy machine shall not make the agent sample more rarely.
    let budget = "[budget]\ncpu = \"100%\"\n";
    room.configure(&format!("{budget}[burst]\nfrequency = 800\nduration = \"5s\"\n")).unwrap();
    let load = Program::start(&workload::SPINNER, &["300"]).unwrap();
    let (mut agent, manager) = start(&room);
    manager.wait_for("READY=1", 1);
    manager.wait_for("WATCHDOG=1", 3);

    a_burst_goes_to_its_rate_and_back(&room, &agent);
    people_ask(&room, &agent, load.pid());

    assert_eq!((manager.count("READY=1"), manager.count("STOPPING=1")), (1, 0));
    agent.signal(Signal::SIGHUP).unwrap();
    manager.wait_for("READY=1", 2);
    assert_eq!(manager.count("RELOADING=1"), 1);
    assert!(agent.terminate(LIMIT).unwrap().success(), "{}", room.log());
    manager.wait_for("STOPPING=1", 1);
}

/// The frequency that the agent says it samples with.
fn wait_for_frequency(room: &Room, agent: &Daemon, hertz: f64) {
    let is = wait::until(&format!("{hertz} Hz"), LIMIT, || {
        let now = agent.metric("profiler_agent_frequency_hertz")?;
        Ok((now == Some(hertz)).then_some(()))
    });
    is.unwrap_or_else(|error| panic!("{error}\n{}", room.log()));
}

/// Time of one sample of the spinner in a window, ns, where that is the same for all of them.
fn period(window: &Profile) -> Option<u64> {
    let stacks = stacks::of(window);
    let mut all = stacks.iter().filter(|s| s.label("comm") == "spinner" && s.value("samples") > 0);
    let first = all.next()?;
    let period = first.value("cpu") / first.value("samples");
    let is_alike = |stack: &stacks::Stack| stack.value("cpu") == period * stack.value("samples");
    (is_alike(first) && all.all(is_alike)).then_some(period)
}

fn a_burst_goes_to_its_rate_and_back(room: &Room, agent: &Daemon) {
    wait_for_frequency(room, agent, 99.0);
    let before = wait_for(room, 2, LIMIT).unwrap().len();
    agent.signal(Signal::SIGUSR1).unwrap();
    wait_for_frequency(room, agent, 800.0);
    wait_for_frequency(room, agent, 99.0);
    let windows = wait_for(room, before + 6, LIMIT).unwrap();
    let periods: Vec<_> = windows.iter().map(period).collect();
    let burst: Vec<_> = windows.iter().filter(|w| period(w) == Some(1_250_000)).collect();
    // Of five seconds, a window of two is all in it.
    assert!(!burst.is_empty(), "{periods:?}\n{}", room.log());
    assert!(burst.iter().all(|w| w.period == 1_250_000), "the profile tells the true rate");
    assert_eq!(periods.last(), Some(&Some(10_101_010)), "{periods:?}");
    // Whatever the rate, a busy thread is busy all the time, as far as others let it.
    for window in &windows[1..] {
        let stacks = stacks::of(window);
        let cpu: u64 =
            stacks.iter().filter(|s| s.label("comm") == "spinner").map(|s| s.value("cpu")).sum();
        let most = window.duration_nanos as f64 * 1.05;
        assert!(
            cpu as f64 <= most,
            "{cpu} ns of {most}, {} samples",
            samples_of(window, "spinner")
        );
    }
    assert_eq!(agent.metric("profiler_agent_bursts_total").unwrap(), Some(1.0));
}

fn people_ask(room: &Room, agent: &Daemon, pid: u32) {
    let pid = pid.to_string();
    let text = ask(room, &["query", "--last", "1m", "--pid", &pid]).stdout;
    assert!(text.contains("spin_site"), "{text}");
    let file = room.path("asked.pb.gz");
    ask(room, &["query", "--last", "1m", "--output", file.to_str().unwrap()]);
    assert!(samples_of(&agent::read(&file).unwrap(), "spinner") > 0);
    let none = Command::new(agent::binary().unwrap())
        .args(["query", "--last", "1m", "--service", "nobody", "--socket"])
        .arg(room.path("agent.sock"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&none.stderr);
    assert!(!none.status.success() && told.contains("fits --service nobody"), "{told}");

    let table = ask(room, &["top", "--once", "--interval", "1s"]).stdout;
    assert!(table.lines().any(|line| line.ends_with(" spin  spinner")), "{table}");

    let told =
        ask(room, &["burst", "--frequency", "500", "--duration", "2s", "--pid", &pid]).stdout;
    assert!(told.contains(&format!("500 samples a second and CPU of process {pid}")), "{told}");
    wait_for_frequency(room, agent, 500.0);
    wait_for_frequency(room, agent, 99.0);
    // What is not said is as configured.
    let told = ask(room, &["burst", "--duration", "1s"]).stdout;
    assert!(told.contains("800 samples a second and CPU, for 1 s"), "{told}");
}
