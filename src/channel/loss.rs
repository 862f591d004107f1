//! Which packets in flight are lost: RFC 9002 section 6.1, by packet threshold and by time.
//!
//! A link that lets packets overtake each other is found out by acknowledgements of packets already
//! called lost; then time alone decides, as patiently as would have been needed, for a while.
//!
//! Not for: a channel that has gone silent (`liveness.rs`).

use super::rtt::Rtt;
use super::sent::SentRing;
use crate::units::PacketNumber;
use std::time::{Duration, Instant};

/// What is known for judging.
#[derive(Debug, Default)]
pub(super) struct Loss {
    largest_acked: Option<PacketNumber>,
    /// How far packets of this channel overtake each other, and when that was last seen.
    reordering: Duration,
    reordered_at: Option<Instant>,
    /// When the next packet will count as lost by time (`loss_time` of RFC 9002).
    due_at: Option<Instant>,
}

impl Loss {
    pub fn on_acked(&mut self, largest: PacketNumber) {
        self.largest_acked = self.largest_acked.max(Some(largest));
    }

    /// A packet called lost was acknowledged `age` after it was sent: it was only overtaken.
    pub fn on_spurious(&mut self, now: Instant, age: Duration, rtt: &Rtt) {
        let by = age.saturating_sub(rtt.smoothed());
        self.reordering = self.reordering.max(by).min(rtt.smoothed() / 2 + REORDERING_MAX);
        self.reordered_at = Some(now);
    }

    /// Numbers that are lost now, oldest first.
    pub fn detect(&mut self, now: Instant, ring: &SentRing, rtt: &Rtt) -> Vec<PacketNumber> {
        if self.reordered_at.is_some_and(|t| now.saturating_duration_since(t) > REORDERING_KEPT) {
            (self.reordering, self.reordered_at) = (Duration::ZERO, None);
        }
        self.due_at = None;
        let mut lost = Vec::new();
        let Some(largest) = self.largest_acked else { return lost };
        let in_order = self.reordering.is_zero();
        let patience = rtt.smoothed().max(rtt.latest()) + self.delay(rtt);
        for (number, packet) in ring.outstanding_below(largest) {
            let overtaken = in_order && number.0 + PACKET_THRESHOLD <= largest.0;
            let due = packet.time_sent + patience;
            if overtaken || now >= due {
                lost.push(number);
                continue;
            }
            self.due_at = Some(self.due_at.map_or(due, |t| t.min(due)));
            if !in_order {
                break;
            }
        }
        lost
    }

    /// When to call `detect` though no acknowledgement came.
    pub fn due_at(&self) -> Option<Instant> {
        self.due_at
    }

    /// Nothing is in flight any more.
    pub fn clear(&mut self) {
        self.due_at = None;
    }

    /// Time beyond a round trip after which a packet with later ones acknowledged is lost.
    fn delay(&self, rtt: &Rtt) -> Duration {
        (rtt.smoothed() / 8 + DELAY_MIN).max(self.reordering)
    }
}

/// Source: RFC 9002 section 6.1.1.
const PACKET_THRESHOLD: u64 = 3;
/// Least extra patience of the time threshold. Source: ALGORITHMS section 4.7.
const DELAY_MIN: Duration = Duration::from_millis(2);
const REORDERING_MAX: Duration = Duration::from_millis(100);
/// A link that has kept the order for so long is trusted again. A guess.
const REORDERING_KEPT: Duration = Duration::from_secs(20);
