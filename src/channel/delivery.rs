//! How fast a channel delivers, by its *receiver's* clock: bytes that arrived / time between arrivals.
//!
//! The receiver's clock makes the rate blind to jitter and bunching on the way of the
//! acknowledgements. The filter keeps the highest rate of the last ~100 ms (ALGORITHMS section 4.3).
//! Samples taken while the sender had nothing to send (app_limited) may raise, never lower: nothing to send proves nothing.

use crate::units::Rate;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What one acknowledgement says about arrivals.
#[derive(Clone, Copy, Debug)]
pub struct Arrived {
    /// The receiver's clock when the largest packet arrived, unwrapped, microseconds.
    pub at_us: i64,
    /// When that packet was sent, by any steady clock, microseconds.
    pub sent_us: i64,
    /// Bytes that had arrived by then, unwrapped.
    pub bytes: u64,
}

/// Windowed-maximum filter over the delivery rate.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Arrivals of the last while, oldest first.
    arrivals: VecDeque<Arrived>,
    /// Candidate maxima: falling rates with their times.
    maxima: VecDeque<(Instant, Rate)>,
    latest: Rate,
    sampled: bool,
    proven: bool,
    /// Highest rate over a few packets in a row, of this second and the one before.
    bursts: [Rate; 2],
    bursts_at: Instant,
    /// What `bursts` last knew.
    last_burst: Rate,
}

impl Delivery {
    pub fn new(now: Instant) -> Delivery {
        Delivery {
            arrivals: VecDeque::new(),
            maxima: VecDeque::new(),
            latest: Rate(0),
            sampled: false,
            proven: false,
            bursts: [Rate(0); 2],
            bursts_at: now,
            last_burst: Rate(0),
        }
    }

    /// Takes in an acknowledgement; `window` is the time to measure over, `keep` how long a maximum counts.
    pub fn on_ack(&mut self, now: Instant, a: Arrived, window: Duration, keep: Duration, app_limited: bool) {
        if self.arrivals.back().is_some_and(|b| a.at_us <= b.at_us || a.bytes < b.bytes) {
            return;
        }
        if self.arrivals.back().is_some_and(|b| a.at_us - b.at_us > SILENCE_US) {
            self.arrivals.clear();
        }
        self.arrivals.push_back(a);
        let window_us = window.as_micros() as i64;
        while self.arrivals.len() > 2 && self.arrivals.get(1).is_some_and(|b| a.at_us - b.at_us >= window_us)
        {
            self.arrivals.pop_front();
        }
        if self.arrivals.len() > ARRIVALS_MAX {
            self.arrivals.pop_front();
        }
        self.note_burst(now, a);
        let Some(first) = self.arrivals.front() else { return };
        let over = a.at_us - first.at_us;
        if over < window_us / 2 {
            return;
        }
        let rate = Rate::from_bytes(a.bytes - first.bytes, Duration::from_micros(over as u64));
        self.latest = rate;
        self.on_sample(now, rate, keep, app_limited);
    }

    /// What came before was before a pause of the sender. A rate that was never found is better found with a pause in it.
    pub fn restart(&mut self) {
        if self.proven {
            self.arrivals.clear();
        }
    }

    /// Where the time begins over which a packet that arrives at `at_us` is measured; none if that is too short.
    pub fn measured_from(&self, at_us: i64, window: Duration) -> Option<i64> {
        let window_us = window.as_micros() as i64;
        let old = self.arrivals.iter().rev().find(|b| at_us - b.at_us >= window_us);
        old.or(self.arrivals.front()).map(|b| b.at_us).filter(|from_us| at_us - from_us >= window_us / 2)
    }

    /// The rate over the newest few packets, if they came in a row.
    fn note_burst(&mut self, now: Instant, a: Arrived) {
        if now.saturating_duration_since(self.bursts_at) >= BURST_SLICE {
            self.bursts_at = now;
            self.bursts = [Rate(0), self.bursts[0]];
        }
        let before =
            self.arrivals.iter().rev().skip(1).take(BURST_ACKS).find(|b| a.bytes - b.bytes >= BURST_BYTES);
        let Some(b) = before else { return };
        let (came_us, left_us) = (a.at_us - b.at_us, a.sent_us - b.sent_us);
        let rate = Rate::from_bytes(a.bytes - b.bytes, Duration::from_micros(came_us as u64));
        // What left no faster than it came shows what was sent, not what the link may do: a first look at a fast link
        // may have nothing but the pause before the train.
        let tells = left_us * 100 <= came_us * BURST_LEFT_PERCENT;
        if tells || (self.last_burst.0 > 0 && rate > self.last_burst) {
            self.bursts[0] = self.bursts[0].max(rate);
            self.last_burst = self.bursts[0].max(self.bursts[1]);
        }
    }

    fn on_sample(&mut self, now: Instant, rate: Rate, keep: Duration, app_limited: bool) {
        self.sampled = true;
        self.proven |= !app_limited;
        if app_limited && rate < self.rate() {
            return;
        }
        while self.maxima.back().is_some_and(|m| m.1 <= rate) {
            self.maxima.pop_back();
        }
        self.maxima.push_back((now, rate));
        while self.maxima.len() > 1
            && self.maxima.front().is_some_and(|m| now.saturating_duration_since(m.0) > keep)
        {
            self.maxima.pop_front();
        }
    }

