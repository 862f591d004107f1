//! When a link was the limit, and how much of it the feedback for the other direction may take.
//!
//! A small part of a link that is full, so that feedback is in nobody's way. But a download sends little more than acknowledgements
//! against itself, and mobile links stand still for some ten milliseconds again and again: what came late then was taken for
//! a full link, what little there was for all that it carries, and a link of 6 Mbit/s brought feedback every 60 ms. So a link is
//! full for certain when the window is its limit or its queue lasts. Where packets have been late, but never for so long, feedback
//! takes a larger part of the rate at which packets in a row came.
//!
//! ```text
//! full within the last seconds, its rate found      3 % of the rate
//! else full within them, or its rate found before   a fifth of the bursts
//! else, or where no packets came in a row           no limit (`receiving.rs` has a shortest interval)
//! ```
//! Source: the simulator, six recorded sets, six seeds: one CUBIC download 1.015 where all that is late counts, 1.016 with this,
//! one upload 1.002, 1.011 (city3 0.96, 0.98; lte3 0.957, 0.966), one BBR download 0.959, 0.967 (city3 0.93, 0.95); random sets the
//! same. Calls' p95 beside a download on lte3, city3 and car4, 24 seeds, 70, 90 and 69 ms; 70, 89, 64. Upstream on asym (0.7 Mbit/s)
//! 21 ms, without the bound by bursts 44, with it 5, and where two uplinks fall from 10 to 0.5 Mbit/s 101, 60 ms; where the bound holds
//! for links of which nothing is known, too, pages on 120 random sets 0.977, 0.974. Where 4,500 bytes in flight make a full
//! window: upload 1.012, BBR 0.965, which is the same.
//!
//! The price: an uplink that stands still for 60 of each 200 ms all the time brings feedback in lumps, and windows go by the mean time
//! between acknowledgements: 6 Mbit/s of it, 13 down, 10.1 to 9.4; two of 0.65, 65 down, 60.3 to 55.5. With that time's mean over 50 ms,
//! unless there is a call, 11.6 and 57.4, CUBIC 1.021, but BBR 0.960: not done.
//! Not for: when feedback is due (`receiving.rs`).

use crate::units::Rate;
use std::time::{Duration, Instant};

#[derive(Clone, Debug, Default)]
pub(super) struct Limit {
    /// When it was last the limit, and when it was full for certain.
    limited_at: Option<Instant>,
    full_at: Option<Instant>,
    /// Since when each sample has shown a queue, and the newest of them: the receiver's clock.
    queued_us: Option<(i64, i64)>,
}

/// What a sample shows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// The link was the limit, not the supply: by a queue, or because the window was full.
    pub is_limit: bool,
    pub is_queued: bool,
    pub is_window: bool,
}

impl Limit {
    /// A packet came at `arrived_us`.
    pub fn on_sample(&mut self, now: Instant, arrived_us: i64, seen: Seen) {
        if seen.is_limit {
            self.limited_at = Some(now);
        }
        let is_queued = seen.is_limit && seen.is_queued;
        let lasting_us = LASTING.as_micros() as i64;
        // Two late packets with nothing between them are no queue.
        let goes_on = |(_, newest_us): &(i64, i64)| arrived_us - newest_us < lasting_us;
        let since_us = self.queued_us.filter(goes_on).map_or(arrived_us, |(since_us, _)| since_us);
        self.queued_us = is_queued.then_some((since_us, arrived_us));
        if seen.is_limit && seen.is_window || is_queued && arrived_us - since_us >= lasting_us {
            self.full_at = Some(now);
        }
    }

    /// The path has become longer: what looked like a queue was none. A window that is full shows it again with the next packet.
    pub fn forget_queue(&mut self) {
        (self.full_at, self.queued_us) = (None, None);
    }

    /// Whether the link, and not the supply, was the limit less than `time` ago.
    pub fn was_seen(&self, now: Instant, time: Duration) -> bool {
        self.limited_at.is_some_and(|at| now.saturating_duration_since(at) < time)
    }

