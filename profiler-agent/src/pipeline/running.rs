//! `run`: windows without end. Each is named and encoded on a thread beside the collector, in their
//! order, and handed over from there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use profiler_proto::pprof::encode_zstd;

use super::collector::{Cutting, Outlet, collect};
use super::control::Control;
use super::governor::Memory;
use super::line::Closed;
use super::namer::{Naming, offers};
use super::preparer::{Desk, Unwinding};
use super::recording::Recording;
use super::{Config, RecordError, join, spawn};
use crate::kernel::allocator;
use crate::model::finished::Finished;
use crate::model::frame::{Frame, Marker};
use crate::model::losses::Losses;
use crate::profile::{Window, encode};

/// Free memory goes back to the system so often. A window takes most of it again, page by page, which costs more
/// than giving it back.
const GIVE_BACK: Duration = Duration::from_secs(30);

/// The same where memory is tight.
const GIVE_BACK_TIGHT: Duration = Duration::from_secs(5);

/// Windows that may wait to be encoded. What finds no room is lost, and counted.
pub(super) const QUEUE: usize = 3;

/// The part of its length that a window waits for its names; then it goes without those that are missing.
///
/// A window is safe when it is in the store, and it is made to be there before the next one has got far:
/// who is killed then loses the window in progress, and hardly more. It also makes room in the queue faster
/// than windows come, so that none is lost for the sake of names. Most frames have their names before a
/// window ends, since they are named as they are met; the wait is for those of its last seconds. Not to wait
/// at all would leave these out of every window, and what runs only then would never be named.
const PATIENCE: u32 = 4;

/// So long it waits at most, however long it is.
const MOST_PATIENCE: Duration = Duration::from_secs(2);

/// So long it waits for them once the collector has ended.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// A line of windows.
#[derive(Clone, Debug)]
pub struct Line {
    /// What its stages need. Its duration is that of the whole line.
    pub config: Config,
    /// Length of a window.
    pub length: Duration,
    /// What is recorded, for titles: `whole host`.
    pub scope: String,
    /// Patterns of the names of services that are left out.
    pub excluded: Vec<String>,
}

/// A window that is ready to be kept and shipped.
#[derive(Clone, Debug)]
pub struct WindowDone {
    /// The window.
    pub finished: Finished,
    /// On-CPU samples in it.
    pub samples: u64,
    /// Blocks in it.
    pub blocks: u64,
    /// What was turned away in its time.
    pub losses: Losses,
    /// Processes sampled since the beginning.
    pub processes: usize,
    /// How long it took from its end until it was encoded.
    pub took: Duration,
    /// Stacks that are cut, by the reason's name.
    pub truncated: Vec<(&'static str, u64)>,
    /// What there is for unwinding.
    pub unwinding: Unwinding,
}

/// Makes windows until the control says stop, and gives each to `each`, on a thread that may take its
/// time: so long as `each` takes, windows wait, and past [`QUEUE`] of them the newest is lost. Blocks its
/// thread until the last window was given.
///
/// # Errors
/// Where the kernel refuses something; the text names the way out.
pub fn run(
    line: &Line,
    control: &mut Control,
    each: impl FnMut(WindowDone) + Send,
) -> Result<(), RecordError> {
    let config = &line.config;
    let desk = Desk::new(config);
    let (naming, ending) = (Naming::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (offers, lists) = offers();
        let (naming, desk, ending) = (&naming, &desk, &ending);
        let namer = spawn(scope, "name", || naming.serve(config.symbolize.clone(), lists))?;
        let (to_encoder, windows) = sync_channel(QUEUE);
        let (title, losses_before) = (line.scope.clone(), Losses::default());
        let patience = (line.length / PATIENCE).min(MOST_PATIENCE);
        let encoder = Encoder { naming, desk, ending, patience, scope: title, losses_before };
        let encoder = spawn(scope, "encode", move || encoder.serve(windows, each))?;
        let mut outlet = Encoding { to_encoder, ending };
        let excluded = line.excluded.clone();
        let cutting = Cutting { length: Some(line.length), excluded };
        let work = move || collect(config, cutting, control, (scope, desk), offers, &mut outlet);
        let collected = join(spawn(scope, "collect", work)?);
        join(encoder);
        join(namer);
        collected
    })
}

