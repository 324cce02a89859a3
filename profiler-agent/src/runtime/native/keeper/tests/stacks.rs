//! Stacks that wait for tables.

use profiler_common::native::step::Registers;
use profiler_common::walk::WalkEnd;

use super::*;
use crate::model::event::Rest;
use crate::model::space::{Finished, Unfinished};

/// A stack of one frame, whose frame pointer says that there is no more, at the first byte of `space`.
pub(super) fn unfinished(ticket: u64, space: &Space) -> Unfinished {
    let at = Registers { pc: space[0].start, sp: 0x8000, fp: 0, lr: 0, kept: 1 };
    let rest = Rest { at, stack: vec![0; 64].into() };
    Unfinished { ticket, space: Arc::clone(space), rest, limit: 9 }
}

#[test]
fn a_stack_waits_for_the_tables_of_its_process() {
    let mut world = World::new(1 << 20);
    let ab = space("ab");
    world.keeper.hold(unfinished(1, &ab), world.now);
    world.settle(Duration::from_millis(2));
    assert!(world.keeper.take_finished().is_empty() && world.keeper.is_waiting());
    // Its process has ended meanwhile, or was never known; its list is kept for it.
    let jobs = world.keeper.take_jobs();
    assert_eq!(jobs.len(), 2);
    jobs.iter().for_each(|job| world.keeper.loaded(job.table, None, world.now));
    world.settle(Duration::ZERO);
    let finished = Finished { ticket: 1, frames: Vec::new(), end: WalkEnd::Complete };
    assert_eq!(world.keeper.take_finished(), [finished]);
    assert!(!world.keeper.is_waiting());
    assert_eq!(world.used(), 0, "the list is gone with the stack");
}

#[test]
fn a_stack_does_not_wait_for_ever_and_not_in_any_crowd() {
    let mut world = World::new(1 << 20);
    let ab = space("ab");
    (0..1100).for_each(|ticket| world.keeper.hold(unfinished(ticket, &ab), world.now));
    world.settle(Duration::from_secs(3));
    let refused = world.keeper.take_finished().len() as u64;
    assert!(refused > 0 && world.lost("unfinished_stacks_beyond_limit") == refused);
    world.settle(Duration::ZERO);
    let late = world.keeper.take_finished();
    assert_eq!(late.len() as u64 + refused, 1100);
    assert!(late.iter().all(|stack| stack.end == WalkEnd::NotReady));
    assert_eq!(world.used(), 0);
}
