//! What tracefs tells of the classic tracepoints, where it is mounted.

use std::fs;
use std::path::{Path, PathBuf};

/// Where it may be mounted.
const MOUNTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// The directory of all tracepoints.
pub fn events() -> Option<PathBuf> {
    MOUNTS.iter().map(|m| Path::new(m).join("events")).find(|p| p.is_dir())
}

/// Offset in bytes of a field in the record of a tracepoint, such as `sched/sched_switch`.
pub fn field_offset(tracepoint: &str, field: &str) -> Option<u32> {
    let format = fs::read_to_string(events()?.join(tracepoint).join("format")).ok()?;
    parse_offset(&format, field)
}

/// A line of a format file: `field:pid_t child_pid; offset:44; size:4; signed:1;`.
fn parse_offset(format: &str, field: &str) -> Option<u32> {
    format.lines().find_map(|line| {
        let (declaration, rest) = line.trim().strip_prefix("field:")?.split_once(';')?;
        if declaration.rsplit(' ').next()? != field {
            return None;
        }
        rest.trim().strip_prefix("offset:")?.split(';').next()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "name: sched_process_fork\nID: 305\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:char parent_comm[16];\toffset:8;\tsize:16;\tsigned:0;\n\
        \tfield:pid_t child_pid;\toffset:44;\tsize:4;\tsigned:1;\n\
        print fmt: \"comm=%s pid=%d\", REC->parent_comm, REC->child_pid\n";

    #[test]
    fn offsets_of_fields() {
        assert_eq!(parse_offset(FORMAT, "child_pid"), Some(44));
        assert_eq!(parse_offset(FORMAT, "pid"), None);
        assert_eq!(parse_offset("", "child_pid"), None);
        assert_eq!(parse_offset("field:int x;\toffset:y;", "x"), None);
    }
}
