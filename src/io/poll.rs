//! Waiting for descriptors, and waking a thread that waits.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::io::IoFailure;

/// Wakes the thread that waits for it; share it in an `Arc`.
#[derive(Debug)]
pub struct Waker {}

impl Waker {
    /// A waker that nobody has rung.
    pub fn new() -> Result<Waker, IoFailure> {
        todo!()
    }

    /// Makes the descriptor readable; costs nothing when it is already.
    pub fn wake(&self) {
        todo!()
    }

    /// Makes the descriptor quiet again; call it after `wait` and before looking at the work.
    pub fn drain(&self) {
        todo!()
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        todo!()
    }
}

/// Which descriptors of `wait` are readable (or broken: reading tells), by their place in the slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready(u64);

impl Ready {
    /// Whether the descriptor at `place` can be read.
    pub fn has(self, place: usize) -> bool {
        place < 64 && self.0 & (1 << place) != 0
    }

    /// Whether the time ran out.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Waits until one of at most 64 descriptors is readable or `timeout` (microseconds count) is over.
///
/// `None` waits for ever. A signal ends the wait early with an empty set.
pub fn wait(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> Result<Ready, IoFailure> {
    let _ = (fds, timeout);
    todo!()
}
