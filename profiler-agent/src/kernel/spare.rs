//! Memory of stacks that were taken, for those that come next: a reader that asks the allocator twice for
//! each record of a batch spends a third of its time there.

use crate::model::event::{Event, RawStack};

/// Buffers that are kept: as many as a busy round brings.
const MAX_BUFFERS: usize = 1024;

/// Words of a buffer that is kept, at most: deeper stacks are rare.
const MAX_WORDS: usize = 256;

/// The buffers, all of them empty.
#[derive(Debug, Default)]
pub struct Spare(Vec<Vec<u64>>);

impl Spare {
    /// An empty buffer.
    pub fn buffer(&mut self) -> Vec<u64> {
        self.0.pop().unwrap_or_default()
    }

    /// Takes the buffers of an event that nobody needs any more.
    pub fn reuse(&mut self, event: Event) {
        match event {
            Event::OnCpu(stack) => self.reuse_stack(stack),
            Event::Block(block) => self.reuse_stack(block.stack),
            _ => {}
        }
    }

    fn reuse_stack(&mut self, RawStack { user, kernel, .. }: RawStack) {
        for mut buffer in [user, kernel] {
            if (1..=MAX_WORDS).contains(&buffer.capacity()) && self.0.len() < MAX_BUFFERS {
                buffer.clear();
                self.0.push(buffer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(user: Vec<u64>, kernel: Vec<u64>) -> Event {
        Event::OnCpu(RawStack { user, kernel, ..RawStack::of(&[], &[]) })
    }

    #[test]
    fn what_comes_back_is_empty() {
        let mut spare = Spare::default();
        spare.reuse(sample(vec![1, 2], vec![3]));
        let buffers = [spare.buffer(), spare.buffer(), spare.buffer()];
        assert!(buffers.iter().all(Vec::is_empty));
        let with_memory = buffers.iter().filter(|buffer| buffer.capacity() > 0);
        assert_eq!(with_memory.count(), 2);
    }

    #[test]
    fn it_is_bounded() {
        let mut spare = Spare::default();
        spare.reuse(sample(vec![0; MAX_WORDS + 1], Vec::new()));
        assert!(spare.0.is_empty(), "neither large buffers nor such without memory");
        for _ in 0..MAX_BUFFERS {
            spare.reuse(sample(vec![1], vec![2]));
        }
        assert_eq!(spare.0.len(), MAX_BUFFERS);
    }
}
