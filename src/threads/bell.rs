//! A bounded crossbeam queue whose reader sleeps until it is rung.
//!
//! crossbeam's own blocking receive spins and yields the processor several times before it sleeps. With one
//! packet each half a millisecond that came to a fifth of this program's CPU time, so the threads here take
//! what is there without waiting, and sleep on a bell.
//!
//! Not for: threads that wait for descriptors (`io/poll.rs` has the waker).

use crossbeam_channel::{bounded, Receiver, SendTimeoutError, Sender, TryIter, TrySendError};
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{fence, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The sending end; cheap to clone.
#[derive(Debug)]
pub struct BellQueue<T> {
    queue: Sender<T>,
    bell: Arc<Bell>,
}

/// The receiving end; clones share the messages, and only one thread may wait at a time.
#[derive(Debug)]
pub struct BellInbox<T> {
    queue: Receiver<T>,
    bell: Arc<Bell>,
}

/// A queue for at most `size` messages.
pub fn bell_queue<T>(size: usize) -> (BellQueue<T>, BellInbox<T>) {
    let (sender, receiver) = bounded(size);
    let bell = Arc::new(Bell::default());
    (BellQueue { queue: sender, bell: bell.clone() }, BellInbox { queue: receiver, bell })
}

impl<T> BellQueue<T> {
    /// Puts a message in and rings; never waits.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        let sent = self.queue.try_send(message);
        self.bell.ring();
        sent
    }

    /// Puts a message in without a ring: somebody else sees to it.
    pub fn put(&self, message: T) -> Result<(), TrySendError<T>> {
        self.queue.try_send(message)
    }

    /// Ends the wait of the reader.
    pub fn ring(&self) {
        self.bell.ring();
    }

    /// Puts a message in and rings; waits for room.
    pub fn send_timeout(&self, message: T, time: Duration) -> Result<(), SendTimeoutError<T>> {
        let message = match self.try_send(message) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => message,
        };
        let sent = self.queue.send_timeout(message, time);
        self.bell.ring();
        sent
    }
}

impl<T> BellInbox<T> {
    /// Sleeps until it is rung or `due`; returns at once when it was rung since the last call.
    ///
    /// Take everything out with `try_iter` before: what is left rings no more.
    pub fn wait_until(&self, due: Instant) {
        self.bell.wait_until(due);
    }

    /// Works off what is there in the place of the reader, a few times while there is more; then the reader is called.
    ///
    /// `once` does so under a lock that it has given back when it returns: none where it found it locked, else whether
    /// the reader has to look sooner than it means to. Who finds it locked leaves what it put in to the holder.
    pub fn work_off(&self, mut once: impl FnMut() -> Option<bool>) {
        for _ in 0..ROUNDS_MAX {
            // Together with the one below: of one who puts in and finds it locked and one who unlocks and finds
            // nothing, at least one sees what the other did.
            fence(Ordering::SeqCst);
            let Some(sooner) = once() else { return };
            if sooner {
                self.ring();
            }
            fence(Ordering::SeqCst);
            if self.is_empty() {
                return;
            }
        }
        self.ring();
    }

    /// As `wait_until`, unless something came before the lock of `work_off` was given back: for the reader.
    pub fn rest_until(&self, due: Instant) {
        fence(Ordering::SeqCst);
        if self.is_empty() {
            self.wait_until(due);
        }
    }

    /// Ends the wait of who waits here.
    pub fn ring(&self) {
        self.bell.ring();
    }

    /// The messages that are there.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        self.queue.try_iter()
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl<T> Clone for BellQueue<T> {
    fn clone(&self) -> BellQueue<T> {
        BellQueue { queue: self.queue.clone(), bell: self.bell.clone() }
    }
}

impl<T> Clone for BellInbox<T> {
    fn clone(&self) -> BellInbox<T> {
        BellInbox { queue: self.queue.clone(), bell: self.bell.clone() }
    }
}

/// Remembers that it was rung until somebody has waited.
#[derive(Debug, Default)]
struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    fn ring(&self) {
        let before = std::mem::replace(&mut *self.rung.lock(), true);
        if !before {
            self.heard.notify_one();
        }
    }

    fn wait_until(&self, due: Instant) {
        let mut rung = self.rung.lock();
        while !*rung && !self.heard.wait_until(&mut rung, due).timed_out() {}
        *rung = false;
    }
}

/// How often one who is not the reader goes on with what others brought before it calls the reader.
const ROUNDS_MAX: usize = 4;
/// Packets of a run that whoever brings them works off itself; for more, a second core is worth a wake-up.
pub const FEW: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_before_the_wait_is_not_forgotten() {
        let (queue, inbox) = bell_queue(4);
        queue.try_send(1).expect("room");
        inbox.wait_until(Instant::now() + Duration::from_secs(60));
        assert_eq!(inbox.try_iter().collect::<Vec<_>>(), [1]);
        assert!(inbox.is_empty());
    }

    #[test]
    fn a_wait_that_nobody_rings_ends_when_it_is_due() {
        let (_queue, inbox) = bell_queue::<u32>(1);
        let due = Instant::now() + Duration::from_millis(2);
        inbox.wait_until(due);
        assert!(Instant::now() >= due);
    }

    #[test]
    fn a_full_queue_gives_the_message_back_and_waits_for_room_when_asked() {
        let (queue, inbox) = bell_queue(1);
        queue.try_send(1).expect("room");
        assert!(matches!(queue.try_send(2), Err(TrySendError::Full(2))));
        assert!(queue.send_timeout(2, Duration::ZERO).is_err());
        let reader = std::thread::spawn(move || {
            let mut seen = Vec::new();
            while seen.len() < 2 {
                inbox.wait_until(Instant::now() + Duration::from_secs(60));
                seen.extend(inbox.try_iter());
            }
            seen
        });
        queue.send_timeout(2, Duration::from_secs(60)).expect("room in the end");
        assert_eq!(reader.join().expect("reader"), [1, 2]);
    }

    #[test]
    fn no_message_of_another_thread_is_slept_through() {
        let (queue, inbox) = bell_queue(4);
        let writer = std::thread::spawn(move || {
            for n in 0..2_000 {
                queue.send_timeout(n, Duration::from_secs(60)).expect("the reader lives");
            }
        });
        let mut seen = 0;
        while seen < 2_000 {
            let due = Instant::now() + Duration::from_secs(10);
            inbox.wait_until(due);
            assert!(Instant::now() < due, "slept through after {seen}");
            seen += inbox.try_iter().count();
        }
        writer.join().expect("writer");
    }
}