/// The collector's way to the encoder.
struct Encoding<'a> {
    to_encoder: SyncSender<(Closed, Instant)>,
    /// The collector has ended.
    ending: &'a AtomicBool,
}

impl Outlet for Encoding<'_> {
    fn hand_over(&mut self, window: Closed) -> Result<(), Box<Closed>> {
        match self.to_encoder.try_send((window, Instant::now())) {
            Ok(()) => Ok(()),
            // An encoder that is gone has panicked, and its join tells.
            Err(TrySendError::Full((window, _)) | TrySendError::Disconnected((window, _))) => {
                Err(Box::new(window))
            }
        }
    }

    fn finish(&mut self, window: Closed) {
        self.ending.store(true, Ordering::Relaxed);
        let _ = self.to_encoder.send((window, Instant::now()));
    }
}

/// The encoder's thread.
struct Encoder<'a> {
    naming: &'a Naming,
    desk: &'a Desk,
    ending: &'a AtomicBool,
    /// How long a window waits for its names.
    patience: Duration,
    scope: String,
    /// What the namer had turned away when the last window was encoded.
    losses_before: Losses,
}

impl Encoder<'_> {
    fn serve(mut self, windows: Receiver<(Closed, Instant)>, mut each: impl FnMut(WindowDone)) {
        let mut given_back_at = Instant::now();
        for (closed, ended) in windows {
            let give_back = if closed.memory == Memory::Free { GIVE_BACK } else { GIVE_BACK_TIGHT };
            match self.encode(closed, ended) {
                Ok(done) => each(done),
                Err(error) => tracing::error!("a window is lost: it cannot be packed: {error}"),
            }
            // What stacks and names took lies between what stays: the allocator would keep it.
            if given_back_at.elapsed() >= give_back {
                allocator::give_back();
                given_back_at = Instant::now();
            }
        }
    }

    fn encode(&mut self, closed: Closed, ended: Instant) -> std::io::Result<WindowDone> {
        let ending = self.ending.load(Ordering::Relaxed);
        let patience = if ending { LAST_PATIENCE } else { self.patience };
        let named = self.naming.of_window(closed.window.frames(), closed.named_by, patience);
        let (late, losses) = (named.late, named.losses.clone());
        let mut recording = Recording::new(closed, named);
        recording.losses.merge(&losses.since(&self.losses_before));
        recording.losses.add("windows_named_in_part", late.into());
        self.losses_before = losses;
        let meta = recording.meta(self.scope.clone());
        let profile = encode(&recording.window, &recording.names, &meta);
        let finished = Finished {
            start_unix_ns: meta.time_nanos,
            duration_ns: meta.duration_nanos,
            profile: encode_zstd(&profile)?.into(),
        };
        let took = ended.elapsed();
        tracing::debug!(bytes = finished.profile.len(), ?took, "window");
        Ok(WindowDone {
            finished,
            samples: recording.window.on_cpu().count,
            blocks: recording.window.off_cpu().count,
            losses: recording.losses,
            processes: recording.processes,
            took,
            truncated: truncated(&recording.window),
            unwinding: self.desk.unwinding(),
        })
    }
}

/// Stacks that are cut, by the reason's name.
fn truncated(window: &Window) -> Vec<(&'static str, u64)> {
    let mut reasons: BTreeMap<&'static str, u64> = BTreeMap::new();
    for sample in window.samples() {
        for frame in sample.stack.iter() {
            let (Frame::Truncated { end, .. }
            | Frame::Marker(Marker::UserTruncated(end) | Marker::KernelTruncated(end))) = frame
            else {
                continue;
            };
            *reasons.entry(end.name()).or_default() += sample.tally.count;
        }
    }
    reasons.into_iter().collect()
}