    /// The filtered rate.
    pub fn rate(&self) -> Rate {
        self.maxima.front().map_or(Rate(0), |m| m.1)
    }

    /// The highest rate over four packets in a row, of the last two to four seconds in which there were any; zero if
    /// there never were.
    pub fn burst_rate(&self) -> Rate {
        self.last_burst
    }

    /// The newest sample alone.
    pub fn latest(&self) -> Rate {
        self.latest
    }

    /// Whether there was a sample at all.
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// Whether there was one while the link, not the supply, was the limit.
    pub fn is_proven(&self) -> bool {
        self.proven
    }
}

/// Packets in a row that make a burst: four full ones, told in at most so many acknowledgements.
const BURST_BYTES: u64 = 6_000;
const BURST_ACKS: usize = 8;
/// Packets of a burst left within this part of the time in which they came. Source: random sets of links, where a
/// 157 Mbit/s link counted as 0.7 for a round trip, and the beginning of a download went to 1.6 Mbit/s beside it.
const BURST_LEFT_PERCENT: i64 = 80;
const BURST_SLICE: Duration = Duration::from_secs(2);
/// Arrivals kept at most; with one acknowledgement a millisecond half a second.
const ARRIVALS_MAX: usize = 512;
/// Arrivals further apart than this are not one measurement.
const SILENCE_US: i64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn feed(
        d: &mut Delivery,
        t: Instant,
        from_ms: u64,
        to_ms: u64,
        bytes_per_ms: u64,
        bytes: &mut u64,
        idle: bool,
    ) {
        for i in from_ms..to_ms {
            *bytes += bytes_per_ms;
            let a = Arrived { at_us: i as i64 * 1_000, bytes: *bytes, sent_us: 0 };
            d.on_ack(t + MS * i as u32, a, MS * 50, MS * 100, idle);
        }
    }

    #[test]
    fn a_burst_that_left_as_slowly_as_it_came_tells_nothing_of_the_link_unless_it_is_a_faster_one() {
        let t = Instant::now();
        let mut d = Delivery::new(t);
        let mut arrive = |at_us, sent_us, bytes| {
            d.on_ack(t, Arrived { at_us, sent_us, bytes }, MS * 40, MS * 100, true);
            d.burst_rate()
        };
        arrive(0, 0, 1_000);
        // A pause, then a train that one acknowledgement tells of.
        assert_eq!(arrive(90_000, 90_000, 9_000), Rate(0));
        assert_eq!(arrive(98_000, 90_000, 17_000), Rate(1_000_000));
        assert_eq!(arrive(198_000, 190_000, 25_000), Rate(1_000_000));
        assert_eq!(arrive(200_000, 194_000, 33_000), Rate(4_000_000));
    }

    #[test]
    fn the_rate_is_that_of_the_receivers_clock() {
        let t = Instant::now();
        let (mut d, mut bytes) = (Delivery::new(t), 0);
        feed(&mut d, t, 0, 200, 1_000, &mut bytes, false);
        assert_eq!(d.rate(), Rate(1_000_000));
    }

    #[test]
    fn a_drop_is_believed_within_window_and_keep() {
        let t = Instant::now();
        let (mut d, mut bytes) = (Delivery::new(t), 0);
        feed(&mut d, t, 0, 200, 1_000, &mut bytes, false);
        feed(&mut d, t, 200, 360, 100, &mut bytes, false);
        assert!(d.rate().0 < 150_000, "{:?}", d.rate());
    }

    #[test]
    fn having_nothing_to_send_does_not_lower_the_rate() {
        let t = Instant::now();
        let (mut d, mut bytes) = (Delivery::new(t), 0);
        feed(&mut d, t, 0, 200, 1_000, &mut bytes, false);
        feed(&mut d, t, 200, 700, 10, &mut bytes, true);
        assert_eq!(d.rate(), Rate(1_000_000));
    }

    #[test]
    fn a_pause_is_no_part_of_what_is_measured_behind_it() {
        let t = Instant::now();
        let (mut d, mut bytes) = (Delivery::new(t), 0);
        d.restart();
        feed(&mut d, t, 0, 100, 1_000, &mut bytes, true);
        assert!(!d.is_proven());
        feed(&mut d, t, 100, 200, 1_000, &mut bytes, false);
        assert!(d.is_proven());
        // Half as fast, and four tenths of a second later.
        let mut unaware = d.clone();
        let mut more = bytes;
        feed(&mut unaware, t, 600, 650, 500, &mut more, false);
        assert!(unaware.latest().0 < 100_000, "{:?}", unaware.latest());
        d.restart();
        assert_eq!(d.measured_from(600_000, MS * 50), None);
        feed(&mut d, t, 600, 650, 500, &mut bytes, false);
        assert_eq!(d.latest(), Rate(500_000));
        assert_eq!(d.measured_from(650_000, MS * 50), Some(600_000));
        assert_eq!(d.measured_from(660_000, MS * 50), Some(610_000));
    }
}
