//! When a link was the limit, and how much of it the feedback for the other direction may take.
//!
//! A small part of a link that is full, so that feedback is in nobody's way. But a download sends little more than acknowledgements
//! against itself, and mobile links stand still for some ten milliseconds again and again: what came late then was taken for
//! a full link, what little there was for all that it carries, and a link of 6 Mbit/s brought feedback every 60 ms. So a link is
//! full for certain when the window is its limit or its queue lasts. Where packets have been late, but never for so long, feedback
//! takes a larger part of the rate at which packets in a row came.
//!
//! ```text
//! nothing was late yet         no limit (`receiving.rs` has a shortest interval)
//! late, but never for long     a fifth of the bursts
//! full within the last seconds 3 % of the rate
//! ```
//! Source: the simulator, six recorded sets, six seeds: one CUBIC download 1.015 where all that is late counts, 1.016 with this,
//! one upload 1.002, 1.010 (city3 0.96, 0.98; lte3 0.957, 0.966), one BBR download 0.959, 0.967 (city3 0.93, 0.95); random sets the
//! same. Calls' p95 beside a download on lte3, city3 and car4, 24 seeds, 70, 90 and 69 ms; 70, 89, 64. Upstream on asym (0.7 Mbit/s)
//! 21 ms, without the bound by bursts 44, with it 5; where that holds for links of which nothing is known, too, pages on 120 random
//! sets 0.977, 0.974. An uplink that stands still for 60 of each 200 ms beside a downlink that changes each half second is an
//! exception: 10.1 to 9.4 of 12.5 Mbit/s, since windows go by the mean time between acknowledgements, and those come in lumps.
//! With what that time is on average over 50 ms, unless there is a call, 11.5, CUBIC 1.021, but BBR 0.960. Not done.
//! Not for: when feedback is due (`receiving.rs`).

use crate::units::Rate;
use std::time::{Duration, Instant};

#[derive(Clone, Debug, Default)]
pub(super) struct Limit {
    /// When it was last the limit, and when it was full for certain.
    limited_at: Option<Instant>,
    full_at: Option<Instant>,
}

impl Limit {
    /// The link was the limit: because the window was full, or by a queue that was there for `queued`.
    pub fn on_limit(&mut self, now: Instant, is_window: bool, queued: Duration) {
        self.limited_at = Some(now);
        if is_window || queued >= LASTING {
            self.full_at = Some(now);
        }
    }

    /// Whether the link, and not the supply, was the limit less than `time` ago.
    pub fn was_seen(&self, now: Instant, time: Duration) -> bool {
        self.limited_at.is_some_and(|at| now.saturating_duration_since(at) < time)
    }

    /// Bytes that feedback may take where the link's capacity is `known`, `Rate(u64::MAX)` if it is not, and packets in a row have come
    /// at `bursts`, zero if there were none; `Rate(u64::MAX)` for no limit.
    pub fn budget(&self, now: Instant, known: Rate, is_proven: bool, bursts: Rate) -> Rate {
        let is_full = self.full_at.is_some_and(|at| now.saturating_duration_since(at) < FRESH);
        match (is_full && known.0 != u64::MAX, is_proven && bursts.0 > 0) {
            (true, _) => Rate((known.0 / 100).saturating_mul(PERCENT)),
            (false, true) => Rate(bursts.0 / BURSTS_PART),
            (false, false) => Rate(u64::MAX),
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
/// One part in so many of the rate of packets in a row. Source: as above, for links of which nothing is known, too: with 10 the
/// upload 1.005, with 5 1.009, all else the same.
const BURSTS_PART: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const NONE: Rate = Rate(u64::MAX);

    #[test]
    fn a_full_link_leaves_three_percent_to_feedback_and_for_five_seconds() {
        let (mut budget, t) = (Limit::default(), Instant::now());
        budget.on_limit(t, true, Duration::ZERO);
        assert_eq!(budget.budget(t, Rate(100_000), true, Rate(900_000)), Rate(3_000));
        let later = t + FRESH;
        assert_eq!(budget.budget(later, Rate(100_000), true, Rate(900_000)), Rate(180_000));
        budget.on_limit(later, false, LASTING);
        assert_eq!(budget.budget(later, Rate(100_000), true, Rate(900_000)), Rate(3_000));
    }

    #[test]
    fn a_standstill_is_no_full_link() {
        let (mut budget, t) = (Limit::default(), Instant::now());
        budget.on_limit(t, false, LASTING - MS);
        assert_eq!(budget.budget(t, Rate(20_000), true, Rate(500_000)), Rate(100_000));
        assert_eq!(budget.budget(t, Rate(20_000), true, Rate(0)), NONE, "no packets in a row yet");
        assert_eq!(budget.budget(t, NONE, false, Rate(500_000)), NONE, "nothing was late yet");
    }
}
