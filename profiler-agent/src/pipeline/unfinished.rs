//! Samples whose stack waits for tables: whose they are is known, and where in memory their frames lay is
//! remembered, so that the process may change or end meanwhile.

use std::collections::HashMap;
use std::sync::Arc;

use profiler_common::walk::USER_FRAMES_DEEP;

use crate::model::event::{RawStack, Rest};
use crate::model::observation::ThreadInfo;
use crate::model::space::{Finished, Space, Unfinished};

/// A sample that waits.
#[derive(Debug)]
pub struct Sample {
    /// What the kernel side sent, but for the bytes of the stack, and what was found since.
    pub raw: RawStack,
    /// Whose it is.
    pub thread: Arc<ThreadInfo>,
    /// The memory of its process when it was taken.
    pub space: Space,
}

/// All that wait, by the number of the question.
#[derive(Debug, Default)]
pub struct Samples {
    waiting: HashMap<u64, Sample>,
    last: u64,
}

impl Samples {
    /// Keeps a sample; the question that goes with it.
    pub fn keep(&mut self, sample: Sample, rest: Rest) -> Unfinished {
        let limit = (USER_FRAMES_DEEP as usize).saturating_sub(sample.raw.user.len());
        let space = Arc::clone(&sample.space);
        self.last += 1;
        self.waiting.insert(self.last, sample);
        Unfinished { ticket: self.last, space, rest, limit }
    }

    /// The sample that an answer is for, with it.
    pub fn finish(&mut self, answer: Finished) -> Option<Sample> {
        let mut sample = self.waiting.remove(&answer.ticket)?;
        sample.raw.user.extend(answer.frames);
        sample.raw.user_end = answer.end;
        Some(sample)
    }

    /// The sample of a question that nobody took, as it is.
    pub fn give_up(&mut self, question: &Unfinished) -> Option<Sample> {
        self.waiting.remove(&question.ticket)
    }

    /// All that still wait, as they are.
    pub fn give_up_all(&mut self) -> Vec<Sample> {
        self.waiting.drain().map(|(_, sample)| sample).collect()
    }
}
