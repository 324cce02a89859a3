//! Through which binaries stacks lead: by that it is decided which unwind tables stay where there is too
//! little room for all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::AHashMap;

use crate::model::frame::{Binary, Frame};

/// The preparer is told so often.
const EVERY: Duration = Duration::from_secs(1);

/// Binaries that are counted between two tellings, at most.
const MAX_BINARIES: usize = 16 << 10;

/// Binaries, with how many stacks led through each.
pub type Touched = Vec<(Arc<Binary>, u32)>;

/// What was counted since the preparer was last told.
#[derive(Debug)]
pub struct Heat {
    counted: AHashMap<u32, (Arc<Binary>, u32)>,
    told_at: Instant,
}

impl Heat {
    /// Nothing yet.
    pub fn new(now: Instant) -> Self {
        Self { counted: AHashMap::new(), told_at: now }
    }

    /// Counts a stack: once for each time that it comes into a binary, which is mostly once.
    pub fn add(&mut self, stack: &[Frame]) {
        let mut last = None;
        for frame in stack {
            let (Frame::Native { binary, .. } | Frame::Truncated { binary, .. }) = frame else {
                continue;
            };
            if last.replace(binary.id) == Some(binary.id) {
                continue;
            }
            if let Some((_, count)) = self.counted.get_mut(&binary.id) {
                *count = count.saturating_add(1);
            } else if self.counted.len() < MAX_BINARIES {
                self.counted.insert(binary.id, (Arc::clone(binary), 1));
            }
        }
    }

    /// What was counted, if it is time to tell.
    pub fn take(&mut self, now: Instant) -> Option<Touched> {
        if self.counted.is_empty() || now.duration_since(self.told_at) < EVERY {
            return None;
        }
        self.told_at = now;
        Some(self.counted.drain().map(|(_, counted)| counted).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::frame::{BinaryKind, Marker};

    #[test]
    fn stacks_are_counted_by_the_binaries_that_they_come_into() {
        let binary = |id| {
            Arc::new(Binary {
                id,
                path: String::new(),
                kind: BinaryKind::File,
                build_id: String::new(),
                file: None,
                debug: None,
                segments: Vec::new(),
                problem: None,
            })
        };
        let (program, library) = (binary(1), binary(2));
        let frame = |binary: &Arc<Binary>| Frame::Native { binary: Arc::clone(binary), offset: 0 };
        let end = Frame::Marker(Marker::NoStack);
        let stack =
            [frame(&library), frame(&library), Frame::Kernel { address: 1 }, frame(&program), end];
        let now = Instant::now();
        let mut heat = Heat::new(now);
        heat.add(&stack);
        heat.add(&stack[3..]);
        assert!(heat.take(now).is_none(), "it is too soon");
        let mut touched = heat.take(now + EVERY).unwrap();
        touched.sort_by_key(|(binary, _)| binary.id);
        let touched: Vec<_> = touched.iter().map(|(binary, count)| (binary.id, *count)).collect();
        assert_eq!(touched, [(1, 2), (2, 1)]);
        assert!(heat.take(now + 3 * EVERY).is_none(), "nothing is told twice");
    }
}
