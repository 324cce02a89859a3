//! Code that a process generates, and who may name it.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

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
