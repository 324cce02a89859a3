//! A minute of what `cargo xtask soak` does for an hour.

use std::time::Duration;

use profiler_tests::soak::{self, Plan, Row, What};

use crate::host;

const PLAN: Plan = Plan {
    length: Duration::from_secs(64),
    every: Duration::from_secs(1),
    window: Duration::from_secs(2),
    // Full within a few seconds, as the default is within a few minutes.
    settings: &["memory.unwind=16 MiB", "memory.symbols=8 MiB"],
};

/// Descriptors, at most: 512 binaries that remembered stacks lead through, and the debug information of a few
/// hundred small ones, which takes 24 MiB at most. Both are given up when they are full, after minutes.
const DESCRIPTORS: f64 = 900.0;

/// By how much memory may grow from the second quarter to the last, in MiB: remembered stacks and names are
/// bounded by numbers that a minute does not reach.
const MEMORY: f64 = 12.0;

/// What may be mapped of kernel maps, in MiB: of the 16 for unwinding two regions of 4; the ring buffer of 1,
/// whose data the kernel maps twice, with its two pages; and 16,384 slots of 88 bytes for threads. All of that
/// may be taken, and never more.
const MAPPED: f64 = 8.0 + 2.0 + 0.01 + 1.375;

/// Whether a figure is beyond what it may be. A minute is too short for the 2 % of an hour: what is bounded by
/// a number is not full yet, and a mean of 16 samples moves with what happened to run. What leaks does not hide
/// in these bounds all the same: from one mean to the other there are 32 s, in which 3,200 processes, 60
/// binaries and 16 windows of some MiB come and go.
fn is_beyond(row: &Row) -> bool {
    match row.what {
        What::Maps => row.growth() > 0.0,
        What::MapBytes => row.growth() > 5.0,
        What::Mapped => row.last > MAPPED,
        // Threads that serve requests come and go; one of twenty may do so.
        What::Threads => row.growth() > 10.0,
        What::Descriptors => row.last > DESCRIPTORS,
        What::Rss | What::Anonymous => row.last - row.second > MEMORY,
        // They fill what they may fill: 16 MiB each.
        What::Store | What::Cache => row.last > 17.0,
    }
}

#[test]
fn a_minute_of_coming_and_going_leaves_nothing_behind() {
    let _host = host::claim();
    let report = soak::run(&PLAN, |_| ()).unwrap();
    println!("{}; {} windows, {} taken", report.churned, report.windows, report.taken);
    let mut grew = Vec::new();
    for row in &report.rows {
        let (name, growth) = (row.what.name(), row.growth());
        println!("{name}: {:.2} → {:.2} {}, {growth:+.2} %", row.second, row.last, row.what.unit());
        if is_beyond(row) {
            grew.push(format!("{name} by {growth:.2} %"));
        }
    }
    assert!(grew.is_empty(), "{grew:?}\n{}", report.last_words);
    assert!(report.windows >= 20 && report.taken > 0, "{}", report.last_words);
    let churned = report.churned;
    assert!(churned.processes > 1_000 && churned.binaries > 40 && churned.containers > 10);
}
