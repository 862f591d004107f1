//! How long packets that were sent again take to come, and from that when one of them is overdue.
//!
//! Not for: single gaps. It learns from all flows, because the channels are the same for all.

use std::time::Duration;

/// Fill times of gaps that had been proven lost.
pub(super) struct FillTimes {
    /// Longest wait of all.
    hold_max: Duration,
    resent: Histogram,
}

impl FillTimes {
    pub(super) fn new(hold_max: Duration) -> FillTimes {
        FillTimes { hold_max, resent: Histogram::new() }
    }

    /// A packet that was lost and sent again came `after` it was missed.
    pub(super) fn on_resent(&mut self, after: Duration) {
        self.resent.on_time(after);
    }

    /// Time after which a packet that was sent again is overdue: 1.25 x the 99th percentile and a margin.
    ///
    /// Generous, because the sender goes on sending it again and says when it gives up; this is for when it
    /// cannot. In the simulator with 1 % loss, 1.2 x the mean cost half of one CUBIC flow's rate.
    pub(super) fn resend_window(&self) -> Duration {
        let learnt = self.resent.p99().map(|p99| (p99 * 5 / 4 + MARGIN).max(RESEND_MIN));
        learnt.unwrap_or(self.hold_max * 3 / 4).min(self.hold_max)
    }
}

/// Times in steps of `STEP`; older ones fade.
struct Histogram {
    /// The last one takes all above.
    buckets: [u32; BUCKETS],
    times: u32,
    p99: Option<Duration>,
}

impl Histogram {
    fn new() -> Histogram {
        Histogram { buckets: [0; BUCKETS], times: 0, p99: None }
    }

    fn on_time(&mut self, time: Duration) {
        let bucket = (time.as_micros() / STEP.as_micros()).min(BUCKETS as u128 - 1) as usize;
        self.buckets[bucket] += 1;
        self.times += 1;
        if self.times >= TIMES_KEPT {
            self.buckets.iter_mut().for_each(|b| *b /= 2);
            self.times = self.buckets.iter().sum();
        }
        // Not at each one: the sum costs more than the rest.
        if self.times.is_multiple_of(16) && self.times >= TIMES_MIN {
            self.p99 = Some(self.sum_up());
        }
    }

    /// The upper end of the 99th percentile's step; `None` before there are enough times.
    fn p99(&self) -> Option<Duration> {
        self.p99
    }

    fn sum_up(&self) -> Duration {
        let mut above = self.times / 100;
        let found = self.buckets.iter().rposition(|&count| {
            let is_it = count > above;
            above = above.saturating_sub(count);
            is_it
        });
        STEP * (found.unwrap_or(0) as u32 + 1)
    }
}

/// Resolution of fill times.
const STEP: Duration = Duration::from_millis(8);
/// 800 ms.
const BUCKETS: usize = 100;
/// Times that count fully.
const TIMES_KEPT: u32 = 4_096;
/// A 99th percentile needs about a hundred times.
const TIMES_MIN: u32 = 112;
/// Shortest re-send window, and what it has above the percentile. Source: guesses.
const RESEND_MIN: Duration = Duration::from_millis(100);
const MARGIN: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_learnt_means_a_long_window() {
        assert_eq!(FillTimes::new(ms(600)).resend_window(), ms(450));
    }

    #[test]
    fn the_window_follows_the_slowest_hundredth_both_ways() {
        let mut times = FillTimes::new(ms(600));
        (0..2000).for_each(|i| times.on_resent(ms(if i % 50 == 0 { 200 } else { 80 })));
        assert_eq!(times.resend_window(), ms(208) * 5 / 4 + ms(20));
        (0..9000).for_each(|_| times.on_resent(ms(700)));
        assert_eq!(times.resend_window(), ms(600));
        (0..40_000).for_each(|_| times.on_resent(ms(10)));
        assert_eq!(times.resend_window(), ms(100));
    }

    fn ms(t: u64) -> Duration {
        Duration::from_millis(t)
    }
}
