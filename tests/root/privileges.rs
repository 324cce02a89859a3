//! The capabilities that docs/requirements.md asks for, exactly: what works with all of them, and what is missing
//! without each. And what else may forbid a recording: it is named, by the agent itself and by `doctor`.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use profiler_tests::agent::{self, Recording};
use profiler_tests::program::Program;
use profiler_tests::stacks::Stack;
use profiler_tests::workload;

use crate::host;

/// As setpriv(1) writes them.
const NEEDED: &[&str] =
    &["bpf", "perfmon", "sys_ptrace", "dac_read_search", "checkpoint_restore", "syslog"];
const AS_NOBODY: &[&str] = &["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];
const READS: &[&str] = &["10", "read"];
const NOBODY: u32 = 65_534;

/// The agent with the capabilities of docs/requirements.md, but this one.
fn agent_without(missing: &str) -> Command {
    let mut command = with_all_but(missing);
    command.arg(agent::binary().unwrap());
    command
}

/// The agent with all of them, which may not make this system call.
fn agent_sealed(call: &str) -> Command {
    let mut command = with_all_but("");
    let sealed = workload::SEALED.build().unwrap();
    command.arg(sealed).arg(call).arg(agent::binary().unwrap());
    command
}

fn with_all_but(missing: &str) -> Command {
    let set: Vec<&str> = NEEDED.iter().copied().filter(|name| *name != missing).collect();
    let set: Vec<String> = set.iter().map(|name| format!("+{name}")).collect();
    let set = format!("--bounding-set=-all,{}", set.join(","));
    let mut command = Command::new("setpriv");
    command.arg(set);
    command
}

/// Programs of another user that read: one that everybody may read, one that only its owner may, one whose file is
/// gone, and one that only its own mount namespace has.
struct Strangers {
    _running: Vec<Program>,
    _directory: tempfile::TempDir,
}

const READABLE: &str = "readable";
const PRIVATE: &str = "private";
const DELETED: &str = "deleted";
const CONTAINED: &str = "contained";

impl Strangers {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let built = workload::CHAIN.built(workload::way::O2).build().unwrap();
        let mut running = Vec::from([READABLE, PRIVATE, DELETED].map(|name| {
            let file = directory.path().join(name);
            fs::copy(&built, &file).unwrap();
            chown(&file, Some(NOBODY), Some(NOBODY)).unwrap();
            let mode = if name == PRIVATE { 0o700 } else { 0o755 };
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let program =
                Program::started(Command::new("setpriv").args(AS_NOBODY).arg(&file).args(READS))
                    .unwrap();
            if name == DELETED {
                fs::remove_file(&file).unwrap();
            }
            program
        }));
        running.push(contained(&built, directory.path()));
        Self { _running: running, _directory: directory }
    }
}

/// Starts it in a mount namespace of its own, from a file system that no other has.
fn contained(built: &Path, directory: &Path) -> Program {
    let own = directory.join("own");
    fs::create_dir(&own).unwrap();
    let script = format!(
        "mount -t tmpfs own \"$1\" && cp \"$2\" \"$1/{CONTAINED}\" && exec setpriv {} \"$1/{CONTAINED}\" {}",
        AS_NOBODY.join(" "),
        READS.join(" ")
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script, "sh"]).args([&own, built]);
    Program::started(&mut command).unwrap()
}

/// What a recording knows: of which programs it has the names of functions, and whether it has the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    readable: bool,
    private: bool,
    deleted: bool,
    contained: bool,
    kernel: bool,
}

fn known(recording: &Recording) -> Known {
    let of = |comm: &str, wanted: &dyn Fn(&Stack) -> bool| {
        let stacks = recording.stacks.iter().filter(|stack| stack.label("comm") == comm);
        let samples: u64 = stacks.clone().map(|stack| stack.value("samples")).sum();
        assert!(samples > 20, "{comm}: {samples} samples\n{}", recording.run.stderr);
        let known: u64 =
            stacks.filter(|stack| wanted(stack)).map(|stack| stack.value("samples")).sum();
        assert!(known == 0 || known * 10 > samples * 9, "{comm}: {known} of {samples}");
        known > 0
    };
    let named = |comm: &str| of(comm, &|stack| stack.has("read_loop"));
    let in_kernel = |stack: &Stack| stack.has("vfs_read");
    Known {
        readable: named(READABLE),
        private: named(PRIVATE),
        deleted: named(DELETED),
        contained: named(CONTAINED),
        kernel: recording.stacks.iter().any(in_kernel),
    }
}

