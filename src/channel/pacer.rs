//! When the next datagram may leave: a token bucket at a little more than the channel's rate.
//!
//! It protects shallow buffers in modems from bursts (ALGORITHMS section 4.3, rule 7).

use crate::units::Rate;
use std::time::{Duration, Instant};

/// Token bucket; a datagram may leave while it is not in debt.
#[derive(Clone, Debug)]
pub struct Pacer {
    rate: Rate,
    tokens: i64,
    at: Instant,
}

impl Pacer {
    pub fn new(now: Instant) -> Pacer {
        Pacer { rate: Rate(0), tokens: BURST_MIN, at: now }
    }

    /// Sets the rate; zero means unpaced.
    pub fn set_rate(&mut self, now: Instant, rate: Rate) {
        self.refill(now);
        self.rate = rate;
    }

    /// Whether a datagram may leave.
    pub fn may_send(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.rate.0 == 0 || self.tokens > 0
    }

    pub fn on_sent(&mut self, bytes: u64) {
        self.tokens -= bytes as i64;
    }

    /// When the next datagram may leave.
    pub fn next(&self) -> Instant {
        if self.rate.0 == 0 {
            return self.at;
        }
        self.at + self.rate.time_for((-self.tokens).max(0) as u64 + 1) + SLACK
    }

    fn refill(&mut self, now: Instant) {
        let earned = self.rate.bytes_in(now.saturating_duration_since(self.at));
        let burst = (self.rate.bytes_in(BURST_TIME) as i64).max(BURST_MIN);
        self.tokens += earned as i64;
        if self.tokens >= burst || self.rate.0 == 0 {
            self.tokens = self.tokens.min(burst);
            self.at = self.at.max(now);
        } else {
            // Only time that earned whole bytes is used up, else frequent calls would earn nothing.
            self.at += self.rate.time_for(earned);
        }
    }
}

/// Largest burst: what the rate carries in this time, but not less than ten full packets, as a server
/// sends at the start: spreading those would look like a queue to the inner TCP (HyStart).
const BURST_TIME: Duration = Duration::from_millis(2);
const BURST_MIN: i64 = 15_000;
/// Wake-ups cost more than packets; waking a little later sends several at once. Source: a guess, well below
/// the time of `BURST_TIME`.
const SLACK: Duration = Duration::from_micros(400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_rate_nothing_waits() {
        let t = Instant::now();
        let mut p = Pacer::new(t);
        (0..100).for_each(|_| p.on_sent(1_500));
        assert!(p.may_send(t) && p.next() <= t);
    }

    #[test]
    fn over_a_second_the_rate_is_kept() {
        let t = Instant::now();
        let mut p = Pacer::new(t);
        p.set_rate(t, Rate(1_000_000));
        let (mut now, mut sent) = (t, 0u64);
        while now < t + Duration::from_secs(1) {
            if p.may_send(now) {
                p.on_sent(1_500);
                sent += 1_500;
            } else {
                now = p.next();
            }
        }
        assert!((970_000..1_020_000).contains(&sent), "{sent}");
    }
}
