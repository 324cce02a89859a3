//! The log on standard error: text for people or JSON for machines, with a level that can be changed
//! while the agent runs.

use std::io::IsTerminal as _;
use std::sync::OnceLock;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, reload};

use super::repeats::{self, Repeats};

/// What the messages of the BPF programs are filed under: their crate.
const BPF_PROGRAMS: &str = "profiler_ebpf";

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// For people.
    #[default]
    Text,
    /// One JSON object each.
    Json,
}

/// A form of lines, as a layer that can be replaced by the other.
type Lines = Box<dyn Layer<Registry> + Send + Sync>;

/// What can be changed of the log that was started.
struct Handles {
    lines: reload::Handle<Lines, Registry>,
    level: Box<dyn Fn(LevelFilter) + Send + Sync>,
}

static STARTED: OnceLock<Handles> = OnceLock::new();

/// Starts the log, as text. To be called once, first of all; a second call does nothing.
pub fn start(level: LevelFilter) {
    let (lines, change_lines) = reload::Layer::new(lines(Form::Text, std::io::stderr));
    let (levels, change_level) = reload::Layer::new(levels_for(level));
    if tracing_subscriber::registry().with(lines).with(levels).with(Repeats).try_init().is_err() {
        return;
    }
    // It fails only where the log is gone, and then nobody could be told.
    let level = move |level| drop(change_level.reload(levels_for(level)));
    let _first = STARTED.set(Handles { lines: change_lines, level: Box::new(level) });
}

/// Changes form and level of the log that was started.
pub fn change(form: Form, level: LevelFilter) {
    let Some(handles) = STARTED.get() else { return };
    let _changed = handles.lines.reload(lines(form, std::io::stderr));
    (handles.level)(level);
}

/// Writes what was left out since it repeated, once its time is over. Whoever runs for long calls it
/// now and then.
pub fn tell_repeats() {
    repeats::tell(Instant::now());
}

fn lines<W>(form: Form, writer: W) -> Lines
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_target(false);
    match form {
        Form::Text => {
            let terminal = std::io::stderr().is_terminal();
            let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            Box::new(layer.with_ansi(colour))
        }
        Form::Json => Box::new(layer.json().flatten_event(true).with_target(true)),
    }
}

/// Libraries speak only of what is wrong: the level is for what the agent and its BPF programs say.
fn levels_for(level: LevelFilter) -> Targets {
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("profiler_agent", level)
        .with_target(BPF_PROGRAMS, level)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Page {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
        }
    }

    fn to_page(form: Form, level: LevelFilter, say: impl FnOnce(&Page)) {
        let page = Page::default();
        let writer = page.clone();
        let lines = lines(form, move || writer.clone());
        let subscriber = Registry::default().with(lines).with(levels_for(level)).with(Repeats);
        tracing::subscriber::with_default(subscriber, || say(&page));
    }

    #[test]
    fn json_has_one_object_for_each_line() {
        to_page(Form::Json, LevelFilter::INFO, |page| {
            tracing::info!(sink = "parca", after_ms = 3, "a \"quoted\"\nmessage");
            let line = page.take();
            let object: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(object["message"], "a \"quoted\"\nmessage");
            assert_eq!(object["sink"], "parca");
            assert_eq!(object["after_ms"], 3);
            assert_eq!(object["level"], "INFO");
            assert!(object["timestamp"].is_string());
            assert_eq!(line.lines().count(), 1);
        });
    }

    #[test]
    fn what_repeats_is_told_once() {
        to_page(Form::Text, LevelFilter::DEBUG, |page| {
            let before = repeats::left_out();
            for attempt in 0..1000 {
                tracing::warn!(attempt, "the sink does not answer");
            }
            tracing::warn!("something else");
            let text = page.take();
            assert_eq!(text.matches("does not answer").count(), repeats::most() as usize);
            assert!(text.contains("something else"));
            assert_eq!(repeats::left_out() - before, 1000 - u64::from(repeats::most()));
            // Before its time is over nothing is told, and afterwards once.
            repeats::tell(Instant::now());
            assert_eq!(page.take(), "");
            repeats::tell(Instant::now() + repeats::period());
            let text = page.take();
            let told = "repeated 990 times in 10 s: the sink does not answer attempt=10";
            assert!(text.contains(told) && text.contains("WARN"), "{text}");
            assert_eq!(text.lines().count(), 1);
            repeats::tell(Instant::now() + repeats::period());
            assert_eq!(page.take(), "");
        });
    }

    #[test]
    fn details_are_never_left_out() {
        to_page(Form::Text, LevelFilter::DEBUG, |page| {
            for _ in 0..50 {
                tracing::debug!("a detail");
            }
            assert_eq!(page.take().lines().count(), 50);
        });
    }

    #[test]
    fn the_level_is_for_the_agent_and_libraries_only_warn() {
        to_page(Form::Text, LevelFilter::INFO, |page| {
            tracing::debug!("too fine");
            tracing::info!(target: "hyper", "a library's talk");
            tracing::warn!(target: "hyper", "a library's warning");
            tracing::info!("news");
            let text = page.take();
            assert!(text.contains("news") && text.contains("warning"), "{text}");
            assert!(!text.contains("fine") && !text.contains("talk"), "{text}");
        });
        to_page(Form::Text, LevelFilter::ERROR, |page| {
            tracing::warn!(target: "hyper", "a library's warning");
            assert_eq!(page.take(), "");
        });
    }
}
