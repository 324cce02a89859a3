//! Leaves out lines of the log that repeat: of one place in the code, so many in so much time; the rest
//! is counted and told in one line.
//!
//! "The same message" is what one line of the code says, whatever numbers stand in it: a sink that is
//! refused says another time at each attempt, and would be let through by its text.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines of one place that are written in each [`PERIOD`].
const MOST: u32 = 10;

/// See [`MOST`].
const PERIOD: Duration = Duration::from_secs(10);

/// Longest text of a line that is kept for the line that tells of its repeats.
const LONGEST: usize = 200;

/// What the lines that tell of repeats are filed under; they are never left out themselves.
const OWN_TARGET: &str = "profiler_agent::repeats";

static PLACES: Mutex<Option<HashMap<Place, Seen>>> = Mutex::new(None);
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// A place in the code. As many as the code has, so nothing grows.
type Place = tracing::callsite::Identifier;

#[derive(Debug)]
struct Seen {
    since: Instant,
    written: u32,
    left_out: u64,
    level: Level,
    text: String,
}

/// Lines that were left out since the start.
pub(super) fn left_out() -> u64 {
    LEFT_OUT.load(Ordering::Relaxed)
}

/// Tells of repeats whose period is over. To be called now and then, and at the end.
pub(super) fn tell(now: Instant) {
    let over: Vec<Seen> = {
        let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
        let places = places.get_or_insert_default();
        let over = places.extract_if(|_, seen| now.saturating_duration_since(seen.since) >= PERIOD);
        over.map(|(_, seen)| seen).filter(|seen| seen.left_out > 0).collect()
    };
    for Seen { left_out, level, text, .. } in over {
        let seconds = PERIOD.as_secs();
        if level == Level::ERROR {
            tracing::error!(target: OWN_TARGET, "repeated {left_out} times in {seconds} s: {text}");
        } else if level == Level::WARN {
            tracing::warn!(target: OWN_TARGET, "repeated {left_out} times in {seconds} s: {text}");
        } else {
            tracing::info!(target: OWN_TARGET, "repeated {left_out} times in {seconds} s: {text}");
        }
    }
}

/// The layer. It judges what the level has let through.
pub(super) struct Repeats;

impl<S: Subscriber> Layer<S> for Repeats {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        let meta = event.metadata();
        // Who asks for details gets them all.
        if *meta.level() > Level::INFO || meta.target() == OWN_TARGET {
            return true;
        }
        judge(event, Instant::now())
    }
}

fn judge(event: &Event<'_>, now: Instant) -> bool {
    let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    let seen = places.get_or_insert_default().entry(event.metadata().callsite());
    let seen = seen.or_insert_with(|| Seen {
        since: now,
        written: 0,
        left_out: 0,
        level: *event.metadata().level(),
        text: String::new(),
    });
    // A period that is over and had repeats is told of by `tell`, which also ends it.
    if seen.left_out == 0 && now.saturating_duration_since(seen.since) >= PERIOD {
        (seen.since, seen.written) = (now, 0);
    }
    if seen.written < MOST {
        seen.written += 1;
        return true;
    }
    if seen.left_out == 0 {
        seen.text = text_of(event);
    }
    seen.left_out += 1;
    LEFT_OUT.fetch_add(1, Ordering::Relaxed);
    false
}

fn text_of(event: &Event<'_>) -> String {
    let mut text = Text(String::new());
    event.record(&mut text);
    let Text(mut text) = text;
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push('…');
    }
    text
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let gap = if self.0.is_empty() { "" } else { " " };
        // Writing to a string does not fail.
        let _written = match field.name() {
            "message" => write!(self.0, "{gap}{value:?}"),
            name => write!(self.0, "{gap}{name}={value:?}"),
        };
    }
}

#[cfg(test)]
pub(super) const fn most() -> u32 {
    MOST
}

#[cfg(test)]
pub(super) const fn period() -> Duration {
    PERIOD
}
