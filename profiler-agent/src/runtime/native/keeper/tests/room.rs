//! What goes, and what waits, when room is short.

use super::*;

/// Processes 1, 2 and 3 have a table each, of `each` bytes, if there is room for it within `budget`.
fn with_a_b_c(budget: u64, each: usize) -> World {
    let mut world = World::new(budget);
    for (pid, name) in [(1, "a"), (2, "b"), (3, "c")] {
        world.has(pid, &space(name));
        world.load(each);
    }
    world
}

#[test]
fn the_table_that_was_not_mapped_for_longest_makes_room() {
    let mut world = with_a_b_c(2_800, 600);
    world.ends(2);
    world.ends(1);
    // 1,800 bytes are used, 175 are kept for lists, and 350 shall be spare.
    world.has(4, &space("d"));
    world.load(600);
    world.now += 2 * SECOND;
    world.has(5, &space("a"));
    assert_eq!(world.kinds(5).unwrap(), ["table"], "the colder one went");
    world.has(6, &space("b"));
    assert_eq!((world.kinds(6).unwrap(), world.load(600)), (vec!["pending"], vec!["b".to_owned()]));
}

#[test]
fn what_finds_no_room_is_counted_and_tried_again_when_there_is_some() {
    let mut world = with_a_b_c(2_000, 800);
    assert_eq!(
        (world.kinds(2).unwrap(), world.kinds(3).unwrap()),
        (vec!["table"], vec!["no_rows"])
    );
    assert_eq!(world.lost("unwind_tables_not_loaded_budget"), 1);
    world.now += 10 * SECOND;
    world.settle(SECOND);
    assert!(world.keeper.take_jobs().is_empty(), "no room, no try");
    world.ends(1);
    world.settle(2 * SECOND);
    world.settle(SECOND);
    assert_eq!(world.load(800), ["c"]);
    assert_eq!(world.kinds(3).unwrap(), ["table"]);
}

#[test]
fn what_would_never_fit_drives_nothing_out() {
    let mut world = World::new(2_000);
    world.has(1, &space("a"));
    world.load(800);
    world.ends(1);
    world.has(2, &space("b"));
    world.load(5_000);
    world.now += 10 * SECOND;
    world.has(3, &space("a"));
    assert_eq!(
        (world.kinds(2).unwrap(), world.kinds(3).unwrap()),
        (vec!["no_rows"], vec!["table"])
    );
    assert_eq!(world.lost("unwind_tables_not_loaded_budget"), 1);
}

#[test]
fn lists_have_room_when_tables_have_none() {
    let mut world = World::new(3_200);
    world.has(1, &space("a"));
    world.load(3_100);
    assert_eq!(world.lost("unwind_tables_not_loaded_budget"), 1);
    world.has(2, &space(&"*".repeat(80)));
    assert_eq!(world.kinds(2).unwrap().len(), 80);
    world.has(3, &space(&"*".repeat(80)));
    assert_eq!((world.kinds(3), world.lost("unwind_lists_not_written_budget")), (None, 1));
}
