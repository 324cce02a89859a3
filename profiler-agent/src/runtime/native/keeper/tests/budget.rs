//! What the kernel's tables and the agent take together.

use super::*;

#[test]
fn what_is_kept_here_is_taken_from_the_arena() {
    let budget = 200_000;
    let mut world = World::new(1 << 20);
    world.keeper.budget_bytes = budget;
    let sum = |world: &mut World| {
        let held = world.keeper.held(world.now);
        (held.own_bytes, held.own_bytes + BESIDE + world.keeper.kernel.allowed)
    };
    world.settle(Duration::ZERO);
    assert_eq!(sum(&mut world), (0, budget));
    for pid in 0..1000 {
        world.has(pid, &space(&"a".repeat(1 + pid as usize % 50)));
        let (own, all) = sum(&mut world);
        assert!(all <= budget && own <= budget - BESIDE, "{own} of {all}");
    }
    let processes = world.keeper.kernel.processes.len() as u64;
    let refused = world.lost("unwind_lists_not_written_budget");
    assert!(
        processes > 50 && refused > 500 && processes + refused == 1000,
        "{processes}, {refused}"
    );
    // A stack of one that has no list does not wait.
    let refused = world.lost("unfinished_stacks_beyond_limit");
    world.keeper.hold(stacks::unfinished(1, &space("a")), world.now);
    assert_eq!(world.lost("unfinished_stacks_beyond_limit"), refused + 1);
    assert_eq!(world.keeper.take_finished().len(), 1);
    // What ends is given back.
    (0..1000).for_each(|pid| world.ends(pid));
    assert!(world.keeper.own_bytes() < 1000 && world.keeper.kernel.processes.is_empty());
    world.has(1, &space("a"));
    assert!(world.kinds(1).is_some());
}
