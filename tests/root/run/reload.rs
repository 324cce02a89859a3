//! SIGHUP: what can change does, or nothing at all.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use profiler_agent::model::finished::Finished;
use profiler_agent::store::{Config, Store};
use profiler_tests::backends::parca::Parca;
use profiler_tests::daemon::{Daemon, Room};
use profiler_tests::program::Program;
use profiler_tests::{stacks, wait, workload};

use super::windows::{now_ns, samples_of, wait_for, wait_for_one_after};
use crate::host::{self, assert_within};

const LIMIT: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

/// Fills the store with this many windows of a MiB, of which the sink has all.
fn fill_store(room: &Room, windows: u64) {
    let config = Config {
        path: room.path("store"),
        max_bytes: 64 * MIB,
        max_age: Duration::from_secs(86_400),
        sinks: vec!["windows".to_owned()],
    };
    let (store, _) = Store::open(&config).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let begin = now - Duration::from_secs(10 * (windows + 1));
    for number in 0..windows {
        let id = store.put(&Finished {
            start_unix_ns: (begin + Duration::from_secs(10 * number)).as_nanos() as u64,
            duration_ns: 10_000_000_000,
            profile: Arc::from(vec![number as u8; MIB as usize]),
        });
        store.delivered("windows", id);
    }
}

#[track_caller]
fn until(room: &Room, what: &str, condition: impl Fn() -> bool) {
    let waited = wait::until(what, LIMIT, || Ok(condition().then_some(())));
    waited.unwrap_or_else(|error| panic!("{error}\n{}", room.log()));
}

fn metric(agent: &Daemon, name: &str) -> f64 {
    agent.metric(name).ok().flatten().unwrap_or_default()
}

/// From sample to sample at the frequency that is reloaded, ns.
const PERIOD_NS: i64 = 1_000_000_000 / 400;

#[test]
fn a_reload_changes_all_that_it_can_or_nothing() {
    let _host = host::claim();
    let room = Room::new().unwrap();
    fill_store(&room, 30);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Parca::start()).unwrap();
    let load = Program::start(&workload::SPINNER, &["300"]).unwrap();
    // A busy machine shall not make the agent sample more rarely.
    let mut agent = room.start(&["--set", "budget.cpu=100%"]).unwrap();
    wait_for(&room, 2, LIMIT).unwrap();
    assert!(metric(&agent, "profiler_agent_store_size_bytes") > 25.0 * MIB as f64);
    assert!(!room.log().contains("DEBUG"), "{}", room.log());

    // `size` is in the section of the store that every room has.
    let changed = |more: &str| {
        let url = format!("http://{}", server.address);
        room.configure(&format!(
            "[sinks.remote]\ntype = \"parca\"\nurl = \"{url}\"\nlabels = {{ team = \"one\" }}\n{more}"
        ))
        .unwrap();
        let file = room.path("agent.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("\"64 MiB\"", "\"16 MiB\"")).unwrap();
        agent.signal(Signal::SIGHUP).unwrap();
    };
    changed(
        "[sampling]\nfrequency = 400\n[labels]\nregion = \"us\"\n[log]\nlevel = \"debug\"\n\
         [[services]]\nname = \"turning\"\nmatch = { exe = \"spinner\" }\n",
    );
    until(&room, "a window with the new rate and name", || {
        let windows = room.windows().unwrap();
        let Some(last) = windows.last() else { return false };
        let is_named = stacks::of(last).iter().any(|stack| stack.label("service") == "turning");
        is_named && samples_of(last, "spinner") > 0 && last.period == PERIOD_NS
    });
    until(&room, "a profile at the new sink", || !server.ledger.is_empty());
    until(&room, "a smaller store", || {
        metric(&agent, "profiler_agent_store_size_bytes") <= 16.0 * MIB as f64
    });
    until(&room, "a line that says more", || room.log().contains("DEBUG"));

    // The memory for symbols needs a restart, so all the rest stays too.
    changed(
        "[sampling]\nfrequency = 49\n[labels]\nregion = \"cn\"\n[log]\nlevel = \"error\"\n\
         [memory]\nsymbols = \"1 MiB\"\n",
    );
    until(&room, "the refusal in the log", || {
        room.log().contains("memory.symbols cannot change without a restart")
    });
    // A file that is wrong changes nothing either.
    std::fs::write(room.path("agent.toml"), "[sampling]\nfrequenzy = 1\n").unwrap();
    agent.signal(Signal::SIGHUP).unwrap();
    until(&room, "the complaint in the log", || room.log().contains("sampling.frequenzy"));
    until(&room, "all reloads to be counted", || {
        metric(&agent, "profiler_agent_config_reloads_total") == 3.0
    });
    let (count, sent) = (room.windows().unwrap().len(), server.ledger.len());
    let lines = room.log().matches("DEBUG").count();
    let begun = (now_ns(), host::cpu_until_now(load.pid()));
    let windows = wait_for_one_after(&room, begun.0, LIMIT).unwrap();
    let (elapsed, cpu_ns) = (now_ns() - begun.0, host::cpu_until_now(load.pid()) - begun.1);
    let last = windows.last().unwrap();
    assert!(windows.len() > count);
    assert_eq!(last.period, PERIOD_NS, "the rate changed");
    // At the rate that was before, the kernel would find a fourth of it.
    let part = (samples_of(last, "spinner") as i64 * PERIOD_NS) as f64 / last.duration_nanos as f64;
    let found = (part * elapsed as f64) as u64;
    assert_within("CPU time by the new rate", found, cpu_ns, 0.6);
    until(&room, "more profiles at the sink", || server.ledger.len() > sent);
    until(&room, "more lines", || room.log().matches("DEBUG").count() > lines);
    assert!(agent.terminate(LIMIT).unwrap().success(), "{}", room.log());

    assert_eq!(server.ledger.violations(), [""; 0]);
    for one in server.ledger.received() {
        assert_eq!((&*one.labels["region"], &*one.labels["team"]), ("us", "one"));
    }
}
