//! On real processes, with the side-band played by the test.

mod probe;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use nix::sys::stat::{Mode, major, minor};
use nix::unistd::mkfifo;
use profiler_common::walk::WalkEnd;

use self::probe::{Probe, Workshop};
use super::*;
use crate::model::event::{CommChange, Exit, Fork, MmapId, SidebandLost};
use crate::model::frame::{Binary, BinaryKind, Frame, JitMap};

const PLUGIN: &str = "void plugin(void) { __asm__ volatile(\"nop\"); }";

/// A stack of one user address, and of nothing else.
fn stack(pid: u32, tid: u32, address: u64) -> RawStack {
    RawStack {
        time_ns: now_ns(),
        pid,
        tid,
        cpu: 0,
        cgroup_id: 1,
        comm: *b"probe\0\0\0\0\0\0\0\0\0\0\0",
        user: vec![address],
        kernel: Vec::new(),
        user_end: WalkEnd::Complete,
        kernel_end: WalkEnd::Absent,
        rest: None,
    }
}

fn scanned() -> Processes {
    let mut processes = Processes::new(Config::default());
    processes.scan().unwrap();
    processes
}

fn frame(processes: &mut Processes, pid: u32, address: u64) -> Frame {
    let got = processes.attribute(&stack(pid, pid, address));
    assert_eq!(got.stack.len(), 1);
    got.stack[0].clone()
}

fn native(frame: Frame) -> Arc<Binary> {
    let Frame::Native { binary, .. } = frame else { panic!("{frame:?}") };
    binary
}

/// The same for an address in the text of its file.
fn text(frame: Frame) -> Arc<Binary> {
    let Frame::Native { binary, offset } = frame else { panic!("{frame:?}") };
    assert!(binary.address_of(offset).is_some(), "{offset:x} in {binary:?}");
    assert!(binary.file.is_some() && binary.problem.is_none(), "{binary:?}");
    binary
}

fn generated(frame: Frame) -> Arc<JitMap> {
    let Frame::Jit { map, .. } = frame else { panic!("{frame:?}") };
    map
}

/// Events as the side-band would send them when a process maps a file.
fn mapped(pid: u32, start: u64, path: &str, id: MmapId) -> Event {
    let (path, len) = (path.as_bytes().to_vec(), 0x1000);
    Event::Mmap(Mmap { time_ns: now_ns(), pid, start, len, file_offset: 0, id, path })
}

fn exec(pid: u32) -> Event {
    let comm = *b"probe\0\0\0\0\0\0\0\0\0\0\0";
    Event::Comm(CommChange { time_ns: now_ns(), pid, tid: pid, comm, exec: true })
}

fn inode_of(path: &Path) -> MmapId {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(path).unwrap();
    let [major, minor] = [major(meta.dev()), minor(meta.dev())].map(|n| u32::try_from(n).unwrap());
    MmapId::Inode { major, minor, inode: meta.ino(), generation: 0 }
}

fn build_id_of(path: &Path) -> String {
    crate::process::elf::read(&std::fs::File::open(path).unwrap()).unwrap().build_id
}

fn bytes_of(build_id: &str) -> MmapId {
    let digits = build_id.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    MmapId::BuildId(digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect())
}

