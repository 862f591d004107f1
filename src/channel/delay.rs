//! Queue in the link, from one-way delay *differences*: clocks of the two hosts are never compared.
//!
//! ```text
//!   q = owd - base        (`base_delay.rs`)
//!
//!   Quiet --q high though the window shrank--> Testing --rate followed the window--> base moved, Quiet
//!                                                `--queue followed the window--> Quiet, not again for a while
//!   Quiet --q keeps the window from growing for 1, 2, 4 ... s--> Testing (jitter that only ever adds looks like q)
//!   Quiet --nothing near the base for 10 s, or the base fell far to a mean, or in a drain--> Draining --one round--> base = smallest owd of the drain
//! ```
//! Why: a controller that believes an old base after the path has become longer (satellite,
//! handover) takes the difference for a queue and starves itself (ALGORITHMS section 4.3, rules 5
//! and 6). Little's law cannot tell the two apart at rest, only the answer to a push can.

use super::base_delay::BaseDelay;
use crate::units::Rate;
use std::time::{Duration, Instant};

/// One-way delay of one channel.
#[derive(Clone, Debug)]
pub struct Delay {
    base: BaseDelay,
    /// The base has fallen to what is perhaps not the least.
    is_doubtful: bool,
    latest_us: i64,
    /// The queue, smoothed over a round trip: jitter is not to end a doubt.
    smooth_us: i64,
    smooth_at: Instant,
    /// When the delay was last close to its base.
    near_base_at: Instant,
    /// Since when the queue has been above the target, and the window then.
    high_since: Option<(Instant, u64)>,
    /// Since when the queue has kept the window from growing, and how long that is believed.
    blocked_since: Option<Instant>,
    believed: Duration,
    recent: [(Instant, i64); 2],
    mode: Mode,
    not_before: Instant,
}

/// What the delay asks of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    Nothing,
    /// A quarter more than the rule gives, to see whether rate or queue answers.
    Push,
    /// Three quarters of what fills the link without a queue, to see the base.
    Drain,
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    Quiet,
    Testing { until: Instant, rate: Rate, queue_us: i64 },
    Draining { until: Instant, ends: Instant, min_us: i64, from: Before },
}

/// Before a drain: the base, and the least delay of the last round trip or two.
#[derive(Clone, Copy, Debug)]
struct Before {
    base_us: i64,
    least_us: i64,
}

impl Delay {
    pub fn new(now: Instant) -> Delay {
        Delay {
            base: BaseDelay::new(now),
            is_doubtful: false,
            latest_us: 0,
            smooth_us: 0,
            smooth_at: now,
            near_base_at: now,
            high_since: None,
            blocked_since: None,
            believed: BELIEVED_MIN,
            recent: [(now, i64::MAX); 2],
            mode: Mode::Quiet,
            not_before: now,
        }
    }

    /// A sample of the one-way delay. Returns by how many microseconds the base was moved *up*.
    pub fn on_sample(&mut self, now: Instant, owd_us: i64, rtt: Duration, now_state: Window) -> i64 {
        self.latest_us = owd_us;
        let before = self.base.us();
        let base = self.base.on_sample(now, owd_us, rtt, now_state.lumpy);
        let passed = now.saturating_duration_since(self.smooth_at).as_micros() as i64;
        let over = rtt.max(SMOOTH_MIN).as_micros() as i64;
        self.smooth_us += (owd_us - base - self.smooth_us) * passed.min(over) / over;
        self.smooth_at = now;
        let slice = rtt.max(Duration::from_millis(20));
        if now.saturating_duration_since(self.recent[0].0) > slice {
            self.recent[1] = self.recent[0];
            self.recent[0] = (now, owd_us);
        }
        self.recent[0].1 = self.recent[0].1.min(owd_us);
        // A mean may have a queue in it, which would stay for ever: look for what is below.
        self.is_doubtful |= before.is_some_and(|before| before - base > FALL_US) && self.base.is_mean();
        let near_us = (now_state.target.as_micros() as i64 / 3).max(2_000);
        if owd_us - base <= near_us {
            self.near_base_at = now;
        }
        self.advance(now, owd_us, rtt, now_state)
    }

