//! One flow's packets back in order.
//!
//! Not for: deciding how long to wait (`inbound.rs` knows the channels); it is asked about one gap at a time.
//!
//! 1. A packet that came before is refused (`seen.rs`).
//! 2. The next one leaves at once; an older one that was given up leaves at once, too, as *late*.
//! 3. A later one waits, sorted, until each gap before it is filled or given up.

use super::seen::{Gap, Seen, Sight};
use crate::units::{FlowSeq, Packet, Ticks};
use std::collections::VecDeque;
use std::time::Instant;

/// A packet and when it came.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    place: u64,
    pub(super) came: Instant,
    pub(super) packet: Packet,
}

/// Whether a flow waits for what is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Kept,
    /// Packets leave as they come, each once.
    AtOnce,
}

/// What became of a packet.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It may leave; `Fills` as in `Sight`.
    Leaves(Packet, Option<Gap>),
    /// It may leave, after later ones of its flow.
    Late(Packet, Gap),
    /// It waits, or its arrival lets others go: call `release`.
    Waits(Option<Gap>),
    Duplicate,
    /// The flow began anew with it: release what waits and start again.
    Restart(Packet),
}

/// One flow.
#[derive(Debug)]
pub(super) struct Reorder {
    seen: Seen,
    /// Place of the next packet to leave.
    next: u64,
    /// Later packets, sorted by place.
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
}

impl Reorder {
    /// A flow whose first packet came and left.
    pub(super) fn start(now: Instant, seq: FlowSeq, sent: Ticks) -> Reorder {
        let seen = Seen::start(now, seq, sent);
        Reorder { next: seen.highest() + 1, seen, waiting: VecDeque::new(), waiting_bytes: 0 }
    }

    pub(super) fn on_packet(
        &mut self,
        now: Instant,
        (seq, sent): (FlowSeq, Ticks),
        packet: Packet,
        order: Order,
    ) -> Outcome {
        let (place, sight) = self.seen.on_packet(now, seq, sent);
        let filled = match sight {
            Sight::Newest => None,
            Sight::Fills(gap) => Some(gap),
            Sight::Duplicate => return Outcome::Duplicate,
            Sight::Restart => return Outcome::Restart(packet),
        };
        if let (Some(gap), true) = (filled, place < self.next) {
            return Outcome::Late(packet, gap);
        }
        if self.waiting.is_empty() && (place == self.next || order == Order::AtOnce) {
            self.next = place + 1;
            return Outcome::Leaves(packet, filled);
        }
        self.waiting_bytes += packet.len();
        let item = Waiting { place, came: now, packet };
        match self.waiting.back() {
            Some(last) if last.place > place => {
                let index = self.waiting.partition_point(|w| w.place < place);
                self.waiting.insert(index, item);
            }
            _ => self.waiting.push_back(item),
        }
        Outcome::Waits(filled)
    }

    /// The sender gave a packet up: call `release`. False when it had come already.
    pub(super) fn on_abandon(&mut self, now: Instant, seq: FlowSeq, sent: Ticks) -> bool {
        self.seen.on_abandon(now, seq, sent)
    }

    /// Forgets the oldest gaps beyond `gaps_max`: call `release`.
    pub(super) fn trim(&mut self, gaps_max: usize) {
        self.seen.trim(gaps_max);
    }

    /// Appends what may leave to `out`, giving up each gap in its way that `is_over`. Returns how many those were.
    pub(super) fn release(&mut self, out: &mut VecDeque<Waiting>, is_over: impl Fn(&Gap) -> bool) -> u64 {
        let mut given_up = 0;
        while self.next <= self.seen.highest() {
            match self.seen.gap_from(self.next).filter(|g| g.first <= self.next) {
                Some(gap) if gap.is_abandoned || is_over(gap) => {
                    self.next = gap.last + 1;
                    given_up += 1;
                }
                Some(_) => break,
                None => match self.waiting.front() {
                    Some(first) if first.place == self.next => {
                        self.next += 1;
                        let Some(item) = self.waiting.pop_front() else { break };
                        self.waiting_bytes -= item.packet.len();
                        out.push_back(item);
                    }
                    // A gap that was forgotten: to the next gap or packet.
                    first => {
                        let packet = first.map_or(self.seen.highest() + 1, |w| w.place);
                        let gap = self.seen.gap_from(self.next).map_or(packet, |g| g.first);
                        self.next = packet.min(gap);
                    }
                },
            }
        }
        given_up
    }

