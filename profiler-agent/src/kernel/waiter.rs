//! Sleeps until the ring or the side-band asks for the reader.

use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::error::KernelError;

/// Descriptors that wake the reader up.
pub struct Waiter(Epoll);

impl Waiter {
    /// Waits for nothing yet.
    pub fn new() -> Result<Self, KernelError> {
        Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map(Self)
            .map_err(|e| failed("epoll_create1", e))
    }

    /// Waits for this descriptor too, until it is closed. Edge-triggered: the ring would call itself
    /// readable as long as any record lies in it, which between two rounds is always.
    pub fn add(&self, descriptor: RawFd) -> Result<(), KernelError> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0);
        // SAFETY: the caller's descriptor is open during this call, which keeps no copy of it.
        let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
        self.0.add(descriptor, event).map_err(|e| failed("epoll_ctl", e))
    }

    /// Waits until one asks, or so long; whether one did.
    pub fn wait(&self, timeout: Duration) -> Result<bool, KernelError> {
        let timeout = EpollTimeout::try_from(timeout).unwrap_or(EpollTimeout::ZERO);
        // Which ones asked does not matter, since a round drains every source; but what is not taken
        // here would cut the next wait short.
        let mut events = [EpollEvent::empty(); 64];
        match self.0.wait(&mut events, timeout) {
            Ok(asked) => Ok(asked > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(e) => Err(failed("epoll_wait", e)),
        }
    }
}

fn failed(call: &'static str, errno: Errno) -> KernelError {
    KernelError::System { call, source: errno.into() }
}
