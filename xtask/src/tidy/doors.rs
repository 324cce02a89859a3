//! What is dangerous, or belongs to the outside, has one door.

use super::Problem;
use super::source::{Source, has_word};

/// A word and where it may stand.
struct Door {
    words: &'static [&'static str],
    places: &'static [&'static str],
    why: &'static str,
}

const DOORS: &[Door] = &[
    Door {
        words: &["unsafe"],
        places: &["profiler-agent/src/kernel", "profiler-ebpf", "profiler-common"],
        why: "unsafe code has one door, kernel/",
    },
    Door {
        // What libc has of system calls is unsafe, so the door above holds it too.
        words: &["aya", "aya_obj", "perf_event2"],
        // The bench lets the kernel count the runs of programs.
        places: &["profiler-agent/src/kernel", "profiler-common", "xtask/src/bench/stats.rs"],
        why: "aya and perf events have one door, kernel/",
    },
    Door {
        words: &["prost", "prost_wire", "protos"],
        places: &["proto"],
        why: "how bytes of a wire format are made is known to proto/ alone",
    },
    Door {
        words: &["profiler_proto"],
        places: &[
            "profiler-agent/src/profile",
            "profiler-agent/src/export",
            "profiler-agent/src/view",
            "profiler-agent/src/cli",
            "profiler-agent/src/pipeline.rs",
            "profiler-agent/src/pipeline",
            "profiler-agent/benches",
            "tests",
        ],
        why: "pprof is written by profile/, read by view/ and export/, and handed on by pipeline/ and cli/",
    },
    Door {
        words: &["blazesym", "cpp_demangle", "rustc_demangle"],
        places: &["profiler-agent/src/symbolize"],
        why: "names are found by symbolize/",
    },
    Door {
        words: &["inferno"],
        places: &["profiler-agent/src/view"],
        why: "pictures are drawn by view/",
    },
];

/// Each word stands only in its places.
pub fn are_used(source: &Source) -> Vec<Problem> {
    let mut problems = Vec::new();
    for door in DOORS.iter().filter(|door| !door.places.iter().any(|place| source.is_in(place))) {
        for (number, line) in source.code_lines() {
            if let Some(word) = door.words.iter().find(|word| has_word(line, word)) {
                problems.push(Problem::new(source, number, format!("{word}: {}", door.why)));
            }
        }
    }
    problems
}

/// Each unsafe block and implementation says in a `SAFETY:` comment above it why it is sound.
pub fn are_explained(source: &Source) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, code) in source.code.iter().enumerate() {
        let opens = code.contains("unsafe {") || has_word(code, "unsafe impl");
        if opens && !is_explained(source, index) {
            problems.push(Problem::new(
                source,
                index + 1,
                "unsafe without a `// SAFETY:` line above it",
            ));
        }
    }
    problems
}

/// Looks upwards through the statement that the block is in, and the comments above it.
fn is_explained(source: &Source, index: usize) -> bool {
    let above = source.lines.get(..=index).unwrap_or_default();
    for line in above.iter().rev().skip(1).take(12) {
        let line = line.trim();
        if line.starts_with("//") {
            if line.contains("SAFETY:") {
                return true;
            }
        } else if line.ends_with([';', '}']) || line.is_empty() {
            break;
        }
    }
    above.last().is_some_and(|line| line.contains("SAFETY:"))
}

#[cfg(test)]
mod tests {
    use super::super::check_sample;
    use super::*;

    #[test]
    fn a_word_outside_of_its_door_is_refused() {
        let text = "// unsafe in words is free\nunsafe { f() }\nuse aya::Ebpf;\n";
        assert_eq!(check_sample(are_used, "profiler-agent/src/view/a.rs", text), [2, 3]);
        assert_eq!(check_sample(are_used, "profiler-agent/src/kernel/a.rs", text), [0; 0]);
        assert_eq!(check_sample(are_used, "profiler-agent/src/cli/a.rs", "use inferno::x;"), [1]);
    }

    #[test]
    fn unsafe_needs_its_reason() {
        let text = "\
fn a() {
    // SAFETY: the pointer is ours.
    let x = unsafe { *p };
    let y = unsafe { *q };
    // SAFETY: a statement of two lines.
    let z =
        unsafe { *r };
}
";
        assert_eq!(check_sample(are_explained, "x.rs", text), [4]);
    }
}
