//! Stretches the times in which a sender like BBR probes for more, so that it finds the longer links.
//!
//! Such a sender sends as fast as it has seen its packets delivered, and a quarter faster for one of eight phases
//! (ProbeBW). A phase ends with the first acknowledgement after its least round trip. Where a short link gave it
//! that, and longer ones would carry the rest, the fast phase is a small part of what it sends in a round trip of theirs, and
//! the rate that it sees hardly grows: on 3 Mbit/s beside an empty, longer link of 40 it got 14 Mbit/s in its first twelve
//! seconds. No phase ends while no acknowledgement leaves, though; so the fast one is made longer:
//!
//! ```text
//!   usual pace --a fifth faster for 20 ms or more, where a link has room--> fast: acknowledgements wait for 50 ms
//!     --50 ms--> usual pace, for 350 ms at least
//! ```
//! Its window does not end sooner by that: BBR lets it grow by what is acknowledged at once (up to 100 ms of its rate).
//! Nothing waits where a connection's packets queue (its sender was told so, `steer.rs`: CUBIC fills its queue), where only one link is in
//! use, or where none has half its window free. Another sender whose pace rises like that may wait, too.
//!
//! Source: the simulator, one BBR download of 20 s after one over CUBIC of 20 s (`simulate --after 20`), shares of the ideal link's: 10
//! Mbit/s at 10 ms beside 50 at 60 ms (`tests/sim/thin-short.json`) 0.50 without, 0.85 with this; 3 at 12 beside 40 at 60 ms 0.65, 0.97; three-mixed 0.85 to
//! 0.99, 0.98; two-unequal 0.92, 0.95. In the namespaces 0.54, 0.82 to 0.93, and 0.63, 0.97 to 0.99.
//! Not for: whoever is held to a longer least round trip, or may measure it any moment (`ack_floor.rs`).

use crate::units::Rate;
use std::time::{Duration, Instant};

/// One connection's.
#[derive(Clone, Debug, Default)]
pub(super) struct Stretch {
    /// Until when acknowledgements wait.
    until: Option<Instant>,
    /// When the sender's pace may last have changed, and behind which number was what had come in by then.
    phase: Option<(Instant, u32)>,
    /// Its pace in the phases before.
    usual: Option<Rate>,
    /// When it was last stretched, or took another pace altogether.
    changed_at: Option<Instant>,
}

impl Stretch {
    /// Until when an acknowledgement waits that comes now. `high`: the number behind everything that came in;
    /// `may_gain`: whether a link has room.
    pub(super) fn on_ack(
        &mut self,
        now: Instant,
        high: u32,
        may_gain: impl FnOnce() -> bool,
    ) -> Option<Instant> {
        if let Some(until) = self.until.filter(|until| now < *until) {
            return Some(until);
        }
        let is_after = self.until.take().is_some();
        let (began, from) = self.phase.filter(|_| !is_after).unwrap_or((now, high));
        self.phase = Some((began, from));
        let elapsed = now.saturating_duration_since(began);
        let bytes = u64::from(high.wrapping_sub(from));
        if elapsed < PHASE_MIN || bytes < BYTES_MIN && elapsed < PHASE_MAX {
            return None;
        }
        self.phase = Some((now, high));
        if elapsed > MEMORY {
            // It paused.
            return None;
        }
        let pace = Rate::from_bytes(bytes, elapsed);
        let Some(usual) = self.usual else {
            self.usual = Some(pace);
            return None;
        };
        let is_due = self.changed_at.is_none_or(|at| now >= at + EVERY);
        if (usual.0 * FAST..usual.0 * BURST).contains(&(pace.0 * 100)) && is_due && may_gain() {
            (self.changed_at, self.until) = (Some(now), Some(now + STRETCH));
            return self.until;
        }
        if pace.0 * 100 >= usual.0 * BURST {
            (self.changed_at, self.usual) = (Some(now), Some(pace));
        } else {
            self.usual = Some(Rate::from_bytes(usual.bytes_in(MEMORY - elapsed) + bytes, MEMORY));
        }
        None
    }
}

