//! A stage of the sample line imports the vocabulary and itself, never another stage.

use super::Problem;
use super::source::Source;

/// The stages: directories of `profiler-agent/src`.
const STAGES: &[&str] = &[
    "kernel",
    "process",
    "runtime",
    "symbolize",
    "profile",
    "store",
    "export",
    "view",
    "http",
    "telemetry",
];

/// What wires the stages; no stage may know it either.
const WIRING: &[&str] = &["config", "pipeline", "cli"];

/// No stage names a sibling.
pub fn know_no_sibling(source: &Source) -> Vec<Problem> {
    let Some(own) = stage_of(source) else { return Vec::new() };
    let strangers: Vec<String> = STAGES
        .iter()
        .chain(WIRING)
        .filter(|stage| **stage != own)
        .map(|stage| format!("crate::{stage}"))
        .collect();
    let mut problems = Vec::new();
    for (number, line) in source.code_lines() {
        if let Some(found) = strangers.iter().find(|path| super::source::has_word(line, path)) {
            let message =
                format!("{own} imports {found}: only pipeline.rs and cli/ know the stages");
            problems.push(Problem::new(source, number, message));
        }
    }
    problems
}

/// The vocabulary knows no stage, or it would tie them together.
pub fn are_unknown_to_the_vocabulary(source: &Source) -> Vec<Problem> {
    if !source.is_in("profiler-agent/src/model") {
        return Vec::new();
    }
    let strangers = STAGES.iter().chain(WIRING).map(|stage| format!("crate::{stage}"));
    let strangers: Vec<String> = strangers.collect();
    let uses = |line: &str| strangers.iter().any(|path| super::source::has_word(line, path));
    let found = source.code_lines().filter(|(_, line)| uses(line));
    found
        .map(|(number, _)| Problem::new(source, number, "the vocabulary imports a stage"))
        .collect()
}

fn stage_of(source: &Source) -> Option<&'static str> {
    let inside = source.path.strip_prefix("profiler-agent/src").ok()?;
    let room = inside.components().next()?.as_os_str().to_str()?;
    STAGES.iter().copied().find(|stage| room == *stage || room.strip_suffix(".rs") == Some(stage))
}

#[cfg(test)]
mod tests {
    use super::super::check_sample;
    use super::*;

    #[test]
    fn a_sibling_is_refused_and_the_vocabulary_is_not() {
        let text = "use crate::model::frame;\nuse crate::kernel::plan;\nuse crate::process::x;\n";
        assert_eq!(check_sample(know_no_sibling, "profiler-agent/src/process/a.rs", text), [2]);
        assert_eq!(check_sample(know_no_sibling, "profiler-agent/src/cli/a.rs", text), [0; 0]);
        let wiring = "use crate::pipeline;\n";
        assert_eq!(check_sample(know_no_sibling, "profiler-agent/src/view/a.rs", wiring), [1]);
    }

    #[test]
    fn the_vocabulary_knows_no_stage() {
        let text = "/// See [`crate::view`].\nuse crate::view::x;\n";
        assert_eq!(
            check_sample(are_unknown_to_the_vocabulary, "profiler-agent/src/model/a.rs", text),
            [2]
        );
    }
}
