//! Waiting for descriptors, and waking a thread that waits.
//!
//! Not for: deadlines (the state machines have them) and queues (look at them after `drain`).

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::io::{sys, IoFailure};

/// Wakes the thread that waits for it; share it in an `Arc`.
#[derive(Debug)]
pub struct Waker {
    counter: File,
    /// Whether somebody has woken since the last `drain`.
    woken: AtomicBool,
}

impl Waker {
    /// A waker that nobody has rung.
    pub fn new() -> Result<Waker, IoFailure> {
        let counter = sys::event_counter().map_err(|e| IoFailure::new("cannot make an eventfd", e))?;
        Ok(Waker { counter: File::from(counter), woken: AtomicBool::new(false) })
    }

    /// Makes the descriptor readable; costs no system call when it is already.
    pub fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            // Fails only when the counter is full, and then the descriptor is readable as wanted.
            let _ = (&self.counter).write(&1u64.to_ne_bytes());
        }
    }

    /// Makes the descriptor quiet again; call it after `wait` and before looking at the work.
    pub fn drain(&self) {
        // Fails only when the counter is zero, which is what is wanted.
        let _ = (&self.counter).read(&mut [0u8; 8]);
        // After the read: a `wake` in between rings nothing, but its work is seen by the caller.
        self.woken.swap(false, Ordering::AcqRel);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.counter.as_fd()
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

/// Waits until one of at most 64 descriptors is readable or `timeout` (nanoseconds count) is over.
///
/// `None` waits for ever. A signal ends the wait early with an empty set.
pub fn wait(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> Result<Ready, IoFailure> {
    let ready =
        sys::poll_readable(fds, timeout).map_err(|e| IoFailure::new("cannot wait for descriptors", e))?;
    Ok(Ready(ready))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn many_wakes_are_one_and_drain_ends_them() {
        let waker = Waker::new().expect("eventfd");
        assert!(wait(&[waker.as_fd()], Some(Duration::ZERO)).expect("poll").is_empty());
        waker.wake();
        waker.wake();
        assert!(wait(&[waker.as_fd()], Some(Duration::ZERO)).expect("poll").has(0));
        waker.drain();
        assert!(wait(&[waker.as_fd()], Some(Duration::ZERO)).expect("poll").is_empty());
        waker.wake();
        assert!(wait(&[waker.as_fd()], None).expect("poll").has(0));
    }

    #[test]
    fn a_wait_tells_which_descriptor_is_ready() {
        let (quiet, loud) = (Waker::new().expect("eventfd"), Waker::new().expect("eventfd"));
        loud.wake();
        let ready = wait(&[quiet.as_fd(), loud.as_fd()], Some(Duration::from_secs(5))).expect("poll");
        assert!(!ready.has(0) && ready.has(1) && !ready.has(64));
    }

    #[test]
    fn a_wake_from_another_thread_is_never_lost() {
        let waker = Arc::new(Waker::new().expect("eventfd"));
        let (give, take) = crossbeam_channel::bounded::<u32>(4);
        let ringer = {
            let waker = Arc::clone(&waker);
            std::thread::spawn(move || {
                for n in 0..2_000 {
                    give.send(n).expect("the reader lives");
                    waker.wake();
                }
            })
        };
        let mut seen = 0;
        while seen < 2_000 {
            let ready = wait(&[waker.as_fd()], Some(Duration::from_secs(10))).expect("poll");
            assert!(ready.has(0), "woken {seen} times only");
            waker.drain();
            seen += take.try_iter().count();
        }
        ringer.join().expect("ringer");
    }

    #[test]
    fn more_than_64_descriptors_are_refused() {
        let waker = Waker::new().expect("eventfd");
        assert!(wait(&vec![waker.as_fd(); 65], Some(Duration::ZERO)).is_err());
    }
}
