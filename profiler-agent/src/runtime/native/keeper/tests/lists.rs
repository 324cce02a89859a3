//! Which process has which list, and what is in it.

use super::*;

#[test]
fn a_process_has_a_list_at_once_and_tables_as_they_come() {
    let mut world = World::new(10_000);
    world.has(1, &space("ab*"));
    assert_eq!(world.kinds(1).unwrap(), ["pending", "pending", "no_rows"]);
    assert_eq!(world.load(100), ["a", "b"]);
    assert_eq!(world.kinds(1).unwrap(), ["table", "table", "no_rows"]);
    // Another process of the same program finds all of it.
    world.has(2, &space("ab"));
    assert_eq!(world.kinds(2).unwrap(), ["table", "table"]);
    assert!(world.keeper.take_jobs().is_empty());
}

#[test]
fn a_child_shares_its_parents_list_until_it_runs_a_program() {
    let mut world = World::new(10_000);
    let parents = space("ab");
    world.has(1, &parents);
    world.load(100);
    world.has(2, &parents);
    assert_eq!(world.keeper.kernel.processes[&1], world.keeper.kernel.processes[&2]);
    world.has(2, &space("c"));
    assert_eq!((world.kinds(1).unwrap().len(), world.kinds(2).unwrap()), (2, vec!["pending"]));
    // The list outlives whoever had it first.
    world.has(3, &parents);
    world.ends(1);
    assert_eq!((world.kinds(1), world.kinds(3).unwrap()), (None, vec!["table", "table"]));
}

#[test]
fn of_short_processes_nothing_is_left_but_their_tables() {
    let mut world = World::new(100_000);
    let shell = space("sl");
    world.has(1, &shell);
    world.load(1000);
    let before = world.used();
    for pid in 10..510 {
        world.has(pid, &shell);
        world.has(pid, &Space::default());
        world.has(pid, &space("tl"));
        world.load(1000);
        assert_eq!(world.kinds(pid).unwrap(), ["table", "table"]);
        world.ends(pid);
    }
    assert_eq!(world.used(), before + 1000, "the table of their program");
    assert_eq!(world.keeper.kernel.processes.len(), 1);
    world.now += 2 * SECOND;
    let room = world.keeper.kernel.room(world.now);
    assert_eq!((room.resting, world.keeper.held(world.now).processes), (0, 1));
    assert_eq!(world.keeper.losses(), &Losses::default());
}

#[test]
fn what_has_no_file_may_have_one_later() {
    let mut world = World::new(10_000);
    world.has(1, &space("A"));
    assert!(world.keeper.take_jobs().is_empty());
    assert_eq!(world.kinds(1).unwrap(), ["no_rows"]);
    world.has(2, &space("a"));
    assert_eq!(world.load(100), ["a"]);
    assert_eq!(world.kinds(2).unwrap(), ["table"]);
    world.has(3, &space("A"));
    assert_eq!(world.kinds(3).unwrap(), ["table"], "the table needs no file any more");
}

#[test]
fn a_binary_without_unwind_information_has_no_rows() {
    let mut world = World::new(10_000);
    world.has(1, &space("a"));
    let job = world.keeper.take_jobs().remove(0);
    world.keeper.loaded(job.table, None, world.now);
    world.settle(Duration::ZERO);
    assert_eq!(world.kinds(1).unwrap(), ["no_rows"]);
    world.has(2, &space("a"));
    assert!(world.keeper.take_jobs().is_empty(), "it is not read again");
}

#[test]
fn a_process_that_maps_all_the_time_waits() {
    let mut world = World::new(1 << 20);
    for i in 0..1000 {
        world
            .keeper
            .apply(SpaceChange { pid: 1, space: Some(space(&"*".repeat(500 + i % 2))) }, world.now);
        world.settle(Duration::from_micros(100));
    }
    let writes = world.keeper.kernel.writes;
    assert!((8..=12).contains(&writes), "100 ms at 10 ms for each: {writes}");
    world.settle(SECOND);
    world.settle(SECOND);
    assert_eq!(world.kinds(1).unwrap().len(), 501, "the last change is in");
}

#[test]
fn lists_that_still_wait_are_written_now_and_then() {
    let mut world = World::new(1 << 20);
    let all = "abcdefghijklmnopqrst";
    world.has(1, &space(all));
    let jobs = world.keeper.take_jobs();
    for job in &jobs {
        let bytes = vec![7; 64].into();
        let part = Part { address: 0, len: PAGE, rules: 8, bytes, rule_count: 1 };
        world.keeper.loaded(job.table, Some(vec![part]), world.now);
        world.settle(Duration::from_millis(10));
    }
    assert_eq!(world.kinds(1).unwrap(), ["table"; 20], "complete, at once");
    let lists = world.keeper.kernel.writes - jobs.len();
    assert!((3..=4).contains(&lists), "one for each 100 ms, first and last: {lists}");
}

#[test]
fn processes_that_nobody_knows_are_swept_away() {
    let mut world = World::new(10_000);
    world.has(1, &space("*"));
    let list = world.keeper.kernel.processes[&1];
    world.keeper.kernel.processes.extend([(8, list), (9, list)]);
    world.settle(LOOK);
    world.settle(LOOK / 2);
    assert!(world.kinds(8).is_some(), "it may just have been born");
    world.has(9, &space("*"));
    world.settle(LOOK);
    world.settle(LOOK);
    let left: Vec<u32> = world.keeper.kernel.processes();
    assert_eq!((left, world.lost("unwind_processes_swept")), (vec![1, 9], 1));
}

#[test]
fn a_full_table_of_processes_is_counted() {
    let mut world = World::new(10_000);
    world.keeper.kernel.max_processes = 1;
    world.has(1, &space("*"));
    world.has(2, &space("*"));
    assert_eq!((world.kinds(2), world.lost("unwind_processes_beyond_limit")), (None, 1));
    world.ends(2);
    world.ends(1);
    assert_eq!(world.used(), 0);
}
