//! The highest rate of the last five to ten seconds, after smoothing over a few hundred milliseconds: what a queue should
//! be long enough for. Older ones fade: a queue that a flow was let to fill for a fast link drains, where all that is too
//! much at once would be dropped and hold the rest up.
//!
//! Source: the simulator, car2 from its 17th second, where 60 of 63 Mbit/s go away for good (`simulate --after 15`): goodput
//! of the ideal 0.77, and nothing for three seconds behind 62 to 91 drops; with this 0.80 and no drop.

use crate::units::Rate;
use std::time::{Duration, Instant};

/// The filter.
#[derive(Debug)]
pub(super) struct Peak {
    smooth: u64,
    smooth_at: Instant,
    slices: [u64; 2],
    /// The highest, and what is left of higher ones.
    fading: u64,
    slice_at: Instant,
}

impl Peak {
    pub(super) fn new(now: Instant) -> Peak {
        Peak { smooth: 0, smooth_at: now, slices: [0; 2], fading: 0, slice_at: now }
    }

    pub(super) fn on_rate(&mut self, now: Instant, rate: Rate) -> Rate {
        if now.saturating_duration_since(self.smooth_at) >= PEAK_STEP {
            let steps = now.saturating_duration_since(self.smooth_at).as_millis() / PEAK_STEP.as_millis();
            (0..steps.min(STEPS_MAX)).for_each(|_| self.fading -= self.fading / FADING);
            self.smooth_at = now;
            self.smooth = if rate.0 > self.smooth {
                (self.smooth + rate.0) / 2
            } else {
                (self.smooth * 7 + rate.0) / 8
            };
        }
        if now.saturating_duration_since(self.slice_at) >= PEAK_SLICE {
            self.slice_at = now;
            self.slices = [self.smooth, self.slices[0]];
        }
        self.slices[0] = self.slices[0].max(self.smooth);
        self.fading = self.fading.max(self.slices[0]).max(self.slices[1]);
        Rate(self.fading.max(rate.0 / 2))
    }
}

const PEAK_STEP: Duration = Duration::from_millis(50);
/// One part of so many goes in each step: half in a second. A guess.
const FADING: u64 = 32;
/// After so many steps hardly anything is left of it.
const STEPS_MAX: u128 = 100;
const PEAK_SLICE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_remembered_for_five_to_ten_seconds() {
        let t = Instant::now();
        let mut peak = Peak::new(t);
        let mut feed = |from: u64, to: u64, rate| {
            (from..to).map(|ms| peak.on_rate(t + Duration::from_millis(ms), Rate(rate))).last().unwrap()
        };
        assert!(feed(0, 1_000, 1_000_000).0 > 950_000);
        assert!(feed(1_000, 5_900, 100_000).0 > 950_000);
        assert!((300_000..900_000).contains(&feed(5_900, 11_000, 100_000).0));
        assert!(feed(11_000, 15_000, 100_000).0 < 150_000);
    }
}
