//! A minute of what `cargo xtask soak` does for an hour.

use std::time::Duration;

use profiler_tests::soak::{self, Plan, What};

use crate::host;

const PLAN: Plan = Plan {
    length: Duration::from_secs(64),
    every: Duration::from_secs(1),
    window: Duration::from_secs(2),
};

/// By how much a figure may grow from the second quarter to the last, in percent.
///
/// A minute is too short for 2 %: what is bounded by a number is not full yet, and a mean of 16 samples moves
/// with what happened to run. What leaks with each process, binary, container or window does not hide in
/// these bounds all the same: from one mean to the other there are 32 s, in which 3,200 processes, 60
/// binaries and 16 windows come and go.
const fn bound(what: What) -> f64 {
    match what {
        // What has a number of its own, whatever runs.
        What::Maps => 0.0,
        What::MapBytes | What::Mapped => 10.0,
        // Threads that serve requests come and go; one of twenty may do so.
        What::Threads => 10.0,
        // Binaries are open while they run, and for a while after that.
        What::Descriptors => 30.0,
        What::Rss | What::Anonymous => 20.0,
        // They fill what they may fill.
        What::Store | What::Cache => f64::MAX,
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
        if growth > bound(row.what) {
            grew.push(format!("{name} by {growth:.2} %"));
        }
    }
    assert!(grew.is_empty(), "{grew:?}\n{}", report.last_words);
    assert!(report.windows >= 20 && report.taken > 0, "{}", report.last_words);
    let churned = report.churned;
    assert!(churned.processes > 1_000 && churned.binaries > 40 && churned.containers > 10);
}
