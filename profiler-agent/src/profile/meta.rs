//! What a profile says of its recording, besides the samples: the types of its values, its times, and
//! the comments that every reader of the format shows.

use std::collections::BTreeMap;

use profiler_common::counter::Counter;

use crate::model::choice::EventChoice;
use crate::model::conventions::comment::{self as key, is_loss};
use crate::model::losses::Losses;

/// What is known of a recording as a whole.
#[derive(Clone, Debug)]
pub struct Meta {
    /// What was recorded.
    pub kind: EventChoice,
    /// When it began (Unix time, ns).
    pub time_nanos: u64,
    /// How long it took, ns.
    pub duration_nanos: u64,
    /// CPU time that one on-CPU sample stands for, ns.
    pub period_ns: u64,
    /// Samples per second and CPU.
    pub frequency: u32,
    /// What the on-CPU clock was: `cycles` or `cpu-clock`.
    pub clock: String,
    /// Shorter blocks were not recorded, ns.
    pub min_block_ns: u64,
    /// Host name.
    pub host: String,
    /// Kernel release.
    pub kernel: String,
    /// Processor architecture.
    pub arch: String,
    /// What was asked for: `whole host`, `pid 12`, `cgroup /x`, `command make`.
    pub scope: String,
    /// Number of the binary ([`crate::model::frame::Binary::id`]) that is the main executable; `None`
    /// lets the encoder take the executable of the hottest process.
    pub executable: Option<u32>,
    /// Every count of what was turned away, from all stages.
    pub losses: Losses,
    /// One line each on what was degraded, for the reader.
    pub notes: Vec<String>,
}

impl Meta {
    /// The comments of the profile, `key: value` each.
    pub fn comments(&self) -> Vec<String> {
        let mut comments = vec![
            format!("{}: {}", key::AGENT, env!("CARGO_PKG_VERSION")),
            format!("{}: {}", key::HOST, self.host),
            format!("{}: {} {}", key::KERNEL, self.kernel, self.arch),
            format!("{}: {}", key::SCOPE, self.scope),
            format!("{}: {}", key::EVENT, self.kind.name()),
        ];
        if self.kind.on_cpu() {
            comments.push(format!("{}: {}", key::CLOCK, self.clock));
            comments.push(format!("{}: {} Hz", key::FREQUENCY, self.frequency));
        }
        if self.kind.off_cpu() {
            comments.push(format!("{}: {} ns", key::MIN_BLOCK, self.min_block_ns));
        }
        // What the kernel side can lose is shown at zero too: "none lost" is a statement.
        let kernel_losses = Counter::ALL.iter().map(|c| c.name()).filter(|name| is_loss(name));
        let mut counts: BTreeMap<&str, u64> = kernel_losses.map(|name| (name, 0)).collect();
        counts.extend(self.losses.iter());
        comments.extend(counts.iter().map(|(name, n)| format!("{}{name}: {n}", key::COUNTER)));
        comments.extend(self.notes.iter().map(|note| format!("{}: {note}", key::NOTE)));
        comments
    }
}