    /// The gap that packets wait for.
    pub(super) fn blocking(&self) -> Option<&Gap> {
        self.waiting.front()?;
        self.seen.gap_from(self.next)
    }

    /// Place of the next packet to leave.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    pub(super) fn gaps(&self) -> usize {
        self.seen.gaps()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_holds_back_until_it_is_filled() {
        let mut flow = Flow::start(0);
        assert_eq!(flow.packet(1), [1]);
        assert!(flow.packet(3).is_empty());
        assert!(flow.packet(5).is_empty());
        assert!(flow.packet(4).is_empty());
        assert_eq!(flow.packet(2), [2, 3, 4, 5]);
    }

    #[test]
    fn a_gap_given_up_lets_go_up_to_the_next_and_what_comes_late_leaves_once() {
        let mut flow = Flow::start(0);
        flow.packet(2);
        flow.packet(4);
        assert_eq!(flow.give_up_first(), [2]);
        assert_eq!(flow.packet(1), [1]);
        assert!(flow.packet(1).is_empty());
        assert_eq!(flow.packet(3), [3, 4]);
    }

    #[test]
    fn an_abandoned_packet_is_not_waited_for() {
        let mut flow = Flow::start(0);
        flow.packet(2);
        assert_eq!(flow.abandon(1), [2]);
        assert!(flow.abandon(3).is_empty());
        assert_eq!(flow.packet(4), [4]);
        assert_eq!(flow.packet(3), [3]);
    }

    #[test]
    fn a_forgotten_gap_is_given_up() {
        let mut flow = Flow::start(0);
        flow.packet(2);
        flow.packet(4);
        flow.reorder.trim(1);
        assert_eq!(flow.release(), [2]);
        flow.reorder.trim(0);
        assert_eq!(flow.release(), [4]);
        assert!(flow.packet(1).is_empty(), "a duplicate for all one knows");
    }

    struct Flow {
        reorder: Reorder,
        now: Instant,
    }

    impl Flow {
        fn start(seq: u32) -> Flow {
            let now = Instant::now();
            Flow { reorder: Reorder::start(now, FlowSeq(seq), Ticks(0)), now }
        }

        fn packet(&mut self, seq: u32) -> Vec<u32> {
            let packet = Packet::complete(&seq.to_be_bytes());
            match self.reorder.on_packet(self.now, (FlowSeq(seq), Ticks(0)), packet, Order::Kept) {
                Outcome::Leaves(..) | Outcome::Late(..) => vec![seq],
                Outcome::Waits(_) => self.release(),
                _ => vec![],
            }
        }

        fn abandon(&mut self, seq: u32) -> Vec<u32> {
            self.reorder.on_abandon(self.now, FlowSeq(seq), Ticks(0));
            self.release()
        }

        fn release(&mut self) -> Vec<u32> {
            self.drain(|_| false)
        }

        fn give_up_first(&mut self) -> Vec<u32> {
            let first = self.reorder.blocking().unwrap().first;
            self.drain(|g| g.first == first)
        }

        fn drain(&mut self, is_over: impl Fn(&Gap) -> bool) -> Vec<u32> {
            let mut out = VecDeque::new();
            self.reorder.release(&mut out, is_over);
            out.iter().map(|w| u32::from_be_bytes(w.packet.bytes[..4].try_into().unwrap())).collect()
        }
    }
}