    fn advance(&mut self, now: Instant, owd_us: i64, rtt: Duration, w: Window) -> i64 {
        match self.mode {
            Mode::Quiet => self.watch(now, rtt, w),
            Mode::Testing { until, rate, queue_us } => {
                if now < until {
                    return 0;
                }
                self.leave(now, rtt);
                let faster = w.rate.0 * 100 >= rate.0 * 112;
                let follows = faster && self.standing_us(w) <= queue_us + TEST_NOISE_US;
                self.believed = if follows { BELIEVED_MIN } else { (self.believed * 2).min(BELIEVED_MAX) };
                if follows {
                    return self.rebase(now, self.recent[0].1.min(self.recent[1].1));
                }
            }
            Mode::Draining { until, ends, min_us, from } => {
                let min_us = if now >= until { min_us.min(owd_us) } else { min_us };
                self.mode = Mode::Draining { until, ends, min_us, from };
                if now >= ends {
                    self.leave(now, rtt);
                    self.near_base_at = now;
                    // A drain takes away a part of what it takes for the path: what it found may still be a queue.
                    self.is_doubtful = from.base_us - self.base.us().unwrap_or(from.base_us) > DRAINED_US;
                    // Where the delay rose, nothing was drained: the rate was taken for more than it is.
                    let is_drained = min_us <= from.least_us + ROSE_US;
                    if is_drained && min_us - self.base.us().unwrap_or(min_us) > DRAIN_NOISE_US {
                        return self.rebase(now, min_us);
                    }
                }
            }
        }
        0
    }

    /// The queue for judging. On a lumpy link a moment at the base proves that there is no more than that.
    fn standing_us(&self, w: Window) -> i64 {
        if w.lumpy {
            self.queue_us()
        } else {
            self.smooth_us
        }
    }

    /// Looks for the two reasons to act while quiet.
    fn watch(&mut self, now: Instant, rtt: Duration, w: Window) {
        let high = self.standing_us(w) > w.target.as_micros() as i64;
        match (high, self.high_since) {
            (false, _) => self.high_since = None,
            (true, None) => self.high_since = Some((now, w.cwnd)),
            (true, Some((since, cwnd))) => {
                let long = now.saturating_duration_since(since) > (rtt * 3).max(HIGH_MIN);
                let very_long = now.saturating_duration_since(since) > (rtt * 6).max(HIGH_LONG);
                let shrank = w.cwnd * 100 <= cwnd * SHRANK_PERCENT || w.at_floor || very_long;
                if long && shrank && !w.app_limited && now >= self.not_before {
                    let until = now + rtt + w.rate_window.max(rtt / 2);
                    self.mode = Mode::Testing { until, rate: w.rate, queue_us: self.standing_us(w) };
                    return;
                }
            }
        }
        let free = self.smooth_us * 2 < w.target.as_micros() as i64 || w.app_limited || w.lumpy;
        let since = *self.blocked_since.get_or_insert(now);
        if free {
            self.blocked_since = None;
        } else if now.saturating_duration_since(since) > self.believed.max(rtt * 8) && now >= self.not_before
        {
            let until = now + rtt + w.rate_window.max(rtt / 2);
            self.mode = Mode::Testing { until, rate: w.rate, queue_us: self.standing_us(w) };
            return;
        }
        let stale = self.is_doubtful || now.saturating_duration_since(self.near_base_at) > BASE_STALE;
        if stale && !w.app_limited && now >= self.not_before {
            let until = now + rtt;
            let ends = until + (rtt / 2).max(Duration::from_millis(10));
            let least_us = self.recent[0].1.min(self.recent[1].1);
            let from = Before { base_us: self.base.us().unwrap_or(least_us), least_us };
            self.mode = Mode::Draining { until, ends, min_us: i64::MAX, from };
            self.is_doubtful = false;
        }
    }

    fn leave(&mut self, now: Instant, rtt: Duration) {
        self.mode = Mode::Quiet;
        self.high_since = None;
        self.blocked_since = None;
        self.not_before = now + TEST_PAUSE.max(rtt * 3);
    }

    fn rebase(&mut self, now: Instant, to_us: i64) -> i64 {
        let moved = self.base.move_to(now, to_us);
        self.is_doubtful = false;
        self.smooth_us = (self.latest_us - to_us).max(0);
        self.near_base_at = now;
        moved
    }

    /// After a stall or outage the delay says nothing for a while.
    pub fn on_disturbance(&mut self, now: Instant) {
        // The drain has not answered what it was begun for.
        self.is_doubtful |= matches!(self.mode, Mode::Draining { .. });
        self.mode = Mode::Quiet;
        self.high_since = None;
        self.not_before = now + TEST_PAUSE;
    }