#[test]
fn each_capability_does_what_the_page_says() {
    let _host = host::claim();
    // So CAP_SYSLOG makes the difference, and the only one.
    let _restrict = Setting::change("/proc/sys/kernel/kptr_restrict", "1");
    let _strangers = Strangers::start();
    let all = Known { readable: true, private: true, deleted: true, contained: true, kernel: true };
    for (missing, want) in [
        ("", all),
        ("sys_ptrace", Known { deleted: false, contained: false, ..all }),
        ("dac_read_search", Known { private: false, deleted: false, ..all }),
        ("checkpoint_restore", Known { deleted: false, ..all }),
        ("syslog", Known { kernel: false, ..all }),
    ] {
        let recording =
            agent::record_by(&mut agent_without(missing), &["--duration", "3s"]).unwrap();
        assert_eq!(known(&recording), want, "without {missing:?}\n{}", recording.run.stderr);
    }
}

/// Without these there is nothing to record.
#[test]
fn what_it_cannot_do_without_is_named() {
    let _host = host::claim();
    for (missing, name) in [("bpf", "CAP_BPF"), ("perfmon", "CAP_PERFMON")] {
        let run =
            agent::finish(agent_without(missing).args(["record", "--duration", "1s"])).unwrap();
        assert!(!run.status.success(), "without {name}: {}", run.stderr);
        assert!(run.stderr.contains(name) && run.stderr.contains("grant"), "{}", run.stderr);
    }
}

/// What `record` says, which must fail, and what `doctor` says.
fn refused(agent: impl Fn() -> Command, record: &[&str]) -> [String; 2] {
    let mut flags = vec!["record", "--duration", "1s"];
    flags.extend(record);
    let run = agent::finish(agent().args(flags)).unwrap();
    assert!(!run.status.success(), "{}", run.stderr);
    let doctor = agent::finish(agent().arg("doctor")).unwrap();
    [run.stderr, doctor.stdout]
}

#[test]
fn a_seccomp_profile_that_blocks_bpf_is_named() {
    let _host = host::claim();
    for said in ["bpf", "perf_event_open"].map(|call| refused(|| agent_sealed(call), &[])).concat()
    {
        for words in ["Operation not permitted", "seccomp profile", "seccompProfile"] {
            assert!(said.contains(words), "no {words:?} in {said}");
        }
    }
}

#[test]
fn a_missing_tracefs_is_named_where_it_is_needed() {
    let _host = host::claim();
    let agent = || {
        let hide = "mount -t tmpfs none /sys/kernel/tracing; mount -t tmpfs none /sys/kernel/debug; exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", hide, "sh"]).arg(agent::binary().unwrap());
        command
    };
    let without_types = ["--event", "off-cpu", "--without", "btf", "--without", "btf-tracepoints"];
    let [said, _] = refused(agent, &without_types);
    assert!(said.contains("mount -t tracefs tracefs /sys/kernel/tracing"), "{said}");
    // With BTF nothing needs it.
    let recording = agent::record_by(&mut agent(), &["--event", "wall", "--duration", "1s"]);
    assert!(recording.is_ok(), "{recording:?}");
}

/// A setting of the kernel's, as it was when this is dropped.
struct Setting(&'static str, String);

impl Setting {
    fn change(path: &'static str, value: &str) -> Self {
        let before = fs::read_to_string(path).unwrap();
        fs::write(path, value).unwrap();
        Self(path, before)
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        fs::write(self.0, self.1.trim()).unwrap();
    }
}

/// This kernel has no such level, and goes on; those that have it refuse perf events, as the filter does.
#[test]
fn a_paranoid_kernel_is_named() {
    let _host = host::claim();
    let _setting = Setting::change("/proc/sys/kernel/perf_event_paranoid", "3");
    let doctor = agent::finish(agent_without("").arg("doctor")).unwrap();
    for words in ["kernel.perf_event_paranoid is 3", "sysctl kernel.perf_event_paranoid=2"] {
        assert!(doctor.stdout.contains(words), "no {words:?} in {}", doctor.stdout);
        let [said, _] = refused(|| agent_sealed("perf_event_open"), &[]);
        assert!(said.contains(words), "no {words:?} in {said}");
    }
    // It says nothing of BPF.
    let [said, _] = refused(|| agent_sealed("bpf"), &[]);
    assert!(!said.contains("paranoid"), "{said}");
}
