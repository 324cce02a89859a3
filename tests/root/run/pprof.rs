//! `go tool pprof` asks the agent about programs that know nothing of pprof: C, Go and Python.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use profiler_tests::daemon::Room;
use profiler_tests::program::Program;
use profiler_tests::{agent, workload};

use super::windows::wait_for;
use crate::host;

/// A child that is gone at the end.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that nobody listened at a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn python() -> Killed {
    let source = "\
def spin():
    n = 0
    while True:
        n += 1
spin()";
    let mut command = Command::new("/usr/bin/python3.11");
    command.args(["-c", source]).stdin(Stdio::null()).stdout(Stdio::null());
    Killed(command.spawn().expect("python3.11"))
}

fn go() -> Killed {
    let binary = workload::CHAIN_GO.build().unwrap();
    let mut command = Command::new(binary);
    command.args(["120"]).stdin(Stdio::null()).stdout(Stdio::null());
    Killed(command.spawn().unwrap())
}

#[test]
fn go_tool_pprof_reads_c_go_and_python() {
    let _host = host::claim();
    let room = Room::new().unwrap();
    let port = free_port();
    let listen = format!("http.listen=127.0.0.1:{port}");
    let mut agent = room.start(&["--set", &listen]).unwrap();
    // Go may have to build its pprof first, which takes minutes on a busy machine.
    let c = Program::start(&workload::SPINNER, &["900"]).unwrap();
    let (go, python) = (go(), python());
    wait_for(&room, 2, Duration::from_secs(30)).unwrap();
    for (pid, function) in
        [(c.pid(), "spin_site"), (go.0.id(), "main."), (python.0.id(), "_PyEval_EvalFrameDefault")]
    {
        let url = format!("http://127.0.0.1:{port}/debug/pprof/profile?pid={pid}&seconds=2");
        let mut command = Command::new("go");
        command.args(["tool", "pprof", "-top", "-nodecount=40", &url]);
        command.env("PPROF_TMPDIR", room.path("pprof")).env("HOME", room.path(""));
        let run = agent::finish(&mut command).unwrap();
        assert!(run.status.success(), "{url}: {}", run.stderr);
        let text = format!("{}\n{}", run.stdout, run.stderr);
        assert!(run.stdout.contains("Type: cpu"), "{text}");
        assert!(run.stdout.contains(function), "{function} of {pid}:\n{text}\n{}", room.log());
    }
    // Blocked time, by the other path.
    let url = format!("http://127.0.0.1:{port}/debug/pprof/offcpu?seconds=1");
    let run = agent::finish(
        Command::new("go").args(["tool", "pprof", "-top", &url]).env("HOME", room.path("")),
    )
    .unwrap();
    assert!(
        run.status.success() && run.stdout.contains("Type: off_cpu"),
        "{}{}",
        run.stdout,
        run.stderr
    );
    assert!(agent.terminate(Duration::from_secs(30)).unwrap().success(), "{}", room.log());
}
