//! A real OpenTelemetry Collector, built from its Go modules by the small main program in
//! `tests/collector`, with the profiles signal switched on. It prints what it gets, and passes it on.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::workload::repository;

/// A Collector that runs. It is ended when this is dropped.
pub struct Collector {
    /// Where it takes OTLP.
    pub address: SocketAddr,
    process: Child,
    place: tempfile::TempDir,
}

impl Drop for Collector {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Collector {
    /// Builds and starts one that passes on what it gets. The first build takes some minutes.
    ///
    /// # Errors
    /// Where Go is missing, or its modules cannot be had.
    pub fn start(next: SocketAddr) -> Result<Self> {
        let binary = build()?;
        let place = tempfile::tempdir()?;
        // A port that was free a moment ago.
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = place.path().join("config.yaml");
        std::fs::write(&config, configuration(address, next))?;
        let output = File::create(place.path().join("output"))?;
        let process = Command::new(&binary)
            .args(["--feature-gates", "service.profilesSupport", "--config"])
            .arg(&config)
            .stdout(output.try_clone()?)
            .stderr(output)
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot run {}", binary.display()))?;
        Ok(Self { address, process, place })
    }

    /// What it has printed so far.
    ///
    /// # Errors
    /// Where its file is gone.
    pub fn output(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.place.path().join("output"))?)
    }
}

fn configuration(address: SocketAddr, next: SocketAddr) -> String {
    format!(
        "\
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: '{address}'}}}}}}
exporters:
  debug: {{verbosity: detailed, use_internal_logger: false}}
  otlp_grpc: {{endpoint: '{next}', tls: {{insecure: true}}}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    profiles: {{receivers: [otlp], exporters: [debug, otlp_grpc]}}
"
    )
}

/// Go itself knows what is built already.
fn build() -> Result<PathBuf> {
    let source = repository().join("tests/collector");
    let binary = repository().join("target/collector/collector");
    let status = Command::new("go")
        .args(["build", "-trimpath", "-o"])
        .arg(&binary)
        .arg(".")
        .current_dir(source)
        // go.mod asks for a version that a distribution may not have yet.
        .env("GOTOOLCHAIN", "auto")
        .env("CGO_ENABLED", "0")
        .status()
        .context("cannot run go: apt-get install golang-go")?;
    if !status.success() {
        bail!("go build of tests/collector: {status}");
    }
    Ok(binary)
}
