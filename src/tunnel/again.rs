//! What a channel lost or is stuck with, until a channel takes it again: urgent packets apart from the others, as those may be
//! megabytes for what is left of the links, and oldest first, as the receiver waits for the oldest.
//!
//! Not for: the choice of the channel (`outbound.rs`).

use crate::units::{Bound, Class, PieceId};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Two lines of packets, and what became of some of them meanwhile.
#[derive(Default)]
pub(super) struct Again {
    urgent: VecDeque<Bound>,
    others: VecDeque<Bound>,
    /// True where the first copy has arrived, false where it is lost for good.
    settled: HashMap<PieceId, bool>,
}

impl Again {
    pub(super) fn len(&self) -> usize {
        self.urgent.len() + self.others.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a packet to be sent again; gives it back where that is not worth while any more, or too many wait.
    pub(super) fn push(&mut self, now: Instant, lost: Bound) -> Option<Bound> {
        let line = self.line(lost.class);
        if now >= deadline(&lost) || line.len() >= AGAIN_MAX {
            return Some(lost);
        }
        let at = line.partition_point(|b| b.bound_at <= lost.bound_at);
        line.insert(at, lost);
        None
    }

    /// The first copy of a packet has arrived after all, or is lost for the channel that was stuck with it.
    pub(super) fn settle(&mut self, id: PieceId, arrived: bool) {
        if !self.is_empty() && self.settled.len() < AGAIN_MAX {
            *self.settled.entry(id).or_default() |= arrived;
        }
    }

    /// The packet of a class that goes next.
    pub(super) fn head(&mut self, class: Class) -> Option<&Bound> {
        self.skip_settled(class);
        self.line(class).front()
    }

    /// Takes the packet that `head` shows.
    pub(super) fn pop(&mut self, class: Class) -> Option<Bound> {
        self.line(class).pop_front()
    }

    /// A packet that is no longer worth sending again. Call until `None`.
    pub(super) fn poll_old(&mut self, now: Instant) -> Option<Bound> {
        let is_old = |line: &VecDeque<Bound>| line.front().is_some_and(|b| now >= deadline(b));
        let class = match is_old(&self.urgent) {
            true => Class::Sparse,
            false if is_old(&self.others) => Class::Bulk,
            false => return None,
        };
        self.pop(class)
    }

    /// When to call `poll_old`.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [&self.urgent, &self.others].into_iter().filter_map(|line| line.front().map(deadline)).min()
    }

    fn line(&mut self, class: Class) -> &mut VecDeque<Bound> {
        match class {
            Class::Sparse => &mut self.urgent,
            Class::Bulk => &mut self.others,
        }
    }

    /// Drops from the front what has arrived after all, and frees what is lost for the channel that lost it.
    fn skip_settled(&mut self, class: Class) {
        let Again { urgent, others, settled } = self;
        let line = if class == Class::Sparse { urgent } else { others };
        while let Some(head) = line.front_mut().filter(|_| !settled.is_empty()) {
            match settled.remove(&head.id()) {
                Some(true) => _ = line.pop_front(),
                Some(false) => head.avoid = None,
                None => break,
            }
        }
        if self.is_empty() {
            self.settled.clear();
        }
    }
}

/// When a packet is no longer worth sending again.
fn deadline(bound: &Bound) -> Instant {
    bound.bound_at + if bound.class == Class::Sparse { RESEND_DEADLINE } else { RESEND_DEADLINE_BULK }
}

/// A packet older than this is not sent again: a call has gone on.
pub(super) const RESEND_DEADLINE: Duration = Duration::from_millis(1_000);
/// The same for bulk flows. A link that falls from 170 to 3 Mbit/s tells of a loss after a second and
/// more; the far end begins to wait only then. Source: scenario car2.
pub(super) const RESEND_DEADLINE_BULK: Duration = Duration::from_millis(3_000);
/// Packets of each line at most.
pub(super) const AGAIN_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{FlowSeq, FlowTag, Form, Packet, Piece, Reason};

    const MS: Duration = Duration::from_millis(1);

    fn bound(t: Instant, class: Class, seq: u32) -> Bound {
        let packet = Packet::complete(&[0; 200]);
        let (form, piece, flow) = (Form::Whole, Piece::All, FlowTag(1));
        let seq = FlowSeq(seq);
        Bound { packet, form, piece, flow, seq, class, bound_at: t, reason: Reason::Again, avoid: None }
    }

    #[test]
    fn each_line_is_oldest_first_and_bounded_by_itself() {
        let t = Instant::now();
        let mut again = Again::default();
        (0..AGAIN_MAX as u32).for_each(|n| assert!(again.push(t, bound(t, Class::Bulk, n)).is_none()));
        assert!(again.push(t, bound(t, Class::Bulk, 7)).is_some());
        assert!(again.push(t, bound(t + MS, Class::Sparse, 2)).is_none());
        assert!(again.push(t, bound(t, Class::Sparse, 1)).is_none());
        assert_eq!(again.head(Class::Sparse).map(|b| b.seq), Some(FlowSeq(1)));
        assert_eq!(again.len(), AGAIN_MAX + 2);
    }

    #[test]
    fn what_arrives_meanwhile_is_left_out_in_either_line_and_nothing_stays_of_it() {
        let t = Instant::now();
        let mut again = Again::default();
        for class in [Class::Sparse, Class::Bulk] {
            (0..3).for_each(|n| _ = again.push(t, bound(t, class, n)));
            again.settle(bound(t, class, 0).id(), true);
            again.settle(bound(t, class, 90).id(), true);
            assert_eq!(again.head(class).map(|b| b.seq), Some(FlowSeq(1)));
            (0..2).for_each(|_| _ = again.pop(class));
            assert!(again.head(class).is_none() && again.settled.is_empty());
        }
    }

    #[test]
    fn urgent_packets_are_given_up_sooner() {
        let t = Instant::now();
        let mut again = Again::default();
        _ = again.push(t, bound(t, Class::Bulk, 1));
        _ = again.push(t, bound(t, Class::Sparse, 2));
        assert_eq!(again.poll_timeout(), Some(t + RESEND_DEADLINE));
        assert_eq!(again.poll_old(t + RESEND_DEADLINE).map(|b| b.seq), Some(FlowSeq(2)));
        assert!(again.poll_old(t + RESEND_DEADLINE).is_none());
        assert_eq!(again.poll_timeout(), Some(t + RESEND_DEADLINE_BULK));
    }
}
