//! The agent as a service: `profiler-agent run` with a room of its own for configuration, store, socket
//! and log, in which it may be started again after it was killed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use profiler_proto::pprof::{self, Profile};

use crate::{agent, wait};

/// How long a start may take on a loaded machine.
const START: Duration = Duration::from_secs(60);

/// A directory for one agent. `DIR` in its configuration stands for it.
#[derive(Debug)]
pub struct Room {
    directory: tempfile::TempDir,
}

/// What every room is configured with, before what a test adds.
const BASE: &str = r#"
[window]
length = "2s"

[store]
path = "DIR/store"
size = "64 MiB"

[http]
socket = "DIR/agent.sock"

[sinks.windows]
type = "files"
path = "DIR/windows"
"#;

impl Room {
    /// A room with windows of two seconds, a store, a socket, and a directory of windows.
    pub fn new() -> Result<Self> {
        Self::at(tempfile::tempdir()?)
    }

    /// The same in memory, where time is the agent's own: a disk that is busy with what others wrote may
    /// hold up an `fsync` for a minute, and no signal ends whoever waits for it.
    pub fn in_memory() -> Result<Self> {
        Self::at(tempfile::tempdir_in("/dev/shm")?)
    }

    fn at(directory: tempfile::TempDir) -> Result<Self> {
        let room = Self { directory };
        room.configure("")?;
        Ok(room)
    }

    /// Writes the configuration: what every room has, and this.
    pub fn configure(&self, more: &str) -> Result<()> {
        let path = self.directory.path().display().to_string();
        let text = format!("{BASE}\n{more}").replace("DIR", &path);
        Ok(fs::write(self.path("agent.toml"), text)?)
    }

    /// Writes a configuration of which nothing is given.
    pub fn configure_whole(&self, text: &str) -> Result<()> {
        let path = self.directory.path().display().to_string();
        Ok(fs::write(self.path("agent.toml"), text.replace("DIR", &path))?)
    }

    /// A file in the room.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The command that runs the agent here, with these flags.
    pub fn command<S: AsRef<OsStr>>(&self, flags: &[S]) -> Result<Command> {
        // One that outlives who started it would profile what comes next, and be profiled. It ends with the
        // thread that started it, so that must not be a passing one.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(agent::binary()?);
        command.arg("run").arg("--config").arg(self.path("agent.toml")).args(flags);
        self.with_log(&mut command)?;
        Ok(command)
    }

    /// Sends what a command says to the room's log.
    pub fn with_log(&self, command: &mut Command) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.path("log"))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Ok(())
    }

    /// Starts the agent and waits until it is ready.
    pub fn start<S: AsRef<OsStr>>(&self, flags: &[S]) -> Result<Daemon> {
        self.started(&mut self.command(flags)?)
    }

    /// Starts a command that becomes the agent, and waits until it is ready.
    pub fn started(&self, command: &mut Command) -> Result<Daemon> {
        let child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
        let mut daemon = Daemon { child, socket: self.path("agent.sock"), log: self.path("log") };
        daemon.wait_until_ready()?;
        Ok(daemon)
    }

    /// What it said, over all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The windows in the directory, in the order of time, each strictly checked.
    pub fn windows(&self) -> Result<Vec<Profile>> {
        profiles(&self.path("windows"))
    }

    /// What the store has, read from its directory as one profile; `None` where it has nothing.
    pub fn stored(&self, flags: &[&str]) -> Result<Option<Profile>> {
        let output = self.path("query.pb.gz");
        // What an earlier query left.
        let _ = fs::remove_file(&output);
        let (store, file) = (self.path("store"), output.clone());
        let paths =
            [OsStr::new("--store"), store.as_os_str(), OsStr::new("--output"), file.as_os_str()];
        let mut args: Vec<&OsStr> = vec![OsStr::new("query")];
        args.extend(paths);
        args.extend(flags.iter().map(OsStr::new));
        let run = agent::run(&args)?;
        if run.status.success() && output.exists() {
            return agent::read(&output).map(Some);
        }
        if run.stderr.contains("no window") {
            return Ok(None);
        }
        bail!("query failed: {}\n{}", run.status, run.stderr)
    }
}

/// The profiles in a directory, in the order of time, each strictly checked.
pub fn profiles(directory: &Path) -> Result<Vec<Profile>> {
    let mut profiles = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".pb.gz") {
            profiles.push(agent::read(&path)?);
        }
    }
    profiles.sort_by_key(|profile| profile.time_nanos);
    Ok(profiles)
}

/// The agent, running. It is killed when this is dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

/// What the endpoint answered.
#[derive(Debug)]
pub struct Answer {
    /// The code of HTTP.
    pub status: u16,
    /// What follows the headers.
    pub body: Vec<u8>,
}

