//! One line on standard error that tells how the recording is doing; nothing where nobody watches.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use crate::pipeline::Progress;

/// The line. Dropping it clears it.
#[derive(Debug)]
pub struct ProgressLine {
    shown: bool,
    duration: Option<Duration>,
}

impl ProgressLine {
    /// A line for a recording of this length.
    pub fn new(duration: Option<Duration>) -> Self {
        Self { shown: std::io::stderr().is_terminal(), duration }
    }

    /// Shows the state of now.
    pub fn show(&self, progress: &Progress) {
        if self.shown {
            // Progress that cannot be shown is not worth an error.
            let _ = write!(std::io::stderr(), "\r\x1b[K{}", text(progress, self.duration));
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn text(progress: &Progress, duration: Option<Duration>) -> String {
    if !progress.attached {
        return "starting".to_owned();
    }
    let time = match duration {
        Some(whole) => {
            format!("{:.0} s left", whole.saturating_sub(progress.elapsed).as_secs_f64())
        }
        None => format!("{:.0} s, Ctrl-C ends it", progress.elapsed.as_secs_f64()),
    };
    format!("recording: {} samples, {} lost, {time}", progress.samples, progress.lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_is_left_or_how_to_end() {
        let mut progress = Progress::default();
        assert_eq!(text(&progress, None), "starting");
        progress = Progress {
            samples: 1980,
            lost: 2,
            elapsed: Duration::from_secs(4),
            attached: true,
            ..Progress::default()
        };
        assert_eq!(
            text(&progress, Some(Duration::from_secs(10))),
            "recording: 1980 samples, 2 lost, 6 s left"
        );
        assert_eq!(text(&progress, None), "recording: 1980 samples, 2 lost, 4 s, Ctrl-C ends it");
    }
}
