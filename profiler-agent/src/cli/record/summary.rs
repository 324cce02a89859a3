//! The last lines of a recording, on standard error: where it is, how good it is, what is hot.

use std::collections::HashMap;
use std::fmt::Write as _;

use profiler_proto::pprof::Profile;

use super::setup::Setup;
use crate::model::choice::EventChoice;
use crate::model::frame::{Frame, FrameKey};
use crate::pipeline::Recording;
use crate::view::{self, Options, Time};

/// Functions that are named for each kind of time.
const HOTTEST: usize = 5;
/// Reasons for cut stacks that are named.
const REASONS: usize = 3;

/// Says it.
pub fn print(setup: &Setup, recording: &Recording, profile: &Profile) {
    eprint!("{}", text(setup, recording, profile));
}

fn text(setup: &Setup, recording: &Recording, profile: &Profile) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let cuts = Cuts::of(recording);
    let _ = writeln!(text, "{}: {}", setup.output, counts(recording, &cuts));
    for (reason, count) in cuts.reasons.iter().take(REASONS) {
        let _ = writeln!(text, "  {count} × {reason}");
    }
    for (name, count) in recording.losses.iter() {
        let _ = writeln!(text, "  {name}: {count}");
    }
    for problem in &recording.problems {
        let _ = writeln!(text, "  note: {problem}");
    }
    let event = recording.facts.event;
    if event == EventChoice::OnCpu && recording.window.is_empty() {
        let _ = writeln!(text, "  nothing was on a CPU; `--event off-cpu` shows where it waits");
    }
    let kinds = [
        (event.on_cpu(), Time::OnCpu, "hottest on CPU"),
        (event.off_cpu(), Time::OffCpu, "blocked longest in"),
    ];
    for (_, time, heading) in kinds.into_iter().filter(|(recorded, ..)| *recorded) {
        let options = Options { time: Some(time), top: HOTTEST, ..setup.options() };
        // What has no such time has nothing hot.
        let hot = view::hottest(profile, &options).unwrap_or_default();
        if !hot.is_empty() {
            let _ = writeln!(text, "{heading}:");
        }
        for line in hot {
            let (whole, tenth) = (line.permille / 10, line.permille % 10);
            let _ = writeln!(text, "  {whole:3}.{tenth} %  {}", line.function);
        }
    }
    text
}

/// One sentence of numbers.
fn counts(recording: &Recording, cuts: &Cuts) -> String {
    let event = recording.facts.event;
    let (on, off) = (recording.window.on_cpu(), recording.window.off_cpu());
    let mut parts = Vec::new();
    if event.on_cpu() {
        parts.push(format!("{} samples", on.count));
    }
    if event.off_cpu() {
        parts.push(format!("{} blocks", off.count));
    }
    parts.push(format!("{} lost", recording.losses.lost()));
    parts.push(format!("{} % of the stacks whole", cuts.whole_percent()));
    format!(
        "{} from {} processes in {:.1} s",
        parts.join(", "),
        recording.processes,
        recording.duration.as_secs_f64()
    )
}

/// How many stacks are not whole, and why.
struct Cuts {
    stacks: u64,
    cut: u64,
    /// What stands in place of the missing frames, the most frequent first.
    reasons: Vec<(String, u64)>,
}

impl Cuts {
    fn of(recording: &Recording) -> Self {
        let (mut stacks, mut cut) = (0, 0);
        let mut reasons: HashMap<FrameKey, (&Frame, u64)> = HashMap::new();
        for sample in recording.window.samples() {
            stacks += sample.tally.count;
            let mut markers = sample.stack.iter().filter(|frame| frame.is_cut()).peekable();
            cut += if markers.peek().is_some() { sample.tally.count } else { 0 };
            for marker in markers {
                reasons.entry(marker.key()).or_insert((marker, 0)).1 += sample.tally.count;
            }
        }
        let text = |(frame, count): (&Frame, u64)| Some((frame.marker_text()?, count));
        let mut reasons: Vec<_> = reasons.into_values().filter_map(text).collect();
        reasons.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Self { stacks, cut, reasons }
    }

    /// Rounded down: 100 only where nothing is missing.
    fn whole_percent(&self) -> String {
        let permille = (self.stacks - self.cut).saturating_mul(1000) / self.stacks.max(1);
        let permille = if self.stacks == 0 { 1000 } else { permille };
        format!("{}.{}", permille / 10, permille % 10)
    }
}
