//! The one-way delay of a link without a queue: its base.
//!
//! ```text
//!   Lowest    base = smallest delay seen; moved up only by who has proof (`delay.rs`)
//!      |  ^
//!      |  '-- 20 s without a dip below the base
//!      '-- moved up, and then a delay near the old base again --> Jittery
//!   Jittery   single delays below the base are chance; base falls to the mean delay of a round trip
//! ```
//! A link with jitter that keeps the order has another base while it is busy: each packet waits for the most delayed one
//! before it. A base that falls with each lucky packet takes that wait for a queue and starves the link, again and again.

use std::time::{Duration, Instant};

#[derive(Clone, Debug)]
pub(super) struct BaseDelay {
    us: Option<i64>,
    /// The newest sample was judged as jitter's.
    is_mean: bool,
    /// The base before it was last moved up, and when that was.
    before: Option<(i64, Instant)>,
    jittery_until: Option<Instant>,
    /// Delays of the present slice of time: when it began, their sum and count.
    slice: (Instant, i64, i64),
}

impl BaseDelay {
    pub(super) fn new(now: Instant) -> BaseDelay {
        BaseDelay { us: None, is_mean: false, before: None, jittery_until: None, slice: (now, 0, 0) }
    }

    /// A delay; returns the base.
    pub(super) fn on_sample(&mut self, now: Instant, owd_us: i64, rtt: Duration, lumpy: bool) -> i64 {
        let base = self.us.unwrap_or(owd_us);
        let is_jittery = self.jittery_until.is_some_and(|until| now < until);
        let (began, sum, count) = &mut self.slice;
        *sum += owd_us;
        *count += 1;
        let mut mean_us = None;
        if now.saturating_duration_since(*began) >= rtt.max(SLICE_MIN) {
            mean_us = Some(*sum / *count);
            self.slice = (now, 0, 0);
        }
        let dip_us = base - owd_us;
        let is_chance = is_jittery || !lumpy && self.is_back(now, owd_us, base);
        let base = match is_chance {
            true => mean_us.unwrap_or(base).min(base),
            false => base.min(owd_us),
        };
        if is_chance && dip_us > DIP_US {
            self.jittery_until = Some(now + JITTER_KEPT);
        }
        (self.us, self.is_mean) = (Some(base), is_chance);
        base
    }

    /// Moves the base to where somebody has found it; returns by how much.
    pub(super) fn move_to(&mut self, now: Instant, to_us: i64) -> i64 {
        let from = self.us.unwrap_or(to_us);
        self.before = (to_us - from >= MOVED_US).then_some((from, now));
        self.us = Some(to_us);
        to_us - from
    }

    /// Whether the base, if it fell with the newest sample, fell to a mean.
    pub(super) fn is_mean(&self) -> bool {
        self.is_mean
    }

    pub(super) fn us(&self) -> Option<i64> {
        self.us
    }

    /// Whether the delay is again near where the base was: then the path has not changed.
    fn is_back(&self, now: Instant, owd_us: i64, base: i64) -> bool {
        self.before.is_some_and(|(from, at)| {
            now.saturating_duration_since(at) < BACK_WITHIN && owd_us * 2 <= from + base
        })
    }
}

/// A base that moved up by less is no sign of jitter, and a dip below it by less neither. Guesses.
const MOVED_US: i64 = 5_000;
const DIP_US: i64 = 2_000;
/// Delays near the old base within this time show that the path has not changed.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// Jitter is believed in for so long after the last dip.
const JITTER_KEPT: Duration = Duration::from_secs(20);
/// Time over which the mean is taken, at least.
const SLICE_MIN: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(40);

    /// Feeds delays 2 ms apart; returns the base after them and the time.
    fn feed(b: &mut BaseDelay, t: Instant, owds_ms: impl Iterator<Item = i64>) -> (i64, Instant) {
        let (mut base, mut t) = (0, t);
        for ms in owds_ms {
            t += Duration::from_millis(2);
            base = b.on_sample(t, ms * 1_000, RTT, false);
        }
        (base, t)
    }

    /// A base of 20 ms that somebody has moved to 40.
    fn moved() -> (BaseDelay, Instant) {
        let t = Instant::now();
        let mut b = BaseDelay::new(t);
        b.on_sample(t, 20_000, RTT, false);
        assert_eq!(b.move_to(t, 40_000), 20_000);
        (b, t)
    }

    #[test]
    fn the_smallest_delay_is_the_base() {
        let t = Instant::now();
        let mut b = BaseDelay::new(t);
        assert_eq!(feed(&mut b, t, [30, 25, 40].into_iter()).0, 25_000);
    }

    #[test]
    fn lucky_packets_after_a_move_are_jitter() {
        let (mut b, t) = moved();
        let (base, _) = feed(&mut b, t, (0..500).map(|n| if n % 20 == 7 { 24 } else { 52 }));
        assert_eq!(base, 40_000);
    }

    #[test]
    fn a_path_that_has_become_short_again_is_believed_within_two_round_trips() {
        let (mut b, t) = moved();
        let (_, t) = feed(&mut b, t, (0..500).map(|n| if n % 20 == 7 { 24 } else { 52 }));
        assert_eq!(feed(&mut b, t, (0..100).map(|_| 21)).0, 21_000);
    }

    #[test]
    fn without_dips_jitter_is_forgotten() {
        let (mut b, t) = moved();
        let (_, t) = feed(&mut b, t, [24, 52].into_iter());
        let (_, t) = feed(&mut b, t, (0..11_000).map(|_| 52));
        assert_eq!(feed(&mut b, t, [30].into_iter()).0, 30_000);
    }
}
