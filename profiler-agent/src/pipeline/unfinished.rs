//! Stacks that are not whole yet: their walk waits for tables. Where in memory their frames lay is
//! remembered, so that their process may change or end meanwhile, and what is observed of them waits.

use std::collections::HashMap;
use std::sync::Arc;

use profiler_common::walk::USER_FRAMES_DEEP;

use crate::model::event::{RawStack, Rest};
use crate::model::frame::{Frame, Stack};
use crate::model::observation::Observation;
use crate::model::space::{Space, Unfinished};

/// The beginning of a stack.
#[derive(Debug)]
pub struct Begun {
    /// What the kernel side sent, without what the walk needs to go on.
    pub raw: RawStack,
    /// The memory of its process when it was taken.
    pub space: Space,
    /// What stands for it meanwhile, and for nothing else.
    pub stack: Stack,
}

/// All that are not whole.
#[derive(Debug, Default)]
pub struct Stacks {
    /// By the number of the question that was asked for each.
    begun: HashMap<u64, (Begun, Vec<Observation>)>,
    by_stack: HashMap<*const Frame, u64>,
    last: u64,
}

impl Stacks {
    /// Keeps a stack; the question to ask for it.
    pub fn keep(&mut self, begun: Begun, rest: Rest) -> Unfinished {
        let limit = (USER_FRAMES_DEEP as usize).saturating_sub(begun.raw.user.len());
        let space = Arc::clone(&begun.space);
        self.last += 1;
        self.by_stack.insert(begun.stack.as_ptr(), self.last);
        self.begun.insert(self.last, (begun, Vec::new()));
        Unfinished { ticket: self.last, space, rest, limit }
    }

    /// Lets an observation pass, unless its stack is not whole: then it waits.
    pub fn pass(&mut self, observation: Observation) -> Option<Observation> {
        let ticket = self.by_stack.get(&observation.stack.as_ptr());
        match ticket.and_then(|ticket| self.begun.get_mut(ticket)) {
            Some((_, waiting)) => {
                waiting.push(observation);
                None
            }
            None => Some(observation),
        }
    }

    /// Forgets a stack: it is whole now, or will not be. With it, what waited.
    pub fn finish(&mut self, ticket: u64) -> Option<(Begun, Vec<Observation>)> {
        let (begun, waiting) = self.begun.remove(&ticket)?;
        self.by_stack.remove(&begun.stack.as_ptr());
        Some((begun, waiting))
    }

    /// What waits now, with the stacks as they are. The stacks may still become whole.
    pub fn take_waiting(&mut self) -> impl Iterator<Item = Observation> {
        // In their order, so that equal recordings give equal profiles.
        let mut tickets: Vec<u64> = self.begun.keys().copied().collect();
        tickets.sort_unstable();
        tickets.into_iter().flat_map(|ticket| {
            self.begun
                .get_mut(&ticket)
                .map(|(_, waiting)| std::mem::take(waiting))
                .unwrap_or_default()
        })
    }

    /// All that still waits, with the stacks as they are.
    pub fn give_up(&mut self) -> impl Iterator<Item = Observation> {
        self.by_stack.clear();
        std::mem::take(&mut self.begun).into_values().flat_map(|(_, waiting)| waiting)
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::native::step::Registers;
    use profiler_common::walk::WalkEnd;

    use super::*;
    use crate::model::frame::Marker;
    use crate::model::observation::{Activity, ThreadInfo};

    fn begun() -> Begun {
        let raw = RawStack {
            user_end: WalkEnd::NotReady,
            kernel_end: WalkEnd::Absent,
            ..RawStack::of(&[0x1000], &[])
        };
        let stack = Arc::from([Frame::Marker(Marker::UserTruncated(WalkEnd::NotReady))]);
        Begun { raw, space: Space::default(), stack }
    }

    fn rest() -> Rest {
        Rest { at: Registers { pc: 0x1000, sp: 8, fp: 0, lr: 0, kept: 1 }, stack: [].into() }
    }

    fn observation(stack: &Stack, count: u64) -> Observation {
        let name: Arc<str> = "x".into();
        let (process, cgroup) = (Arc::clone(&name), Arc::clone(&name));
        let service = Arc::clone(&name);
        let thread = ThreadInfo { pid: 1, tid: 1, process, thread: name, cgroup, service };
        let thread = Arc::new(thread);
        let (stack, activity) = (Arc::clone(stack), Activity::OnCpu);
        Observation { thread, stack, activity, count, ns: 1 }
    }

    #[test]
    fn what_is_observed_of_a_stack_waits_until_it_is_whole() {
        let mut stacks = Stacks::default();
        let (one, other) = (begun(), begun());
        let (first, second) = (Arc::clone(&one.stack), Arc::clone(&other.stack));
        let question = stacks.keep(one, rest());
        assert_eq!(question.limit, 511);
        stacks.keep(other, rest());
        for count in [1, 2] {
            assert!(stacks.pass(observation(&first, count)).is_none());
        }
        // Equal, and not the same.
        let equal: Stack = first.iter().cloned().collect();
        assert!(stacks.pass(observation(&equal, 3)).is_some());

        let (_, waited) = stacks.finish(question.ticket).unwrap();
        assert_eq!(waited.iter().map(|o| o.count).collect::<Vec<_>>(), [1, 2]);
        assert!(stacks.finish(question.ticket).is_none());
        assert!(stacks.pass(observation(&first, 4)).is_some());

        assert!(stacks.pass(observation(&second, 3)).is_none());
        assert_eq!(stacks.take_waiting().map(|o| o.count).collect::<Vec<_>>(), [3]);
        assert!(stacks.pass(observation(&second, 5)).is_none(), "it still may become whole");
        assert_eq!(stacks.give_up().map(|o| o.count).collect::<Vec<_>>(), [5]);
        assert!(stacks.pass(observation(&second, 6)).is_some());
    }
}
