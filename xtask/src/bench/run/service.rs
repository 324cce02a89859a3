//! An agent with a store and two sinks. The servers that take its windows run in this process, so what they
//! take of the CPUs is not the agent's.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use profiler_tests::backends::Ledger;
use profiler_tests::backends::otlp::Otlp;
use profiler_tests::backends::pyroscope::Pyroscope;
use profiler_tests::daemon::{Daemon, Room};
use profiler_tests::stacks::{self, Stack};
use tokio::runtime::Runtime;

/// The names of its sinks.
pub(super) const SINKS: &[&str] = &["pyroscope", "otlp"];

/// How long it may take to end.
const END: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Service {
    pub(super) daemon: Daemon,
    room: Room,
    ledgers: [Arc<Ledger>; 2],
    /// Serves as long as it lives.
    _servers: Runtime,
}

impl Service {
    /// Starts the servers, then the agent, and waits until it is ready.
    pub(super) fn start() -> Result<Self> {
        let servers =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let clock = Arc::new(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
        });
        let (pyroscope, otlp) = servers.block_on(async {
            Ok::<_, anyhow::Error>((Pyroscope::start(clock, false).await?, Otlp::start().await?))
        })?;
        let room = Room::new()?;
        room.configure_whole(&format!(
            "[store]\npath = \"DIR/store\"\n\n[http]\nsocket = \"DIR/agent.sock\"\n\n\
             [unwind_cache]\npath = \"DIR/unwind\"\n\n\
             [sinks.pyroscope]\ntype = \"pyroscope\"\nurl = \"http://{}\"\n\n\
             [sinks.otlp]\ntype = \"otlp\"\nurl = \"http://{}\"\n",
            pyroscope.address, otlp.address
        ))?;
        let daemon = room.start::<&str>(&[])?;
        let ledgers = [pyroscope.ledger, otlp.ledger];
        Ok(Self { daemon, room, ledgers, _servers: servers })
    }

    /// What the governor said.
    pub(super) fn steps(&self) -> Vec<String> {
        let log = self.room.log();
        let is_step = |line: &&str| line.contains("budget of");
        log.lines().filter(is_step).map(str::to_owned).collect()
    }

    /// Stacks of a process, of all windows from its beginning until now.
    pub(super) fn stacks_of(&self, pid: u32) -> Result<Vec<Stack>> {
        // A live profile ends the running window, and waits until it is stored.
        self.daemon.profile("/debug/pprof/profile?seconds=1")?;
        let path = format!("/api/v1/query?last=10m&format=pprof&pid={pid}");
        Ok(stacks::of(&self.daemon.profile(&path)?))
    }

    /// Ends it. What its servers did not like, or did not get, is an error.
    pub(super) fn stop(mut self) -> Result<()> {
        let ended = self.daemon.terminate(END)?;
        if !ended.success() {
            bail!("the agent failed: {ended}\n{}", self.room.log());
        }
        for (ledger, sink) in self.ledgers.iter().zip(SINKS) {
            if let Some(violation) = ledger.violations().first() {
                bail!("{sink}: {violation}");
            }
            if ledger.is_empty() {
                bail!("{sink} got nothing\n{}", self.room.log());
            }
        }
        Ok(())
    }
}
