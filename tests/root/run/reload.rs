//! SIGHUP: what can change does, or nothing at all.

use std::time::Duration;

use nix::sys::signal::Signal;
use profiler_tests::daemon::Room;
use profiler_tests::program::Program;
use profiler_tests::{stacks, wait, workload};

use super::windows::{samples_of, wait_for};
use crate::host;

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_reload_changes_all_that_it_can_or_nothing() {
    let _host = host::claim();
    let room = Room::new().unwrap();
    let _load = Program::start(&workload::SPINNER, &["120"]).unwrap();
    let mut agent = room.start(&["--log-level", "info"]).unwrap();
    wait_for(&room, 2, LIMIT).unwrap();

    room.configure("[sampling]\nfrequency = 400\n[[services]]\nname = \"turning\"\nmatch = { exe = \"spinner\" }\n").unwrap();
    agent.signal(Signal::SIGHUP).unwrap();
    wait::until("a window with the new rate and name", LIMIT, || {
        let windows = room.windows()?;
        let Some(last) = windows.last() else { return Ok(None) };
        let is_named = stacks::of(last).iter().any(|stack| stack.label("service") == "turning");
        Ok((is_named && samples_of(last, "spinner") > 220).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", room.log()));

    // The socket needs a restart, so the frequency stays too.
    room.configure("[sampling]\nfrequency = 49\n[memory]\nsymbols = \"1 MiB\"\n").unwrap();
    agent.signal(Signal::SIGHUP).unwrap();
    wait::until("the refusal in the log", LIMIT, || {
        Ok(room.log().contains("memory.symbols cannot change without a restart").then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", room.log()));
    // A file that is wrong changes nothing either.
    std::fs::write(room.path("agent.toml"), "[sampling]\nfrequenzy = 1\n").unwrap();
    agent.signal(Signal::SIGHUP).unwrap();
    wait::until("the complaint in the log", LIMIT, || {
        Ok(room.log().contains("sampling.frequenzy").then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", room.log()));
    let count = room.windows().unwrap().len();
    let windows = wait_for(&room, count + 2, LIMIT).unwrap();
    assert!(samples_of(windows.last().unwrap(), "spinner") > 220, "the rate changed");
    assert!(agent.terminate(LIMIT).unwrap().success(), "{}", room.log());
}
