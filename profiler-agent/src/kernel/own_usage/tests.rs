//! What the programs take, counted and not counted; and what this process takes.

use super::*;

const S: u64 = 1_000_000_000;

fn runs(ns: u64, count: u64) -> Runs {
    Runs { ns, count }
}

fn reading(at_s: u64, switches: u64, switch: Runs, other: Runs) -> Reading {
    let counted = RunTime { switch, other, nothing: Runs::default() };
    Reading { at_ns: at_s * S, switches, counted }
}

#[test]
fn what_is_not_counted_is_taken_to_cost_what_it_did() {
    let start = reading(10, 1_000, runs(0, 0), runs(0, 0));
    let counted = reading(11, 2_000, runs(300_000, 1_000), runs(50_000, 100));
    let cost = Cost::between(&start, &counted, 0.0);
    assert_eq!(cost, Cost { ns_per_switch: 300.0, other_ns_per_second: 50_000.0 });
    // Ten times as many switches, for four seconds.
    let later = reading(15, 42_000, runs(300_000, 1_000), runs(50_000, 100));
    assert_eq!(cost.of(&counted, &later), 300.0 * 40_000.0 + 4.0 * 50_000.0);
    let mut time =
        BpfTime { cost, last: counted, since: counted, refused: true, ..BpfTime::default() };
    time.step(&later);
    assert_eq!(time.total_ns, 12_200_000.0);
}

#[test]
fn what_counting_takes_is_taken_off_where_nobody_counts() {
    let start = reading(10, 0, runs(0, 0), runs(0, 0));
    let counted = reading(11, 1_000, runs(180_000, 1_000), runs(40_000, 1_000));
    let cost = Cost::between(&start, &counted, 50.0);
    assert_eq!(cost, Cost { ns_per_switch: 130.0, other_ns_per_second: 0.0 });
}

#[test]
fn the_least_that_nothing_took_is_what_counting_takes() {
    let mut nothing = Nothing { is_wanted: true, ..Nothing::default() };
    nothing.learn(runs(90_000, 999));
    assert_eq!((nothing.counting_ns, nothing.is_wanted), (0.0, true), "too few runs tell nothing");
    nothing.learn(runs(90_000, 1_000));
    nothing.learn(runs(100_000, 2_000));
    nothing.learn(runs(70_000, 1_000));
    assert_eq!((nothing.counting_ns, nothing.is_wanted), (50.0, false));
}

#[test]
fn this_process_takes_time_and_memory() {
    let before = cpu_ns();
    while cpu_ns() == before {
        std::hint::spin_loop();
    }
    assert!(memory_bytes() > 1 << 20, "{}", memory_bytes());
    assert!(context_switches() > 0);
}
