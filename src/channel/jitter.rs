//! Tells jitter from a queue where little is sent.
//!
//! A queue delays all packets, jitter some. Where the supply, not the window, is the limit, jitter taken for a queue has a
//! consequence: what little was sent counts as the link's rate, the window follows, and a page's next flight waits for a
//! round trip until there is room. So one late packet is no limit where another of the last ones was in time, no more
//! than such a flight is under way, and the link has shown that it brings several packets in a row much faster.
//!
//! Source: the simulator, 100 kB objects over 24 sets of one and two links of 5 to 100 Mbit/s with 5 and 20 ms of jitter, as many
//! as over the best link without a tunnel: 0.90 without this, 0.95 with it; 180 random sets 1.074, 1.076; downloads the same,
//! p95 of a call beside a download that has just begun, seventeen sets, nine seeds, 89.7, 90.9 ms. With the least for the
//! window's growth, too: 0.96, 1.081, 91.5 ms. An earlier form on all links, those that stand still for long included: city3's
//! objects took 302 instead of 267 ms, so it ends at about 22 ms of jitter. Where bursts need not be faster a link of
//! 0.5 Mbit/s counted as unlimited, and a BBR download beside it got 15 instead of 190 Mbit/s.
//! Not for: windows that are full (`delay.rs` doubts their queue).

use crate::units::Rate;
use std::time::{Duration, Instant};

/// One-way delays of the last packets that were acknowledged, the newest of each acknowledgement.
#[derive(Clone, Debug, Default)]
pub(super) struct Jitter {
    lately: [Option<(Instant, i64)>; SAMPLES],
    at: usize,
}

impl Jitter {
    pub fn on_sample(&mut self, now: Instant, owd_us: i64) {
        self.lately[self.at] = Some((now, owd_us));
        self.at = (self.at + 1) % SAMPLES;
    }

    /// The least of the last delays of `FRESH_ROUNDS`, microseconds.
    pub fn least_us(&self, now: Instant, rtt: Duration) -> Option<i64> {
        let is_fresh = |at: Instant| now.saturating_duration_since(at) <= rtt * FRESH_ROUNDS;
        self.lately.iter().flatten().filter(|(at, _)| is_fresh(*at)).map(|(_, owd_us)| *owd_us).min()
    }

    /// What came before says nothing: the link stood still, or its path has become another.
    pub fn forget(&mut self) {
        *self = Jitter::default();
    }

    /// Whether a late packet may be jitter's: packets in a row came at `bursts` within the last seconds, all of late, pauses included,
    /// at `rate`, and so many bytes are `in_flight`.
    pub fn may_explain(bursts: Rate, rate: Rate, in_flight: u64) -> bool {
        bursts.0 > rate.0.saturating_mul(FASTER) && in_flight <= FLIGHT_MAX
    }
}

/// Source: as above, the sets with jitter: with 3, 5 of them 0.92, 0.94 instead of 0.955.
const SAMPLES: usize = 8;
/// Round trips for which a sample counts; a page's flights are one apart. Source: as above, two and four: 0.945, 0.955.
const FRESH_ROUNDS: u32 = 4;
/// Bursts are so many times as fast. Source: as above, 2 and 4: 0.951, 0.955, calls 90.5, 90.9 ms.
const FASTER: u64 = 4;
/// The last and largest flight of one page of 100 kB on one channel: 40 packets of a slow start from ten (RFC 6928). A bound
/// by reason: without it calls wait for 89.9 ms, which is the same.
const FLIGHT_MAX: u64 = 64_000;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_least_of_the_last_samples_counts_and_older_ones_do_not() {
        let (mut jitter, rtt) = (Jitter::default(), MS * 40);
        let mut now = Instant::now();
        assert_eq!(jitter.least_us(now, rtt), None);
        jitter.on_sample(now, 3_000);
        for _ in 0..SAMPLES - 1 {
            now += MS;
            jitter.on_sample(now, 15_000);
            assert_eq!(jitter.least_us(now, rtt), Some(3_000));
        }
        jitter.on_sample(now, 15_000);
        assert_eq!(jitter.least_us(now, rtt), Some(15_000), "a queue delays all");
        now += MS * 161;
        assert_eq!(jitter.least_us(now, rtt), None, "four round trips ago");
        jitter.on_sample(now, 15_000);
        jitter.forget();
        assert_eq!(jitter.least_us(now, rtt), None);
    }

    #[test]
    fn much_faster_bursts_and_little_under_way_may_be_jitter() {
        let may_explain = |bursts, in_flight| Jitter::may_explain(Rate(bursts), Rate(125_000), in_flight);
        assert!(may_explain(500_001, 64_000));
        assert!(!may_explain(500_000, 64_000));
        assert!(!may_explain(500_001, 64_001));
        assert!(!Jitter::may_explain(Rate(0), Rate(0), 0), "nothing is known");
    }
}
