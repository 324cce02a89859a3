//! One rate of an open loop: requests are sent when they are due, whether or not earlier ones were
//! answered, and a latency begins when its request was due. So a server that stalls is seen as slow by
//! all that would have come meanwhile.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

/// A request that is not answered by then has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// What became of the requests of one rate.
pub(super) struct Outcome {
    /// Of those that were answered, in µs.
    pub(super) latency: Histogram<u64>,
    /// Answered with 503.
    pub(super) refused: u64,
    /// Not answered, or with another error.
    pub(super) failed: u64,
}

enum Answer {
    Whole(Duration),
    Refused,
    Failed,
}

/// Sends requests at a rate per second for a while, and waits for their answers.
pub(super) async fn step(
    socket: &Path,
    path: &'static str,
    rate: f64,
    length: Duration,
) -> Outcome {
    let (tell, mut told) = mpsc::unbounded_channel();
    let begin = Instant::now();
    let count = (rate * length.as_secs_f64()) as u32;
    for number in 0..count {
        let due = begin + Duration::from_secs_f64(f64::from(number) / rate);
        sleep_until(due).await;
        let (tell, socket) = (tell.clone(), socket.to_path_buf());
        tokio::spawn(async move {
            let answer = match timeout(PATIENCE, ask(socket, path)).await {
                Ok(Ok(StatusCode::OK)) => Answer::Whole(due.elapsed()),
                Ok(Ok(StatusCode::SERVICE_UNAVAILABLE)) => Answer::Refused,
                _ => Answer::Failed,
            };
            // Nobody listens only where the whole step was given up.
            let _told = tell.send(answer);
        });
    }
    drop(tell);
    let mut outcome = Outcome { latency: histogram(), refused: 0, failed: 0 };
    while let Some(answer) = told.recv().await {
        match answer {
            Answer::Whole(time) => {
                let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
                outcome.latency.saturating_record(micros);
            }
            Answer::Refused => outcome.refused += 1,
            Answer::Failed => outcome.failed += 1,
        }
    }
    outcome
}

/// From a µs to a minute, in three digits.
fn histogram() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "the bounds are constants that it takes")]
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds of a histogram")
}

/// Reads the whole answer.
async fn ask(socket: PathBuf, path: &str) -> Result<StatusCode> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = Request::get(path)
        .header("host", "localhost")
        .header("connection", "close")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    response.into_body().collect().await?;
    driver.abort();
    Ok(status)
}
