//! A connection whose reader must read: one that takes an answer too slowly is cut off.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::config::Limits;
use super::counts::{Counts, Refused};

/// Wraps a stream. Writes of the whole connection may wait for `grace`, and a second more for each
/// `rate` bytes that were taken: a reader that takes a byte now and then gains nothing.
pub(super) struct Paced<S> {
    stream: S,
    grace: Duration,
    rate: u64,
    counts: Arc<Counts>,
    taken: u64,
    waited: Duration,
    waiting_since: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, limits: &Limits, counts: Arc<Counts>) -> Self {
        Self {
            stream,
            grace: limits.reader,
            rate: limits.reader_rate.max(1),
            counts,
            taken: 0,
            waited: Duration::ZERO,
            waiting_since: None,
            alarm: None,
        }
    }

    /// Takes the outcome of a write of the stream beneath, and how many bytes it took.
    fn judge<T>(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
        taken: impl Fn(&T) -> u64,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = outcome {
            self.waited +=
                self.waiting_since.take().map_or(Duration::ZERO, |since| since.elapsed());
            self.alarm = None;
            self.taken += done.as_ref().map_or(0, taken);
            return Poll::Ready(done);
        }
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let allowed = self.grace + Duration::from_secs(self.taken / self.rate);
        let until = since + allowed.saturating_sub(self.waited);
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(until)));
        ready!(alarm.as_mut().poll(context));
        self.counts.refuse(Refused::Slow);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the reader does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, outcome, |n| *n as u64)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.judge(context, outcome, |n| *n as u64)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        self.judge(context, outcome, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(context);
        self.judge(context, outcome, |()| 0)
    }
}
