//! What is found again, and what is forgotten.

use super::*;
use crate::model::frame::Frame;

fn known(frames: usize, tag: u64) -> Known {
    Known { stack: vec![Frame::Kernel { address: tag }; frames].into(), unmapped: 0 }
}

#[test]
fn only_the_same_stack_is_found() {
    let mut stacks = Stacks::new(100);
    stacks.keep(1, &RawStack::of(&[1, 2], &[3]), known(3, 0));
    assert!(stacks.get(1, &RawStack::of(&[1, 2], &[3])).is_some());
    assert!(stacks.get(2, &RawStack::of(&[1, 2], &[3])).is_none());
    assert!(stacks.get(1, &RawStack::of(&[1], &[2, 3])).is_none());
    assert!(stacks.get(1, &RawStack::of(&[1, 2, 3], &[])).is_none());
    let mut cut = RawStack::of(&[1, 2], &[3]);
    cut.user_end = WalkEnd::DepthLimit;
    assert!(stacks.get(1, &cut).is_none());
}

#[test]
fn who_and_when_do_not_matter() {
    let mut stacks = Stacks::new(100);
    stacks.keep(1, &RawStack::of(&[1, 2], &[3]), known(3, 0));
    let other = RawStack { time_ns: 99, tid: 5, cpu: 3, ..RawStack::of(&[1, 2], &[3]) };
    assert!(stacks.get(1, &other).is_some());
}

#[test]
fn what_is_asked_for_stays_and_the_rest_goes() {
    let mut stacks = Stacks::new(200);
    stacks.keep(1, &RawStack::of(&[0], &[]), known(9, 0));
    for n in 1..1_000 {
        stacks.keep(1, &RawStack::of(&[n], &[]), known(9, n));
        assert!(stacks.get(1, &RawStack::of(&[0], &[])).is_some(), "after {n}");
        let frames: usize = stacks.known.iter().map(|(_, known)| known.stack.len()).sum();
        assert!(frames <= 200, "{frames}");
    }
    let known = (1..1_000).filter(|n| stacks.get(1, &RawStack::of(&[*n], &[])).is_some());
    assert!((5..12).contains(&known.count()), "the rest of the room is for others");
}

#[test]
fn empty_stacks_are_bounded_too() {
    let mut stacks = Stacks::new(100);
    for version in 0..1_000 {
        stacks.keep(version, &RawStack::of(&[], &[]), known(0, 0));
    }
    assert!(stacks.known.len() as u64 <= 100 / OVERHEAD);
}

#[test]
fn stacks_in_a_memory_that_is_gone_go_with_it() {
    let mut stacks = Stacks::new(1_000);
    for version in 0..10 {
        stacks.keep(version, &RawStack::of(&[1], &[]), known(1, version));
    }
    stacks.forget_gone(1, || [3].into());
    assert_eq!(stacks.known.len(), 1);
    assert!(stacks.get(3, &RawStack::of(&[1], &[])).is_some());
}
