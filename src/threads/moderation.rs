//! When a receiver looks at its socket again: at once, or after a pause in which several datagrams gather.
//!
//! Below some hundred Mbit/s each datagram of a full link would wake its receiver alone, and what follows from
//! it (writing to TUN, the inner acknowledgement, feedback) wakes others. A pause of less than a millisecond while
//! datagrams follow each other closely halves all of that; network cards do the same with their interrupts.
//! The first datagrams after a silence never wait, nor do those of a web page that has the link to itself: each of its
//! round trips would become longer.

use std::time::{Duration, Instant};

/// What a receiver remembers of its last wake-ups.
#[derive(Clone, Debug)]
pub struct Moderation {
    last: Instant,
    /// Time between datagrams, smoothed.
    gap: Duration,
    /// Datagrams of the last wake-up.
    datagrams: u32,
    /// When the last silence ended.
    since: Instant,
}

impl Moderation {
    /// Nothing came yet.
    pub fn new(now: Instant) -> Moderation {
        Moderation { last: now, gap: GAP_MAX, datagrams: 0, since: now }
    }

    /// A wake-up brought so many datagrams.
    pub fn on_datagrams(&mut self, now: Instant, datagrams: u32) {
        self.datagrams = datagrams;
        if datagrams > 0 {
            let passed = now.saturating_duration_since(self.last);
            if passed >= GAP_MAX {
                self.since = now;
            }
            let gap = (passed / datagrams).min(GAP_MAX);
            self.gap = (self.gap * 7 + gap) / 8;
            self.last = now;
        }
    }

    /// Time in which to leave the socket alone, if that is worth it.
    pub fn pause(&self) -> Option<Duration> {
        let is_close = self.gap < GAP_CLOSE && (1..ENOUGH).contains(&self.datagrams);
        let lasts = self.last.saturating_duration_since(self.since) >= LASTS;
        (is_close && lasts).then_some(PAUSE)
    }
}

/// Length of a pause. Source: 0.8 ms are 1.3 packets at 20 Mbit/s and 6 at 100; the longest that was thought
/// harmless for the delay of a call.
const PAUSE: Duration = Duration::from_micros(800);
/// Mean time between datagrams below which pauses begin.
const GAP_CLOSE: Duration = Duration::from_micros(1_000);
/// Time without a silence after which pauses begin. Source: 100 kB at 20 Mbit/s take 40 ms; on a path of 20 ms each round
/// trip was 0.5 ms longer with pauses than it is without.
const LASTS: Duration = Duration::from_millis(100);
/// A silence counts as no longer than this, so that a burst after it is soon taken for what it is.
const GAP_MAX: Duration = Duration::from_millis(10);
/// Datagrams of one wake-up that need no pause to be worth it.
const ENOUGH: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_of_a_call_never_wait() {
        let mut now = Instant::now();
        let mut m = Moderation::new(now);
        for _ in 0..1_000 {
            now += Duration::from_millis(5);
            m.on_datagrams(now, 1);
            assert_eq!(m.pause(), None);
        }
    }

    #[test]
    fn a_full_link_makes_them_gather_and_a_silence_ends_it() {
        let mut now = Instant::now();
        let mut m = Moderation::new(now);
        for _ in 0..300 {
            now += Duration::from_micros(600);
            m.on_datagrams(now, 1);
        }
        assert!(m.pause().is_some());
        m.on_datagrams(now + PAUSE, 0);
        assert_eq!(m.pause(), None, "nothing came in the pause: the next one is waited for");
        m.on_datagrams(now + Duration::from_millis(50), 1);
        assert_eq!(m.pause(), None);
    }

    #[test]
    fn a_page_does_not_wait() {
        let start = Instant::now();
        let mut m = Moderation::new(start);
        for ms in (0..500).filter(|ms| ms % 60 < 40) {
            for us in [0, 400] {
                m.on_datagrams(start + Duration::from_millis(ms) + Duration::from_micros(us), 1);
                assert_eq!(m.pause(), None, "{ms}");
            }
        }
    }

    #[test]
    fn a_wake_up_that_brought_many_is_followed_at_once() {
        let mut now = Instant::now();
        let mut m = Moderation::new(now);
        for _ in 0..100 {
            now += Duration::from_micros(100);
            m.on_datagrams(now, 40);
        }
        assert_eq!(m.pause(), None);
    }
}
