//! Tables that go for warmer ones.

use super::*;

const BYTES: u64 = 1000;

impl World {
    /// A second passes in which so many stacks lead through each of these binaries. Whatever is wanted then
    /// is read.
    fn second(&mut self, touched: &[(char, u32)]) {
        let touched: Vec<_> = touched
            .iter()
            .map(|(name, stacks)| (binary(&name.to_string(), true), *stacks))
            .collect();
        self.keeper.warm(&touched);
        self.settle(SECOND);
        self.load(BYTES as usize);
        let room = self.keeper.kernel.room(self.now);
        assert!(room.used + room.resting <= room.total, "{room:?}");
    }

    /// Whether a process of one binary has its table.
    fn has_table(&self, pid: u32) -> bool {
        self.kinds(pid).unwrap() == ["table"]
    }

    /// One process for each binary; the tables of those at the end find no room.
    fn crowded(names: &str, total: u64) -> Self {
        let mut world = Self::new(total);
        for (pid, name) in names.chars().enumerate() {
            world.has(pid as u32, &space(&name.to_string()));
            world.load(BYTES as usize);
        }
        world
    }

    fn evicted(&self) -> u64 {
        self.lost("unwind_tables_evicted_budget")
    }
}

#[test]
fn a_warm_table_takes_the_room_of_the_coldest() {
    let mut world = World::crowded("abc", 2_500);
    assert_eq!([0, 1, 2].map(|pid| world.has_table(pid)), [true, true, false]);
    // Another process of the one that goes, and one that maps it beside others.
    world.has(7, &space("b"));
    world.has(8, &space("ab*"));
    (0..10).for_each(|_| world.second(&[('a', 50), ('c', 50)]));
    assert_eq!([0, 1, 2, 7].map(|pid| world.has_table(pid)), [true, false, true, false]);
    assert_eq!(world.kinds(8).unwrap(), ["table", "no_rows", "no_rows"]);
    let refused = "unwind_tables_not_loaded_budget";
    assert_eq!((world.evicted(), world.lost(refused)), (1, 1));
    // When there is room again, it comes back.
    [0, 8].iter().for_each(|pid| world.ends(*pid));
    (0..20).for_each(|_| world.second(&[]));
    assert_eq!(([1, 7, 2].map(|pid| world.has_table(pid)), world.evicted()), ([true; 3], 1));
}

#[test]
fn what_is_a_little_warmer_drives_nothing_out() {
    let mut world = World::crowded("abc", 2_500);
    for second in 0..100 {
        // As chance will have it: now one is warmer, now another.
        let stacks = |n: u32| 20 + (second * 7 + n * 13) % 20;
        world.second(&[('a', stacks(0)), ('b', stacks(1)), ('c', stacks(2))]);
    }
    assert_eq!(world.evicted(), 0);
    assert_eq!(world.keeper.losses().get("unwind_tables_not_loaded_budget"), 1);
}

#[test]
fn a_binary_that_no_stack_leads_through_drives_nothing_out() {
    let mut world = World::crowded("abc", 2_500);
    (0..100).for_each(|_| world.second(&[('c', 0)]));
    assert_eq!(
        ([0, 1, 2].map(|pid| world.has_table(pid)), world.evicted()),
        ([true, true, false], 0)
    );
}

#[test]
fn of_a_working_set_of_twice_the_room_the_hot_part_is_there() {
    let names: Vec<char> = ('а'..='џ').collect();
    // Room for 20 and for lists.
    let mut world = World::crowded(&names.iter().collect::<String>(), 24_500);
    // The last ones, which found no room, are the hottest, each a little more than the one before.
    let stacks = |n: usize| 1000 / (names.len() - n) as u32;
    let touched: Vec<_> = names.iter().enumerate().map(|(n, name)| (*name, stacks(n))).collect();
    (0..60).for_each(|_| world.second(&touched));
    let all: u32 = (0..names.len()).map(stacks).sum();
    let there = (0..names.len()).filter(|n| world.has_table(*n as u32));
    let found: u32 = there.map(stacks).sum();
    println!("{found} of {all} stacks, {} exchanges", world.evicted());
    assert!(found * 100 > all * 75, "{found} of {all}");
    let before = world.evicted();
    (0..600).for_each(|_| world.second(&touched));
    assert_eq!(world.evicted(), before, "it has come to rest");
}

#[test]
fn lists_drive_cold_tables_out() {
    let mut world = World::crowded("abc", 4_000);
    for pid in [10, 11] {
        world.has(pid, &space(&"*".repeat(20)));
    }
    // 3,000 bytes of tables, and a list of 640 that finds no room.
    assert_eq!([10, 11].map(|pid| world.kinds(pid).is_some()), [true, false]);
    (0..6).for_each(|_| world.second(&[('a', 9), ('b', 9)]));
    assert_eq!([0, 1, 2].map(|pid| world.has_table(pid)), [true, true, false]);
    assert_eq!(world.kinds(11).unwrap().len(), 20);
    assert_eq!(world.lost("unwind_lists_not_written_budget"), 1, "it waited for the room");
    // Lists of which there are too many do not drive out all tables.
    for pid in 20..30 {
        world.has(pid, &space(&"*".repeat(20)));
    }
    (0..10).for_each(|_| world.second(&[('a', 9), ('b', 9)]));
    assert!(world.has_table(0) && world.kinds(29).is_none());
}
