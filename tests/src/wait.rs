//! Waits for a condition, never for luck.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Asks until there is an answer; an error names what was waited for.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = condition()? {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            bail!("waited {limit:?} for {what}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