    /// Bytes a second that feedback may take where the link has this `rate`, if `is_proven`, and packets in a row have come at
    /// `bursts`, zero if there were none; `Rate(u64::MAX)` for no limit.
    pub fn budget(&self, now: Instant, rate: Rate, is_proven: bool, bursts: Rate) -> Rate {
        let is_full = self.full_at.is_some_and(|at| now.saturating_duration_since(at) < FRESH);
        if is_full && is_proven {
            Rate((rate.0 / 100).saturating_mul(PERCENT))
        } else if (is_full || is_proven) && bursts.0 > 0 {
            Rate(bursts.0 / BURSTS_PART)
        } else {
            Rate(u64::MAX)
        }
    }
}

/// A queue that is there for so long is no standstill. Source: as above, without the bound by bursts: with 40, 100 and
/// 250 ms BBR 0.967 each, the upload 1.007, 1.010, 1.010; where no queue counts, only the window: 0.962, 1.010, the CUBIC download 1.014.
const LASTING: Duration = Duration::from_millis(100);
/// For how long a full link's rate is believed. Source: a guess, `congestion.rs` has the same for its capacity.
const FRESH: Duration = Duration::from_secs(5);
/// Share of a full link for feedback. Source: DESIGN section 4.
const PERCENT: u64 = 3;
/// One part in so many of the rate of packets in a row. Source: as above, with 8 and 12 the upload 1.008, 1.007, BBR 0.965, 0.960.
const BURSTS_PART: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Rate = Rate(u64::MAX);
    const IN_TIME: Seen = Seen { is_limit: false, is_queued: false, is_window: false };
    const WINDOW: Seen = Seen { is_limit: true, is_queued: false, is_window: true };
    const QUEUE: Seen = Seen { is_limit: true, is_queued: true, is_window: false };

    #[test]
    fn a_full_window_leaves_three_percent_to_feedback_for_five_seconds() {
        let (mut limit, t) = (Limit::default(), Instant::now());
        limit.on_sample(t, 0, WINDOW);
        assert_eq!(limit.budget(t, Rate(100_000), true, Rate(900_000)), Rate(3_000));
        assert_eq!(limit.budget(t, Rate(100_000), false, Rate(900_000)), Rate(180_000), "no rate found yet");
        assert_eq!(limit.budget(t + FRESH, Rate(100_000), true, Rate(900_000)), Rate(180_000));
    }

    #[test]
    fn a_queue_that_lasts_is_a_full_link_and_one_with_gaps_or_in_silence_is_not() {
        let is_full = |arrivals: &[(i64, bool)]| {
            let (mut limit, t) = (Limit::default(), Instant::now());
            for &(at_ms, is_queued) in arrivals {
                limit.on_sample(t, at_ms * 1_000, if is_queued { QUEUE } else { IN_TIME });
            }
            limit.budget(t, Rate(100_000), true, Rate(0)) != NONE
        };
        assert!(is_full(&[(0, true), (60, true), (100, true)]));
        assert!(!is_full(&[(0, true), (60, true), (99, true)]), "a standstill");
        assert!(!is_full(&[(0, true), (60, false), (61, true), (120, true)]), "one was in time");
        assert!(!is_full(&[(0, true), (100, true), (250, true)]), "heartbeats");
    }

    #[test]
    fn a_longer_path_was_no_queue() {
        let (mut limit, t) = (Limit::default(), Instant::now());
        (0..20).for_each(|n| limit.on_sample(t, n * 10_000, QUEUE));
        assert_eq!(limit.budget(t, Rate(20_000), true, Rate(500_000)), Rate(600));
        limit.forget_queue();
        assert_eq!(limit.budget(t, Rate(20_000), true, Rate(500_000)), Rate(100_000));
    }

    #[test]
    fn a_link_of_which_nothing_is_known_has_no_bound() {
        let (mut limit, t) = (Limit::default(), Instant::now());
        assert_eq!(limit.budget(t, Rate(20_000), false, Rate(500_000)), NONE);
        limit.on_sample(t, 0, QUEUE);
        assert_eq!(limit.budget(t, Rate(20_000), false, Rate(500_000)), NONE, "late, but no rate found");
        assert_eq!(limit.budget(t, Rate(20_000), true, Rate(0)), NONE, "no packets in a row yet");
    }
}
