//! When a channel that is held back is tried, and for how long: it gets copies, and shows by them what it could bring.
//!
//! ```text
//!   waits --it is time, and a packet leaves that has others behind it--> tried
//!     --after eight round trips and 0.8 s; from the second one on, if that is earlier, 0.8 s after it was seen at its limit-->
//!       waits: 5 s, then twice that, 60 s at most
//! ```
//! With jitter a few packets at a time look like a limit: 101 Mbit/s at 600 ms were given up as 3 the first time.
//! A trial that ran out of traffic does not double the wait. None where the channel is too long, whatever it brings (`hold_back.rs`).
//! A link that was never at its limit may be the best of all, so it does not wait for its first trial. A slow start doubles in
//! each round trip: 98 Mbit/s at 400 ms are found after nine.
//!
//! Source: 480 random sets of links in the simulator, one CUBIC download of 15 s, the geometric mean of what is carried over what was carried
//! with trials of 0.8 s after five, traffic or not: 1.005, 1.008, 1.009, 1.010 where each has 0, 2, 4, 8 round trips and 0.8 s; 1.007 where all
//! of them end when the link is at its limit. Who has a metered link pays for copies, so all but the first end there. BBR and uploads are
//! the same within 0.003. No hold before the first trial: BBR 0.887 instead of 0.893 of the best link, 1 at most. In the namespaces, number 62
//! (`simulate --random-from 62 --random 1`: 101 Mbit/s at 600 ms, four others) 28 and 30, once 84, without this, 32 to 52 where the first one
//! ends early, too, 82.7 and 83.6 as it is; number 23 (64 Mbit/s at 120 ms beside 98 at 400) 72, 118 to 132.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Trial {
    /// The next one may begin.
    at: Instant,
    /// One goes on.
    until: Option<Instant>,
    /// To the next one.
    pause: Duration,
    /// The channel was at its limit since it came, and in this trial.
    is_known: bool,
    is_found: bool,
    /// It was at its limit before this trial.
    was_known: bool,
    /// When a packet was last copied.
    copied_at: Option<Instant>,
}

impl Trial {
    pub fn new(now: Instant) -> Trial {
        Trial {
            at: now,
            until: None,
            pause: PAUSE_MIN,
            is_known: false,
            is_found: false,
            was_known: false,
            copied_at: None,
        }
    }

    /// The channel is down: who knows what it brings when it comes back.
    pub fn forget(&mut self, now: Instant) {
        *self = Trial::new(now);
    }

    /// The channel is held back, or used, from now on.
    pub fn on_change(&mut self, now: Instant) {
        let at = if self.is_known { now + PAUSE_MIN } else { now };
        *self = Trial { at, is_known: self.is_known, ..Trial::new(now) };
    }

    /// The channel is at its limit.
    pub fn on_full(&mut self, now: Instant) {
        self.is_known = true;
        if !self.is_found {
            self.is_found = true;
            if self.was_known {
                self.until = self.until.map(|until| until.min(now + TIME));
            }
        }
    }

    /// Begins one if it is time: there is traffic for it.
    pub fn begin(&mut self, now: Instant, min_rtt: Duration) {
        if self.until.is_none() && now >= self.at {
            self.until = Some(now + TIME + min_rtt * ROUNDS);
            (self.is_found, self.was_known) = (false, self.is_known);
        }
    }

    pub fn is_on(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now <= until)
    }

    /// A packet is copied.
    pub fn on_copy(&mut self, now: Instant) {
        self.copied_at = Some(now);
    }

    /// The channel stays held back.
    pub fn on_held(&mut self, now: Instant) {
        let Some(until) = self.until.take_if(|until| now > *until) else { return };
        // One that ran out of traffic says nothing.
        let is_over = self.is_found || self.copied_at.is_some_and(|at| at + TIME >= until);
        self.at = now + if is_over { self.pause } else { PAUSE_MIN };
        self.pause = (self.pause * if is_over { 2 } else { 1 }).min(PAUSE_MAX);
    }
}

/// Enough to see the rate of a link that is at its limit.
pub(super) const TIME: Duration = Duration::from_millis(800);
const ROUNDS: u32 = 8;
const PAUSE_MIN: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const RTT: Duration = Duration::from_millis(400);

    /// Milliseconds of the first and the last packet that are copied, of one each 50 ms in `from..to`; a channel whose rate was
    /// found is at its limit from `full` on.
    fn copied(trial: &mut Trial, t: Instant, (from, to): (u32, u32), full: u32) -> Option<(u32, u32)> {
        let mut seen = None;
        for ms in (from..to).step_by(50) {
            let now = t + MS * ms;
            if ms >= full {
                trial.on_full(now);
            }
            trial.on_held(now);
            trial.begin(now, RTT);
            if trial.is_on(now) {
                trial.on_copy(now);
                seen = Some((seen.map_or(ms, |s: (u32, u32)| s.0), ms));
            }
        }
        seen
    }

    #[test]
    fn a_link_that_was_never_at_its_limit_is_tried_at_once_for_eight_round_trips() {
        let t = Instant::now();
        let mut trial = Trial::new(t);
        trial.on_change(t);
        assert_eq!(
            copied(&mut trial, t, (0, 5_000), 1_000),
            Some((0, 4_000)),
            "at a limit that is none, perhaps"
        );
        let mut trial = Trial::new(t);
        trial.on_change(t);
        assert_eq!(copied(&mut trial, t, (0, 8_000), u32::MAX), Some((0, 4_000)));
    }

    #[test]
    fn a_known_one_waits_and_so_does_one_that_was_tried_longer_each_time() {
        let t = Instant::now();
        let mut trial = Trial::new(t);
        trial.on_full(t);
        trial.on_change(t);
        assert_eq!(copied(&mut trial, t, (0, 10_000), 0), Some((5_000, 5_850)));
        assert_eq!(copied(&mut trial, t, (10_000, 12_000), 0), Some((10_900, 11_750)), "five seconds later");
        assert_eq!(copied(&mut trial, t, (12_000, 23_000), 0), Some((21_800, 22_650)), "ten");
    }

    #[test]
    fn a_trial_waits_for_traffic_and_for_a_link_that_comes_back_it_does_not_wait() {
        let t = Instant::now();
        let mut trial = Trial::new(t);
        trial.on_full(t);
        trial.on_change(t);
        (0..60_000).step_by(50).for_each(|ms| trial.on_held(t + MS * ms));
        assert_eq!(
            copied(&mut trial, t, (60_000, 66_000), u32::MAX),
            Some((60_000, 64_000)),
            "none without traffic"
        );
        trial.forget(t + MS * 66_000);
        assert_eq!(copied(&mut trial, t, (66_000, 66_100), u32::MAX), Some((66_000, 66_050)));
        (66_100..72_000).step_by(50).for_each(|ms| trial.on_held(t + MS * ms));
        assert_eq!(
            copied(&mut trial, t, (72_000, 75_000), u32::MAX),
            None,
            "five seconds after one that came to nothing"
        );
        assert_eq!(copied(&mut trial, t, (75_000, 76_000), u32::MAX).map(|c| c.0), Some(75_050));
    }
}
