//! Boots one machine and waits for its verdict, with a limit on the time.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use profiler_tests::agent::BINARY_VARIABLE;

use super::kernels::Arch;
use super::packages::Qemu;
use super::verdict::Verdict;

/// A machine that has not said `DONE` by then has failed.
const LIMIT: Duration = Duration::from_secs(180);

/// How often a machine is booted at most: emulated CPUs crash now and then for reasons of their own.
const ATTEMPTS: u32 = 2;

/// Boots a machine; boots it once more, and says so, when it did not pass.
pub fn check(qemu: &Qemu, arch: Arch, kernel: &Path, image: &Path, log: &Path) -> Result<bool> {
    for attempt in 1..=ATTEMPTS {
        let started = Instant::now();
        let verdict = boot(qemu, arch, kernel, image, log)?;
        print!("{verdict}");
        println!("   {:.0} s", started.elapsed().as_secs_f64());
        if verdict.passed() {
            return Ok(true);
        }
        if attempt < ATTEMPTS {
            println!("RETRY: attempt {attempt} failed");
        }
    }
    Ok(false)
}

fn boot(qemu: &Qemu, arch: Arch, kernel: &Path, image: &Path, log: &Path) -> Result<Verdict> {
    let (machine, console): (&[&str], &str) = match arch {
        Arch::Amd64 => (&["-cpu", "max"], "ttyS0"),
        Arch::Arm64 => (&["-M", "virt", "-cpu", "max,pauth-impdef=on"], "ttyAMA0"),
    };
    let mut child = qemu
        .command(arch)
        .args(machine)
        .args(["-accel", "tcg,thread=multi", "-smp", "2", "-m", "1024"])
        .args(["-nographic", "-nodefaults", "-serial", "stdio", "-no-reboot"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(image)
        .arg("-append")
        // What the kernel does not know goes into the environment of init: the agent's place.
        .arg(format!(
            "console={console} rdinit=/init oops=panic panic=-1 quiet {BINARY_VARIABLE}=/guest/profiler-agent"
        ))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .context("cannot run QEMU")?;
    let verdict = read_console(&mut child, log);
    // It may have gone already, by the guest's power-off.
    let _ = child.kill();
    let _ = child.wait();
    verdict
}

fn read_console(child: &mut Child, log: &Path) -> Result<Verdict> {
    let console = child.stdout.take().context("QEMU has no console")?;
    let mut log = File::create(log)?;
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        let mut console = BufReader::new(console);
        let mut line = Vec::new();
        while console.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    let mut verdict = Verdict::default();
    let deadline = Instant::now() + LIMIT;
    while !verdict.is_final() {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                writeln!(log, "{line}")?;
                verdict.read(&line);
            }
            Err(RecvTimeoutError::Timeout) => verdict.fail(format!("no DONE within {LIMIT:?}")),
            Err(RecvTimeoutError::Disconnected) => verdict.fail("the machine went down".to_owned()),
        }
    }
    Ok(verdict)
}