/// A phase is judged no sooner: a few packets leave at once. Some least round trips are shorter. A guess.
const PHASE_MIN: Duration = Duration::from_millis(20);
/// Nor before so much came in it, eleven packets, or its pace says little; but then. Source: as above, thin links of random sets.
const BYTES_MIN: u64 = 16_000;
const PHASE_MAX: Duration = Duration::from_millis(100);
/// So many hundredths of its usual pace show that a sender probes, which it does at 125 (`bbr_pacing_gain` in Linux). Source: as above:
/// with 112, 115, 118, 122 thin-short 0.79, 0.83, 0.85, and three-mixed 0.98, 0.98, 0.98, 0.96.
const FAST: u64 = 118;
/// A slow start is faster, and so is what comes behind a pause. A guess.
const BURST: u64 = 150;
/// How long acknowledgements wait. Source: as above, thin-short with 30, 50, 80, 100 ms 0.76, 0.77, 0.65, 0.65: its window is used up.
const STRETCH: Duration = Duration::from_millis(50);
/// From the beginning of one to the next. Source: as above; every 200 ms car4 gets 0.01 less, the rest the same.
const EVERY: Duration = Duration::from_millis(400);
/// What the usual pace remembers: about a cycle of eight phases. A guess.
const MEMORY: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A sender whose acknowledgements come every 10 ms.
    struct Bench {
        stretch: Stretch,
        now: Instant,
        high: u32,
        waits: Duration,
        every: u32,
        may_gain: bool,
    }

    impl Bench {
        fn new() -> Bench {
            // The numbers wrap on the way.
            Bench {
                stretch: Stretch::default(),
                now: Instant::now(),
                high: u32::MAX - 400_000,
                waits: Duration::ZERO,
                every: 10,
                may_gain: true,
            }
        }

        /// Longest wait of an acknowledgement meanwhile.
        fn run(&mut self, ms: u32, per_second: u32) -> Duration {
            self.waits = Duration::ZERO;
            for _ in 0..ms / self.every {
                self.now += MS * self.every;
                self.high = self.high.wrapping_add(per_second / 1_000 * self.every);
                let until = self.stretch.on_ack(self.now, self.high, || self.may_gain);
                let wait = until.map_or(Duration::ZERO, |at| at.saturating_duration_since(self.now));
                self.waits = self.waits.max(wait);
            }
            self.waits
        }

        /// One that has sent for a while at 1 MB/s.
        fn usual() -> Bench {
            let mut bench = Bench::new();
            assert_eq!(bench.run(1_000, 1_000_000), Duration::ZERO);
            bench
        }
    }

    #[test]
    fn a_fast_phase_lasts_longer_and_the_next_comes_after_a_while() {
        let mut bench = Bench::usual();
        assert_eq!(bench.run(40, 1_250_000), STRETCH);
        assert!(bench.run(40, 1_250_000) < STRETCH, "the acknowledgements behind it leave with it");
        assert_eq!(bench.run(120, 1_000_000), Duration::ZERO);
        assert_eq!(bench.run(40, 1_250_000), Duration::ZERO, "too soon");
        bench.run(300, 1_000_000);
        assert_eq!(bench.run(40, 1_250_000), STRETCH);
    }

    #[test]
    fn nothing_waits_where_no_link_has_room() {
        let mut bench = Bench { may_gain: false, ..Bench::usual() };
        assert_eq!(bench.run(40, 1_250_000), Duration::ZERO);
    }

    #[test]
    fn neither_jitter_nor_a_much_faster_pace_is_a_probe() {
        assert_eq!(Bench::usual().run(400, 1_100_000), Duration::ZERO);
        assert_eq!(Bench::usual().run(1_000, 2_200_000), Duration::ZERO);
    }

    #[test]
    fn a_thin_links_probe_is_seen_though_its_acknowledgements_come_close() {
        let mut bench = Bench { every: 2, ..Bench::new() };
        assert_eq!(bench.run(1_000, 400_000), Duration::ZERO);
        assert_eq!(bench.run(80, 500_000), STRETCH);
    }

    #[test]
    fn a_sender_that_has_become_faster_for_good_is_usual_soon() {
        let mut bench = Bench::usual();
        bench.run(1_500, 1_250_000);
        assert_eq!(bench.run(800, 1_250_000), Duration::ZERO);
    }

    #[test]
    fn the_usual_pace_outlives_a_pause() {
        let mut bench = Bench::usual();
        bench.now += MS * 1_000;
        assert_eq!(bench.run(400, 1_000_000), Duration::ZERO);
        assert_eq!(bench.run(40, 1_250_000), STRETCH);
    }
}
