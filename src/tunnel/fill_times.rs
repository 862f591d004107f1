//! How long missing packets take to come, and from that how long to wait for one.
//!
//! Not for: single gaps. It learns from all flows, because the channels are the same for all.

use std::time::Duration;

/// What bounds the waits.
#[derive(Clone, Copy, Debug)]
pub struct HoldSettings {
    /// Shortest hold.
    pub hold_min: Duration,
    /// Longest hold, also before anything was learnt.
    pub hold_max: Duration,
    /// Longest hold of bulk flows other than TCP.
    pub hold_other_max: Duration,
}

pub(super) struct FillTimes {
    settings: HoldSettings,
    /// Fills by time, in steps of `STEP`; the last one takes all above.
    buckets: [u32; BUCKETS],
    fills: u32,
    hold: Duration,
    /// Time that re-sent packets took: smoothed, and its variation, as RFC 6298 does.
    resend_us: u64,
    resend_var_us: u64,
}

impl FillTimes {
    pub(super) fn new(settings: HoldSettings) -> FillTimes {
        FillTimes {
            settings,
            buckets: [0; BUCKETS],
            fills: 0,
            hold: settings.hold_max,
            resend_us: RESEND_START_US,
            resend_var_us: 0,
        }
    }

    /// A missing packet came `after` it was missed. `was_lost` says that it must have been sent again.
    pub(super) fn on_fill(&mut self, after: Duration, was_lost: bool) {
        let bucket = (after.as_micros() / STEP.as_micros()).min(BUCKETS as u128 - 1) as usize;
        self.buckets[bucket] += 1;
        self.fills += 1;
        if self.fills >= FILLS_KEPT {
            self.buckets.iter_mut().for_each(|b| *b /= 2);
            self.fills = self.buckets.iter().sum();
        }
        // Not at each one: the sum costs more than the rest.
        if self.fills % 16 == 0 {
            self.hold = self.learnt_hold();
        }
        if was_lost {
            let us = (after.min(self.settings.hold_max)).as_micros() as u64;
            self.resend_var_us = (self.resend_var_us * 3 + self.resend_us.abs_diff(us)) / 4;
            self.resend_us = (self.resend_us * 7 + us) / 8;
        }
    }

    /// How long a TCP flow may wait for a packet.
    pub(super) fn hold(&self) -> Duration {
        self.hold
    }

    /// How long another bulk flow may.
    pub(super) fn hold_other(&self) -> Duration {
        self.hold.min(self.settings.hold_other_max)
    }

    /// Time after which a packet that was sent again should have come.
    pub(super) fn resend_window(&self) -> Duration {
        let margin_us = (self.resend_us / 5).max(self.resend_var_us * 2);
        Duration::from_micros(self.resend_us + margin_us + 20_000).min(self.hold)
    }

    /// 1.25 x the 99th percentile, within the bounds.
    fn learnt_hold(&self) -> Duration {
        if self.fills < FILLS_MIN {
            return self.settings.hold_max;
        }
        let mut above = self.fills / 100;
        let p99 = self.buckets.iter().rposition(|&count| {
            let is_it = count > above;
            above = above.saturating_sub(count);
            is_it
        });
        let steps = p99.unwrap_or(0) as u32 + 1;
        let hold = STEP * steps * 5 / 4;
        hold.max(self.settings.hold_min).min(self.settings.hold_max)
    }
}

/// Resolution of fill times.
const STEP: Duration = Duration::from_millis(8);
/// 800 ms.
const BUCKETS: usize = 100;
/// Fills that count fully; older ones fade.
const FILLS_KEPT: u32 = 4_096;
/// Before so many fills the longest hold counts: a p99 needs about a hundred.
const FILLS_MIN: u32 = 128;
/// Gives a re-send window of 100 ms.
const RESEND_START_US: u64 = 66_667;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_learnt_means_the_longest_hold() {
        let times = times();
        assert_eq!(times.hold(), ms(400));
        assert_eq!(times.hold_other(), ms(100));
        assert_eq!(times.resend_window().as_millis(), 100);
    }

    #[test]
    fn the_hold_follows_the_slowest_hundredth() {
        let mut t = times();
        (0..1000).for_each(|_| t.on_fill(ms(10), false));
        assert_eq!(t.hold(), ms(60));
        (0..1000).for_each(|i| t.on_fill(ms(if i % 20 == 0 { 201 } else { 10 }), false));
        assert_eq!(t.hold(), ms(260));
        (0..9000).for_each(|_| t.on_fill(ms(700), false));
        assert_eq!(t.hold(), ms(400));
        (0..40_000).for_each(|_| t.on_fill(ms(10), false));
        assert_eq!(t.hold(), ms(60));
    }

    #[test]
    fn the_resend_window_covers_a_steady_resend_time() {
        let mut times = times();
        (0..100).for_each(|_| times.on_fill(ms(150), true));
        assert!((ms(190)..ms(202)).contains(&times.resend_window()), "{:?}", times.resend_window());
    }

    fn times() -> FillTimes {
        FillTimes::new(HoldSettings { hold_min: ms(60), hold_max: ms(400), hold_other_max: ms(100) })
    }

    fn ms(t: u64) -> Duration {
        Duration::from_millis(t)
    }
}
