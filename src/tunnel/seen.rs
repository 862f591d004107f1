//! Which packets of one flow have come, exactly and in little memory: the newest number and the gaps below it.
//!
//! Not for: waiting. A gap stays known after nobody waits for it, so that a late packet still counts once.

use crate::units::{FlowSeq, Ticks};
use std::collections::VecDeque;
use std::time::Instant;

/// Consecutive packets of a flow that have not come although later ones have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// First and last place, inclusive.
    pub(super) first: u64,
    pub(super) last: u64,
    /// When the first packet behind the gap came.
    pub(super) since: Instant,
    /// When that packet was sent, by the sender's clock: those in the gap were bound before.
    pub(super) sent: Ticks,
    /// The sender gave these up.
    pub(super) is_abandoned: bool,
}

/// What a packet is to its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Newer than all before it; whatever lies between is a gap.
    Newest,
    /// It was missing since then.
    Fills(Gap),
    Duplicate,
    /// So far ahead that the flow must have begun anew.
    Restart,
}

/// The packets of one flow that came. Places are flow sequences that do not wrap.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    highest: u64,
    gaps: VecDeque<Gap>,
    /// The last packet far behind, in case the flow begins anew there.
    stray: Option<FlowSeq>,
}

impl Seen {
    /// A flow whose first packet is `seq`. Those shortly before count as missing but given up.
    pub(super) fn start(now: Instant, seq: FlowSeq, sent: Ticks) -> Seen {
        let highest = ORIGIN + u64::from(seq.0);
        let before =
            Gap { first: highest - LATE_AT_START, last: highest - 1, since: now, sent, is_abandoned: true };
        Seen { highest, gaps: VecDeque::from([before]), stray: None }
    }

    /// A packet came.
    pub(super) fn on_packet(&mut self, now: Instant, seq: FlowSeq, sent: Ticks) -> (u64, Sight) {
        let distance = self.distance(seq);
        let place = self.highest.saturating_add_signed(distance);
        if distance > FAR {
            return (place, Sight::Restart);
        }
        if distance < -FAR {
            let near = |stray: FlowSeq| i64::from(seq.distance(stray)).abs() < FAR_AGAIN;
            let is_again = self.stray.replace(seq).is_some_and(|s| s != seq && near(s));
            return (place, if is_again { Sight::Restart } else { Sight::Duplicate });
        }
        self.stray = None;
        if distance > 0 {
            self.open_gap(now, place, sent);
            self.highest = place;
            return (place, Sight::Newest);
        }
        match self.take(place) {
            Some(gap) => (place, Sight::Fills(gap)),
            None => (place, Sight::Duplicate),
        }
    }

    /// The sender gave a packet up, whether or not it was known to be missing. `sent` is its clock about now. False when it
    /// had come already.
    pub(super) fn on_abandon(&mut self, now: Instant, seq: FlowSeq, sent: Ticks) -> bool {
        let distance = self.distance(seq);
        if distance.abs() > FAR {
            return false;
        }
        let place = self.highest.saturating_add_signed(distance);
        let gone = Gap { first: place, last: place, since: now, sent, is_abandoned: true };
        if distance > 0 {
            self.open_gap(now, place, sent);
            self.highest = place;
            self.gaps.push_back(gone);
        } else if let Some(was) = self.take(place) {
            let index = self.gaps.partition_point(|g| g.last < place);
            self.gaps.insert(index, Gap { since: was.since, ..gone });
        } else {
            return false;
        }
        true
    }

    /// Forgets the oldest gaps beyond `gaps_max`: what comes from there later counts as a duplicate.
    pub(super) fn trim(&mut self, gaps_max: usize) {
        let excess = self.gaps.len().saturating_sub(gaps_max);
        self.gaps.drain(..excess);
    }

    /// The first gap that ends at or behind `place`.
    pub(super) fn gap_from(&self, place: u64) -> Option<&Gap> {
        self.gaps.get(self.gaps.partition_point(|g| g.last < place))
    }

    /// Place of the newest packet.
    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    pub(super) fn gaps(&self) -> usize {
        self.gaps.len()
    }

    fn distance(&self, seq: FlowSeq) -> i64 {
        i64::from(seq.distance(FlowSeq(0).plus(self.highest as u32)))
    }

    fn open_gap(&mut self, now: Instant, place: u64, sent: Ticks) {
        if place > self.highest + 1 {
            let (first, last) = (self.highest + 1, place - 1);
            self.gaps.push_back(Gap { first, last, since: now, sent, is_abandoned: false });
        }
    }