/// A process that has come and gone: its number.
fn ended() -> u32 {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

#[test]
fn a_process_that_was_there_before() {
    let workshop = Workshop::new();
    let mut probe = Probe::of(workshop.path("probe"));
    let landmark = probe.ask("landmark");
    let mut processes = scanned();
    let binary = text(frame(&mut processes, probe.pid(), landmark));
    assert_eq!(binary.path, workshop.path("probe").to_str().unwrap());
    assert_eq!(binary.kind, BinaryKind::File);
    assert_eq!(binary.build_id, build_id_of(&workshop.path("probe")));
    assert!(binary.file.is_some());
    assert_eq!(processes.process_count(), 1);
}

#[test]
fn a_process_that_nobody_told_of() {
    let workshop = Workshop::new();
    let mut probe = Probe::of(workshop.path("probe"));
    let landmark = probe.ask("landmark");
    let mut processes = Processes::new(Config::default());
    let got = processes.attribute(&stack(probe.pid(), probe.pid(), landmark));
    native(got.stack[0].clone());
    assert_eq!((&*got.thread.process, &*got.thread.thread), ("probe", "probe"));
    assert!(got.thread.cgroup.starts_with('/'), "{}", got.thread.cgroup);
    assert_eq!(processes.losses(), Losses::default());
}

#[test]
fn a_child_without_exec() {
    let workshop = Workshop::new();
    let mut probe = Probe::of(workshop.path("probe"));
    let landmark = probe.ask("landmark");
    let mut processes = scanned();
    let parent = text(frame(&mut processes, probe.pid(), landmark));
    let pid = u32::try_from(probe.ask("fork")).unwrap();
    let (parent_pid, time_ns) = (probe.pid(), now_ns());
    processes.apply(&Event::Fork(Fork {
        time_ns,
        pid,
        tid: pid,
        parent_pid,
        parent_tid: parent_pid,
    }));
    assert!(Arc::ptr_eq(&parent, &native(frame(&mut processes, pid, landmark))));
    assert_eq!(processes.process_count(), 2);
}

#[test]
fn a_new_program() {
    let workshop = Workshop::new();
    let other = workshop.build(
        &format!("{}\nint unlike;", include_str!("probe.c")),
        "other",
        &["-static-pie", "-pthread"],
    );
    let mut probe = Probe::of(workshop.path("probe"));
    let before = probe.ask("landmark");
    let mut processes = scanned();
    native(frame(&mut processes, probe.pid(), before));

    assert_eq!(probe.tell(&format!("exec {}", other.display())), "ready");
    processes.apply(&exec(probe.pid()));
    let after = probe.ask("landmark");
    let start = after & !0xfff;
    // What the side-band tells of the mapping is less than the whole of it: the file is found by path.
    processes.apply(&mapped(probe.pid(), start, other.to_str().unwrap(), inode_of(&other)));
    let binary = native(frame(&mut processes, probe.pid(), after));
    assert_eq!(binary.path, other.to_str().unwrap());
    assert_eq!(binary.build_id, build_id_of(&other));
}

#[test]
fn a_library_loaded_later() {
    let workshop = Workshop::new();
    let plugin = workshop.build(PLUGIN, "plugin.so", &["-shared", "-fPIC"]);
    workshop.build(include_str!("probe.c"), "loader", &["-DLOADS", "-pthread", "-ldl"]);
    let mut probe = Probe::of(workshop.path("loader"));
    let mut processes = scanned();
    let address = probe.ask(&format!("load {}", plugin.display()));
    // The side-band has not told, as after a loss: the first stack in it makes us look.
    let binary = native(frame(&mut processes, probe.pid(), address));
    assert_eq!(binary.path, plugin.to_str().unwrap());
}

#[test]
fn a_mapping_that_moved() {
    let workshop = Workshop::new();
    let mut probe = Probe::of(workshop.path("probe"));
    let mut processes = scanned();
    let address = probe.ask("move");
    let binary = native(frame(&mut processes, probe.pid(), address + 8));
    assert_eq!(binary.path, workshop.path("probe").to_str().unwrap());
}

#[test]
fn an_address_in_no_mapping_is_looked_for_seldom() {
    let workshop = Workshop::new();
    let probe = Probe::of(workshop.path("probe"));
    let mut processes = scanned();
    for _ in 0..100 {
        assert_eq!(frame(&mut processes, probe.pid(), 0x10), Frame::Unmapped { address: 0x10 });
    }
    assert_eq!(processes.losses().get("user_frames_unmapped"), 100);
}

#[test]
fn a_deleted_binary() {
    let workshop = Workshop::new();
    let build_id = build_id_of(&workshop.path("probe"));
    let mut probe = Probe::of(workshop.path("probe"));
    let landmark = probe.ask("landmark");
    std::fs::remove_file(workshop.path("probe")).unwrap();
    // Another file at its path must not be taken for it.
    std::fs::copy("/bin/true", workshop.path("probe")).unwrap();
    let binary = text(frame(&mut scanned(), probe.pid(), landmark));
    assert_eq!(binary.kind, BinaryKind::Deleted);
    assert_eq!(binary.path, workshop.path("probe").to_str().unwrap());
    assert_eq!(binary.build_id, build_id);
    assert!(binary.file.is_some());
}

#[test]
fn a_program_in_memory() {
    let workshop = Workshop::new();
    let mut probe = Probe::of(workshop.path("probe"));
    assert_eq!(probe.tell("memfd"), "ready");
    let landmark = probe.ask("landmark");
    let binary = text(frame(&mut scanned(), probe.pid(), landmark));
    assert_eq!((binary.kind, binary.path.as_str()), (BinaryKind::Memfd, "/memfd:copy"));
    assert_eq!(binary.build_id, build_id_of(&workshop.path("probe")));
    assert!(binary.file.is_some());
}

#[test]
fn a_container() {
    let workshop = Workshop::new();
    let root = workshop.path("container");
    for dir in ["bin", "etc", "tmp"] {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    std::fs::copy(workshop.path("probe"), root.join("bin/probe")).unwrap();
    std::fs::copy("/bin/true", root.join("etc/x")).unwrap();
    symlink("../../../../../../../../etc/x", root.join("bin/x")).unwrap();
    mkfifo(&root.join("bin/fifo"), Mode::S_IRWXU).unwrap();

    let mut command = Command::new("unshare");
    command.arg("--mount").arg("chroot").arg(&root).arg("/bin/probe");
    let mut probe = Probe::start(command);
    let landmark = probe.ask("landmark");
    let mut processes = scanned();
    let binary = text(frame(&mut processes, probe.pid(), landmark));
    assert!(binary.path.ends_with("/bin/probe"), "{}", binary.path);
    assert!(binary.file.is_some());

    // Paths as the side-band tells them begin at the container's root, and links end there.
    let inside = bytes_of(&build_id_of(&root.join("etc/x")));
    processes.apply(&mapped(probe.pid(), 0x10000, "/bin/x", inside));
    let binary = native(frame(&mut processes, probe.pid(), 0x10000));
    assert!(binary.file.is_some(), "{:?}", binary.problem);

    // Neither a FIFO nor a device stops us.
    for (page, path) in [(0x20000, "/bin/fifo"), (0x30000, "/dev/zero0"), (0x40000, "/bin/none")] {
        processes.apply(&mapped(probe.pid(), page, path, inode_of(&root.join("bin/fifo"))));
        let binary = native(frame(&mut processes, probe.pid(), page));
        assert!(binary.file.is_none() && binary.problem.is_some());
    }
}

#[test]
fn a_process_that_is_gone() {
    let workshop = Workshop::new();
    let path = workshop.path("probe");
    let shown = path.to_str().unwrap();
    let build_id = bytes_of(&build_id_of(&path));
    let other = inode_of(Path::new("/bin/true"));
    for (id, is_named) in [
        (inode_of(&path), true),
        (build_id, true),
        (other, false),
        (MmapId::BuildId(vec![1; 20]), false),
        (MmapId::Inode { major: 0, minor: 0, inode: 0, generation: 0 }, false),
    ] {
        let mut processes = Processes::new(Config::default());
        let pid = ended();
        processes.apply(&exec(pid));
        processes.apply(&mapped(pid, 0x10000, shown, id.clone()));
        processes.apply(&Event::Exit(Exit { time_ns: now_ns(), pid, tid: pid }));
        let binary = native(frame(&mut processes, pid, 0x10010));
        assert_eq!(binary.path, shown);
        assert_eq!(binary.file.is_some(), is_named, "{id:?}: {:?}", binary.problem);
        assert_eq!(binary.problem.is_none(), is_named);
    }
}

#[test]
fn a_process_that_is_gone_and_that_nobody_told_of() {
    let mut processes = Processes::new(Config::default());
    let pid = ended();
    for _ in 0..3 {
        let got = processes.attribute(&stack(pid, pid, 0x10000));
        assert_eq!(*got.stack, [Frame::Unmapped { address: 0x10000 }]);
        assert_eq!(*got.thread.process, *"probe");
    }
    assert_eq!(processes.losses().get("stacks_of_unknown_processes"), 3);
}

#[test]
fn the_first_thread_may_end_before_the_others() {
    let workshop = Workshop::new();
    let mut probe = Probe::of(workshop.path("probe"));
    let landmark = probe.ask("landmark");
    let tid = u32::try_from(probe.ask("leave")).unwrap();
    let mut processes = Processes::new(Config::default());
    let got = processes.attribute(&stack(probe.pid(), tid, landmark));
    assert!(native(got.stack[0].clone()).file.is_some());
}

#[test]
fn thousands_of_mappings() {
    let workshop = Workshop::new();
    let mut probe = Probe::of(workshop.path("probe"));
    let area = probe.ask("scatter 5000");
    let mut processes = scanned();
    for n in [0, 1, 2_500, 4_998, 4_999] {
        let Frame::Native { offset, .. } =
            frame(&mut processes, probe.pid(), area + n * 0x2000 + 5)
        else {
            panic!("page {n}")
        };
        assert_eq!(offset, n % 4 * 0x1000 + 5);
    }
    assert_eq!(processes.losses().get("mappings_lost_limit"), 0);
}

#[test]
fn generated_code_with_a_perf_map() {
    let workshop = Workshop::new();
    let mut probe = Probe::of(workshop.path("probe"));
    let code = probe.ask("generate 4");
    let mut processes = scanned();
    let without = generated(frame(&mut processes, probe.pid(), code));
    assert!(without.file.is_none());

    // It is found when it is written later; but not when anybody else wrote it.
    let path = format!("/tmp/perf-{}.map", probe.pid());
    std::fs::write(&path, "1000 10 f\n").unwrap();
    std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
    let mut raw = stack(probe.pid(), probe.pid(), code);
    assert!(generated(processes.attribute(&raw).stack[0].clone()).file.is_none());
    std::os::unix::fs::chown(&path, Some(0), None).unwrap();
    raw.time_ns += 100_000_000_000;
    let with = generated(processes.attribute(&raw).stack[0].clone());
    std::fs::remove_file(&path).unwrap();
    assert!(with.file.is_some());
    assert_ne!(with.id, without.id);
    assert_eq!(with.path, PathBuf::from(format!("/proc/{0}/root{path}", probe.pid())));
}

#[test]
fn a_perf_map_in_a_pid_namespace() {
    let workshop = Workshop::new();
    let root = workshop.path("container");
    for dir in ["bin", "tmp"] {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    std::fs::copy(workshop.path("probe"), root.join("bin/probe")).unwrap();
    std::fs::set_permissions(root.join("tmp"), std::fs::Permissions::from_mode(0o1777)).unwrap();
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--pid", "--fork", "--kill-child", "chroot"])
        .arg(&root)
        .arg("/bin/probe");
    let mut probe = Probe::start(command);
    std::fs::write(root.join("tmp/perf-1.map"), "1000 10 f\n").unwrap();
    let code = probe.ask("generate 4");
    let children = format!("/proc/{0}/task/{0}/children", probe.pid());
    let pid: u32 = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
    let map = generated(frame(&mut scanned(), pid, code));
    assert!(map.file.is_some(), "{}", map.path.display());
    assert_eq!(map.path, PathBuf::from(format!("/proc/{pid}/root/tmp/perf-1.map")));
}

#[test]
fn lost_events_are_made_up_for() {
    let workshop = Workshop::new();
    let mut processes = scanned();
    let mut probe = Probe::of(workshop.path("probe"));
    let landmark = probe.ask("landmark");
    let lost = SidebandLost { time_ns: now_ns(), records: 7 };
    processes.apply(&Event::SidebandLost(lost));
    assert!(processes.table.get(probe.pid()).is_some_and(|life| life.space().len() > 0));
    text(frame(&mut processes, probe.pid(), landmark));
}

#[test]
fn a_kernel_thread() {
    let mut raw = stack(2, 2, 0);
    raw.user.clear();
    raw.user_end = WalkEnd::Absent;
    raw.kernel = vec![0xffff_ffff_8000_0010];
    raw.comm = *b"kthreadd\0\0\0\0\0\0\0\0";
    let got = scanned().attribute(&raw);
    assert_eq!(*got.stack, [Frame::Kernel { address: 0xffff_ffff_8000_0010 }]);
    assert_eq!(*got.thread.process, *"kthreadd");
}

#[test]
fn the_vdso() {
    let workshop = Workshop::new();
    let probe = Probe::of(workshop.path("probe"));
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", probe.pid())).unwrap();
    let line = maps.lines().find(|line| line.ends_with("[vdso]")).expect("a vDSO");
    let start = u64::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
    let binary = native(frame(&mut scanned(), probe.pid(), start + 0xa00));
    assert_eq!((binary.kind, binary.path.as_str()), (BinaryKind::Vdso, "[vdso]"));
    assert!(binary.file.is_some());
}

#[test]
fn no_procfs() {
    let mut processes = Processes::new(Config { proc: "/nowhere".into(), ..Config::default() });
    let error = processes.scan().unwrap_err().to_string();
    assert!(error.contains("/nowhere") && error.contains("mount procfs"), "{error}");
    let got = processes.attribute(&stack(1, 1, 5));
    assert_eq!(*got.stack, [Frame::Unmapped { address: 5 }]);
    assert_eq!(*got.thread.cgroup, *"id:1");
}
