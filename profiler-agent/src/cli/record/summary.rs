//! The last lines of a recording, on standard error: where it is, how good it is, what is hot.

use std::fmt::Write as _;

use profiler_proto::pprof::Profile;

use super::setup::Setup;
use crate::model::choice::EventChoice;
use crate::model::frame::Frame;
use crate::pipeline::Recording;
use crate::view::{self, Options, Time};

/// Functions that are named for each kind of time.
const HOTTEST: usize = 5;

/// Says it.
pub fn print(setup: &Setup, recording: &Recording, profile: &Profile) {
    eprint!("{}", text(setup, recording, profile));
}

fn text(setup: &Setup, recording: &Recording, profile: &Profile) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}: {}", setup.output, counts(recording));
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
fn counts(recording: &Recording) -> String {
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
    parts.push(format!("{} with a cut stack", cut(recording)));
    format!(
        "{} from {} processes in {:.1} s",
        parts.join(", "),
        recording.processes,
        recording.duration.as_secs_f64()
    )
}

/// Samples and blocks whose stack is not whole.
fn cut(recording: &Recording) -> u64 {
    let is_cut = |stack: &[Frame]| stack.iter().any(|frame| matches!(frame, Frame::Marker(_)));
    let samples = recording.window.samples().filter(|sample| is_cut(sample.stack));
    samples.map(|sample| sample.tally.count).sum()
}