    /// Takes `place` out of its gap, which may become two.
    fn take(&mut self, place: u64) -> Option<Gap> {
        let index = self.gaps.partition_point(|g| g.last < place);
        let gap = self.gaps.get_mut(index).filter(|g| g.first <= place)?;
        let whole = *gap;
        match (gap.first == place, gap.last == place) {
            (true, true) => _ = self.gaps.remove(index),
            (true, false) => gap.first = place + 1,
            (false, true) => gap.last = place - 1,
            (false, false) => {
                gap.last = place - 1;
                self.gaps.insert(index + 1, Gap { first: place + 1, ..whole });
            }
        }
        Some(whole)
    }
}

/// Place of sequence 0 at the start: far from zero, and its low 24 bits are zero.
const ORIGIN: u64 = 1 << 40;
/// Packets before the first one that may still come late. Source: a guess, a run and a half.
const LATE_AT_START: u64 = 64;
/// Distance from the newest packet beyond which a packet cannot belong to what was sent lately.
/// Source: 500 Mbit/s is 45,000 packets a second, and none is of use after half a second.
const FAR: i64 = 32_768;
/// Two strays at most this far apart mean a flow that began anew (the rule of RFC 3550 A.1, wider).
const FAR_AGAIN: i64 = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_missing_packet_counts_once() {
        let (mut seen, now) = start(10);
        assert_eq!(see(&mut seen, now, 13), Sight::Newest);
        assert!(matches!(see(&mut seen, now, 12), Sight::Fills(Gap { is_abandoned: false, .. })));
        assert_eq!(see(&mut seen, now, 12), Sight::Duplicate);
        assert!(matches!(see(&mut seen, now, 11), Sight::Fills(_)));
        assert_eq!(see(&mut seen, now, 11), Sight::Duplicate);
        assert_eq!(see(&mut seen, now, 10), Sight::Duplicate);
    }

    #[test]
    fn numbers_wrap() {
        let (mut seen, now) = start((1 << 24) - 2);
        assert_eq!(see(&mut seen, now, 1), Sight::Newest);
        assert!(matches!(see(&mut seen, now, (1 << 24) - 1), Sight::Fills(_)));
        assert!(matches!(see(&mut seen, now, 0), Sight::Fills(_)));
        assert_eq!(see(&mut seen, now, 0), Sight::Duplicate);
        assert_eq!(see(&mut seen, now, 2), Sight::Newest);
    }

    #[test]
    fn what_the_sender_gave_up_may_still_come_once() {
        let (mut seen, now) = start(10);
        seen.on_abandon(now, FlowSeq(12), Ticks(0));
        let places: Vec<(u64, bool)> = seen.gaps.iter().map(|g| (g.last - ORIGIN, g.is_abandoned)).collect();
        assert_eq!(places[1..], [(11, false), (12, true)]);
        assert!(matches!(see(&mut seen, now, 12), Sight::Fills(Gap { is_abandoned: true, .. })));
        assert_eq!(see(&mut seen, now, 12), Sight::Duplicate);
    }

    #[test]
    fn a_flow_that_begins_anew_is_noticed_ahead_at_once_and_behind_at_the_second_packet() {
        let (mut seen, now) = start(1_000_000);
        assert_eq!(see(&mut seen, now, 1_100_000), Sight::Restart);
        assert_eq!(see(&mut seen, now, 0), Sight::Duplicate);
        assert_eq!(see(&mut seen, now, 0), Sight::Duplicate);
        assert_eq!(see(&mut seen, now, 1), Sight::Restart);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_plain_set(steps in proptest::collection::vec((0u32..300, 0u8..8), 1..400)) {
            let (mut seen, now) = start(100);
            let mut set = BTreeSet::from([100]);
            for (seq, kind) in steps {
                if kind == 0 {
                    seen.on_abandon(now, FlowSeq(seq), Ticks(0));
                    continue;
                }
                let is_new = see(&mut seen, now, seq) != Sight::Duplicate;
                // Before the start, only so many are known to be missing.
                if seq >= 100 - LATE_AT_START as u32 {
                    prop_assert_eq!(is_new, set.insert(seq));
                }
            }
            for pair in seen.gaps.iter().zip(seen.gaps.iter().skip(1)) {
                prop_assert!(pair.0.first <= pair.0.last && pair.0.last < pair.1.first);
            }
        }
    }

    fn start(seq: u32) -> (Seen, Instant) {
        let now = Instant::now();
        (Seen::start(now, FlowSeq(seq), Ticks(0)), now)
    }

    fn see(seen: &mut Seen, now: Instant, seq: u32) -> Sight {
        seen.on_packet(now, FlowSeq(seq), Ticks(0)).1
    }
}