    /// What the window should do beside its rule.
    pub fn ask(&self) -> Ask {
        match self.mode {
            Mode::Quiet => Ask::Nothing,
            Mode::Testing { .. } => Ask::Push,
            Mode::Draining { .. } => Ask::Drain,
        }
    }

    /// Queue at the newest sample, microseconds, never below zero.
    pub fn queue_us(&self) -> i64 {
        self.base.us().map_or(0, |b| (self.latest_us - b).max(0))
    }

    /// How far `owd_us` is above the base, never below zero.
    pub fn above_base_us(&self, owd_us: i64) -> i64 {
        self.base.us().map_or(0, |b| (owd_us - b).max(0))
    }

    /// Smallest one-way delay, on the receiver's clock minus the sender's.
    pub fn base_us(&self) -> i64 {
        self.base.us().unwrap_or(0)
    }
}

/// What the controller knows when a sample comes.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub cwnd: u64,
    pub at_floor: bool,
    pub rate: Rate,
    pub target: Duration,
    /// Time over which the rate is measured.
    pub rate_window: Duration,
    pub app_limited: bool,
    /// The link stands still for longer than the target between two lumps: its queue is no riddle.
    pub lumpy: bool,
}

/// A base that falls by more to the mean of a round trip may have taken a queue along. Source: the simulator: after 80 ms more
/// and less again each way 60 ms of queue stayed for 20 s; with 4 ms here the recorded links get 0.979 instead of 0.981,
/// with 20 ms that queue stays.
const FALL_US: i64 = 12_000;
/// A drain that sees the delay this close to the base leaves the base. A guess: twice a radio frame.
const DRAIN_NOISE_US: i64 = 3_000;
/// A delay that rose by more in a drain shows that there was none; less is jitter, as the drain is looked at for a shorter time.
/// A guess: as far as `FALL_US`.
const ROSE_US: i64 = 12_000;
/// A drain that lowers the base by more is followed by another. Source: tests/one_link.rs, 80 ms more and less again each way.
const DRAINED_US: i64 = 5_000;
/// Growth of the queue that a push may bring by chance. Source: ALGORITHMS section 4.3, rule 5.
const TEST_NOISE_US: i64 = 5_000;
/// Shortest time of a high queue before it is doubted.
const HIGH_MIN: Duration = Duration::from_millis(150);
/// A window that shrank to this part while the queue stayed makes it doubtful. ALGORITHMS 4.3, rule 5
/// says 60: it takes seconds to get there when the step is small (tests/one_link.rs).
const SHRANK_PERCENT: u64 = 92;
/// A queue that has been high without a break for this long is doubted in any case.
const HIGH_LONG: Duration = Duration::from_millis(800);
/// Time without a sample near the base after which it is looked for. Source: ALGORITHMS 4.3, rule 6.
const BASE_STALE: Duration = Duration::from_secs(10);
/// Time over which the queue is smoothed, at least.
const SMOOTH_MIN: Duration = Duration::from_millis(50);
/// A queue that has kept the window from growing for this long is doubted; doubled each time in vain.
const BELIEVED_MIN: Duration = Duration::from_secs(1);
const BELIEVED_MAX: Duration = Duration::from_secs(30);
/// Time between two tests, and after a disturbance.
const TEST_PAUSE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(40);

    fn window(cwnd: u64, rate: u64) -> Window {
        let target = Duration::from_millis(15);
        let rate_window = Duration::from_millis(50);
        Window {
            cwnd,
            at_floor: false,
            rate: Rate(rate),
            target,
            rate_window,
            app_limited: false,
            lumpy: false,
        }
    }

    /// Feeds samples 5 ms apart until `ask` changes or `n` are used up; returns the time after.
    fn until_ask(d: &mut Delay, mut t: Instant, owd_us: i64, w: Window, n: u32) -> Instant {
        let before = d.ask();
        for _ in 0..n {
            t += Duration::from_millis(5);
            d.on_sample(t, owd_us, RTT, w);
            if d.ask() != before {
                break;
            }
        }
        t
    }

    #[test]
    fn a_moved_base_is_found_when_the_rate_follows_the_window() {
        let t = Instant::now();
        let mut d = Delay::new(t);
        d.on_sample(t, 20_000, RTT, window(100_000, 1_000_000));
        let t = until_ask(&mut d, t, 60_000, window(100_000, 1_000_000), 10);
        let t = until_ask(&mut d, t, 60_000, window(60_000, 600_000), 100);
        assert_eq!(d.ask(), Ask::Push);
        until_ask(&mut d, t, 60_000, window(75_000, 750_000), 100);
        assert_eq!(d.ask(), Ask::Nothing);
        assert_eq!(d.queue_us(), 0);
    }

    #[test]
    fn a_true_queue_stays_a_queue() {
        let t = Instant::now();
        let mut d = Delay::new(t);
        d.on_sample(t, 20_000, RTT, window(100_000, 1_000_000));
        let t = until_ask(&mut d, t, 60_000, window(100_000, 1_000_000), 10);
        let t = until_ask(&mut d, t, 60_000, window(60_000, 600_000), 100);
        until_ask(&mut d, t, 80_000, window(75_000, 600_000), 100);
        assert_eq!(d.queue_us(), 60_000);
    }

    #[test]
    fn a_base_not_seen_for_ten_seconds_is_looked_for() {
        let t = Instant::now();
        let mut d = Delay::new(t);
        d.on_sample(t, 20_000, RTT, window(100_000, 1_000_000));
        let t = until_ask(&mut d, t, 26_000, window(100_000, 1_000_000), 5_000);
        assert_eq!(d.ask(), Ask::Drain);
        until_ask(&mut d, t, 24_000, window(70_000, 1_000_000), 100);
        assert_eq!(d.base_us(), 24_000);
    }

    #[test]
    fn a_drain_in_which_the_delay_rose_proves_nothing() {
        let t = Instant::now();
        let mut d = Delay::new(t);
        d.on_sample(t, 20_000, RTT, window(100_000, 1_000_000));
        let t = until_ask(&mut d, t, 26_000, window(100_000, 1_000_000), 5_000);
        // The rate was taken for three times what it is, so the window did not shrink.
        until_ask(&mut d, t, 90_000, window(300_000, 3_000_000), 100);
        assert_eq!((d.ask(), d.base_us()), (Ask::Nothing, 20_000));
    }

    #[test]
    fn a_drain_that_lowered_the_base_is_followed_by_another_until_one_does_not() {
        let t = Instant::now();
        let mut d = Delay::new(t);
        d.on_sample(t, 20_000, RTT, window(100_000, 1_000_000));
        let mut t = until_ask(&mut d, t, 26_000, window(100_000, 1_000_000), 5_000);
        let w = window(70_000, 1_000_000);
        for (owd, then) in [(12_000, 13_000), (6_000, 7_000)] {
            t = until_ask(&mut d, t, owd, w, 100);
            t = until_ask(&mut d, t, then, w, 200);
            assert_eq!((d.ask(), d.base_us()), (Ask::Drain, owd));
        }
        t = until_ask(&mut d, t, 5_000, w, 100);
        until_ask(&mut d, t, 5_000, w, 1_000);
        assert_eq!((d.ask(), d.base_us()), (Ask::Nothing, 5_000));
    }

    #[test]
    fn a_queue_that_keeps_the_window_small_is_doubted_and_each_time_in_vain_more_rarely() {
        let start = Instant::now();
        let mut d = Delay::new(start);
        d.on_sample(start, 20_000, RTT, window(100_000, 1_000_000));
        let mut pushes = Vec::new();
        let mut t = start;
        while t < start + Duration::from_secs(9) {
            t = until_ask(&mut d, t, 33_000, window(100_000, 1_000_000), 3_000);
            if d.ask() == Ask::Push {
                pushes.push((t - start).as_secs());
                t = until_ask(&mut d, t, 33_000, window(125_000, 1_000_000), 100);
            }
        }
        assert_eq!(pushes, [1, 3, 7], "seconds; a push is answered by no rate");
    }

    #[test]
    fn jitter_that_looks_like_a_queue_is_found_by_a_rate_that_follows() {
        let t = Instant::now();
        let mut d = Delay::new(t);
        d.on_sample(t, 20_000, RTT, window(100_000, 1_000_000));
        let t = until_ask(&mut d, t, 33_000, window(100_000, 1_000_000), 3_000);
        assert_eq!(d.ask(), Ask::Push);
        until_ask(&mut d, t, 33_000, window(125_000, 1_250_000), 100);
        assert_eq!(d.queue_us(), 0);
    }
}
