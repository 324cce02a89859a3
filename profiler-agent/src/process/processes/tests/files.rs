//! Which file an address is in: moved, deleted, in memory, in a container, never seen.

use std::os::unix::fs::symlink;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::*;

const PLUGIN: &str = "void plugin(void) { __asm__ volatile(\"nop\"); }";

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
fn a_deleted_binary() {
    let workshop = Workshop::new();
    // Files of the same build ID are one, and a child of another test's probe may have lost its file too.
    let unlike = format!("{}\nint deleted;", include_str!("probe.c"));
    workshop.build(&unlike, "probe", &["-static-pie", "-pthread"]);
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
