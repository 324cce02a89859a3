//! An agent that runs for the measurement: its own store and socket, no sinks.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use profiler_tests::agent::binary;

/// How long it may take until it answers.
const START: Duration = Duration::from_secs(60);

/// A running agent. It is interrupted when this is dropped.
pub(super) struct Agent {
    child: Child,
    directory: tempfile::TempDir,
}

impl Agent {
    /// Starts it and lets it fill its store for a while.
    pub(super) fn start(fill: Duration) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let config = directory.path().join("agent.toml");
        let path = directory.path().display();
        let text = format!(
            "[store]\npath = \"{path}/store\"\n\n[http]\nsocket = \"{path}/agent.sock\"\n\n\
             [unwind_cache]\npath = \"{path}/unwind\"\n"
        );
        std::fs::write(&config, text)?;
        let child = Command::new(binary()?)
            .args(["run", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start the agent")?;
        let mut agent = Self { child, directory };
        agent.wait_for_socket()?;
        println!("An agent fills its store for {} s", fill.as_secs());
        std::thread::sleep(fill);
        Ok(agent)
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.directory.path().join("agent.sock")
    }

    /// Says how large its windows are: what goes to a sink is of this size.
    pub(super) fn tell_windows(&self) -> Result<()> {
        let metrics = Command::new("curl")
            .args(["--silent", "--show-error", "--unix-socket"])
            .arg(self.socket())
            .arg("http://agent/metrics")
            .output()
            .context("cannot run curl")?;
        let metrics = String::from_utf8_lossy(&metrics.stdout).into_owned();
        let value = |name: &str| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse::<f64>().ok())
        };
        let windows = value("profiler_agent_windows_written_total ").unwrap_or(0.0);
        let bytes = value("profiler_agent_window_size_bytes_total ").unwrap_or(0.0);
        if windows > 0.0 {
            println!("\n  {windows} windows, {:.0} bytes each, packed", bytes / windows);
        }
        Ok(())
    }

    fn wait_for_socket(&mut self) -> Result<()> {
        let deadline = Instant::now() + START;
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the agent ended at once: {status}");
            }
            if Instant::now() > deadline {
                bail!("the agent does not answer after {} s", START.as_secs());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // What remains where this fails is an agent that somebody else has ended.
        let pid = self.child.id().to_string();
        let _interrupted = Command::new("kill").args(["-INT", &pid]).status();
        let _ended = self.child.wait();
    }
}