impl Daemon {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `/readyz` says so; an end before that is an error with what it said.
    pub fn wait_until_ready(&mut self) -> Result<()> {
        let ready = wait::until("the agent to be ready", START, || {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended: {status}");
            }
            Ok(self.get("/readyz").ok().filter(|answer| answer.status == 200).map(drop))
        });
        ready.with_context(|| fs::read_to_string(&self.log).unwrap_or_default())
    }

    /// Asks the endpoint over its Unix socket.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.ask("GET", path)
    }

    /// The same with another method.
    pub fn ask(&self, method: &str, path: &str) -> Result<Answer> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: agent\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        answer(&bytes)
    }

    /// The profile that the endpoint answers with.
    pub fn profile(&self, path: &str) -> Result<Profile> {
        let answer = self.get(path)?;
        if answer.status != 200 {
            bail!("{path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        pprof::decode(&answer.body).with_context(|| format!("no profile from {path}"))
    }

    /// All metrics now.
    pub fn metrics(&self) -> Result<Metrics> {
        Ok(Metrics(String::from_utf8(self.get("/metrics")?.body)?))
    }

    /// The sum of a metric over its labels; `None` where there is no such metric.
    pub fn metric(&self, name: &str) -> Result<Option<f64>> {
        Ok(self.metrics()?.sum(name))
    }

    /// Waits until a metric is at least this.
    pub fn wait_for_metric(&self, name: &str, least: f64, limit: Duration) -> Result<f64> {
        let reached = wait::until(&format!("{name} >= {least}"), limit, || {
            Ok(self.metric(name).ok().flatten().filter(|value| *value >= least))
        });
        reached.with_context(|| fs::read_to_string(&self.log).unwrap_or_default())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.child.id().cast_signed()), signal)?)
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let ended = wait::until("the agent's end", limit, || Ok(self.child.try_wait()?));
        ended.with_context(|| fs::read_to_string(&self.log).unwrap_or_default())
    }

    /// Ends it as a service manager does, and waits.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait(limit)
    }

    /// A field of its `/proc/PID/status`, such as `VmRSS`, in KiB.
    pub fn status_kib(&self, field: &str) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.with_context(|| format!("no {field}"))
    }
}

/// What the agent tells of itself at one moment.
#[derive(Clone, Debug)]
pub struct Metrics(String);

impl Metrics {
    /// The values of a metric, each with its labels as they are written; the name is whole.
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.lines().filter_map(move |line| {
            let (labels, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
            let is_whole = labels.is_empty() || labels.starts_with('{');
            is_whole.then(|| Some((labels, value.parse().ok()?)))?
        })
    }

    /// Each series as it is written, with its labels, and its value.
    pub fn series(&self) -> impl Iterator<Item = (&str, f64)> {
        let lines = self.0.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| line.rsplit_once(' '))
            .filter_map(|(series, value)| Some((series, value.parse().ok()?)))
    }

    /// The value of a series, written as in [`Self::series`].
    pub fn value(&self, series: &str) -> Option<f64> {
        self.series().find(|(known, _)| *known == series).map(|(_, value)| value)
    }

    /// The sum of a metric over its labels; `None` where there is no such metric.
    pub fn sum(&self, name: &str) -> Option<f64> {
        let values: Vec<f64> = self.values(name).map(|(_, value)| value).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// A metric's value for one value of its label; `None` where it has none.
    pub fn of(&self, name: &str, label: &str) -> Option<f64> {
        let quoted = format!("=\"{label}\"}}");
        self.values(name).find(|(labels, _)| labels.ends_with(&quoted)).map(|(_, value)| value)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has ended already when all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads an answer whose end is the end of the connection.
fn answer(bytes: &[u8]) -> Result<Answer> {
    let split = bytes.windows(4).position(|four| four == b"\r\n\r\n").context("no headers")?;
    let (head, body) = bytes.split_at(split);
    let body = body.get(4..).unwrap_or_default();
    let head = String::from_utf8_lossy(head).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no code")?;
    let is_chunked = head.contains("transfer-encoding: chunked");
    let body = if is_chunked { unchunk(body)? } else { body.to_vec() };
    Ok(Answer { status, body })
}

fn unchunk(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").context("no length of a chunk")?;
        let (length, after) = rest.split_at(end);
        let length = usize::from_str_radix(std::str::from_utf8(length)?.trim(), 16)?;
        if length == 0 {
            return Ok(body);
        }
        body.extend(after.get(2..2 + length).context("a chunk is cut")?);
        rest = after.get(2 + length + 2..).context("a chunk has no end")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_found_by_name_and_label() {
        let text = "# TYPE a gauge\na 1\na_b{x=\"p\"} 2.5\na_b{x=\"q\"} 3\n# EOF\n";
        let metrics = Metrics(text.to_owned());
        assert_eq!((metrics.sum("a"), metrics.sum("a_b")), (Some(1.0), Some(5.5)));
        assert_eq!((metrics.of("a_b", "q"), metrics.of("a_b", "r")), (Some(3.0), None));
        assert_eq!(metrics.sum("b"), None);
    }

    #[test]
    fn answers_are_read_whole_and_in_chunks() {
        for (text, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "abc"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
                "abc",
            ),
        ] {
            let answer = answer(text.as_bytes()).unwrap();
            assert_eq!((answer.status, answer.body), (200, body.as_bytes().to_vec()));
        }
        assert!(answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nab").is_err());
        assert!(answer(b"nothing").is_err());
    }
}
