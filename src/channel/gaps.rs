//! How lumpy a link delivers: the time for which it stands still although something waits in it.
//!
//! Radio links hand out capacity in lumps, tens of milliseconds apart. A queue shorter than that runs
//! dry between two lumps, and a rate measured over less is noise: both follow this figure.
//!
//! A packet that waited `q` in the link and came `gap` after the one before it saw the link stand still
//! for the lesser of the two.

use std::time::{Duration, Instant};

/// Smoothed length of the longest standstill in a quarter of a second.
#[derive(Clone, Debug)]
pub struct Gaps {
    smoothed_us: i64,
    slice_us: i64,
    slice_at: Instant,
    last_at_us: Option<i64>,
}

impl Gaps {
    pub fn new(now: Instant) -> Gaps {
        Gaps { smoothed_us: 0, slice_us: 0, slice_at: now, last_at_us: None }
    }

    /// The newest packet arrived at `at_us` (receiver's clock) after waiting `queue_us` in the link.
    pub fn on_arrival(&mut self, now: Instant, at_us: i64, queue_us: i64) {
        let gap = self.last_at_us.map_or(0, |last| at_us - last);
        if gap < 0 {
            return;
        }
        self.last_at_us = Some(at_us);
        self.slice_us = self.slice_us.max(gap.min(queue_us).min(GAP_MAX_US));
        if now.saturating_duration_since(self.slice_at) >= SLICE {
            let up = self.slice_us > self.smoothed_us;
            self.smoothed_us += (self.slice_us - self.smoothed_us) / if up { 2 } else { 8 };
            (self.slice_us, self.slice_at) = (0, now);
        }
    }

    pub fn typical(&self) -> Duration {
        Duration::from_micros(self.smoothed_us.max(0) as u64)
    }
}

const SLICE: Duration = Duration::from_millis(250);
/// A longer standstill is an outage, not the link's way.
const GAP_MAX_US: i64 = 150_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lumps_are_seen_and_pauses_of_the_sender_are_not() {
        let t = Instant::now();
        let (mut lumpy, mut idle) = (Gaps::new(t), Gaps::new(t));
        for i in 0..200i64 {
            let now = t + Duration::from_millis(20 * i as u64);
            // Four packets at once every 80 ms, or one every 20 ms that waited for nothing.
            lumpy.on_arrival(now, i / 4 * 80_000, 70_000);
            idle.on_arrival(now, i * 20_000, 100);
        }
        assert!(lumpy.typical() >= Duration::from_millis(60), "{:?}", lumpy.typical());
        assert!(idle.typical() <= Duration::from_millis(1));
    }
}
