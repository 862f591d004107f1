//! Packets that are too long for a datagram go as two halves, and are put together again before they get their turn.
//!
//! So the tunnel carries packets of 1500 bytes over links that carry no more themselves: nobody outside has to know a
//! smaller size. Full TCP segments do not come here, once their headers are compressed (`mss.rs`), as a rule.
//!
//! Each half travels and is sent again by itself. Not for: what a channel carries at most (`threads/device.rs`).

use crate::units::{Bound, FlowSeq, FlowTag, Packet, Piece};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// A packet in as many datagrams as it needs where `room` bytes fit into one. What would need three goes whole, and the
/// kernel says that it is too long.
pub(super) fn pieces(bound: Bound, room: usize) -> impl Iterator<Item = Bound> {
    let len = bound.packet.len();
    let is_long = len > room && len <= 2 * room;
    let (head, tail) = bound.packet.bytes.split_at(len.div_ceil(2));
    let half = |piece: Piece, bytes: &[u8]| {
        let packet = Packet { checksum: bound.packet.checksum, ..Packet::complete(bytes) };
        Bound { piece, packet, ..bound.clone() }
    };
    let all = match is_long {
        true => [Some(half(Piece::Head, head)), Some(half(Piece::Tail, tail))],
        false => [Some(bound), None],
    };
    all.into_iter().flatten()
}

/// The halves that wait for their other one.
pub(super) struct Joiner {
    halves: HashMap<(FlowTag, FlowSeq), Half>,
    /// By when they came.
    order: BTreeMap<u64, (FlowTag, FlowSeq)>,
    count: u64,
    bytes: usize,
    bytes_max: usize,
    unjoined: u64,
}

struct Half {
    piece: Piece,
    /// `None`: both have come; copies of either may yet.
    packet: Option<Packet>,
    came: u64,
    at: Instant,
}

impl Joiner {
    /// `bytes_max`: of what waits.
    pub fn new(bytes_max: usize) -> Joiner {
        Joiner { halves: HashMap::new(), order: BTreeMap::new(), count: 0, bytes: 0, bytes_max, unjoined: 0 }
    }

    /// The packet that is complete now; `None` while its other half is missing.
    pub fn on_piece(
        &mut self,
        now: Instant,
        (flow, seq, piece): (FlowTag, FlowSeq, Piece),
        packet: Packet,
    ) -> Option<Packet> {
        if piece == Piece::All {
            return Some(packet);
        }
        self.make_room(now);
        match self.halves.get_mut(&(flow, seq)) {
            Some(half) if half.piece == piece => None,
            Some(half) => {
                let other = half.packet.take()?;
                self.bytes -= other.len();
                match piece {
                    Piece::Tail => join(&other, &packet),
                    _ => join(&packet, &other),
                }
            }
            None => {
                self.count += 1;
                self.bytes += packet.len() + HALF_COST;
                self.order.insert(self.count, (flow, seq));
                let half = Half { piece, packet: Some(packet), came: self.count, at: now };
                self.halves.insert((flow, seq), half);
                None
            }
        }
    }

    /// The sender gave the packet up.
    pub fn on_abandon(&mut self, flow: FlowTag, seq: FlowSeq) {
        self.remove((flow, seq));
    }

    /// Halves whose other one did not come in time, or was given up.
    pub fn unjoined(&self) -> u64 {
        self.unjoined
    }

    fn remove(&mut self, key: (FlowTag, FlowSeq)) {
        if let Some(half) = self.halves.remove(&key) {
            self.order.remove(&half.came);
            self.unjoined += u64::from(half.packet.is_some());
            self.bytes -= half.packet.map_or(0, |packet| packet.len()) + HALF_COST;
        }
    }

    /// What waits for too long, and the oldest if it is too much: its packet is lost.
    fn make_room(&mut self, now: Instant) {
        while let Some(key) = self.order.first_key_value().map(|(_, key)| *key) {
            let is_old = |half: &Half| now.saturating_duration_since(half.at) > WAIT_MAX;
            if self.bytes <= self.bytes_max && !self.halves.get(&key).is_some_and(is_old) {
                return;
            }
            self.remove(key);
        }
    }
}

fn join(head: &Packet, tail: &Packet) -> Option<Packet> {
    let all = [&head.bytes[..], &tail.bytes[..]].concat();
    let fits = all.len() <= usize::from(u16::MAX);
    fits.then(|| Packet { checksum: head.checksum, ..Packet::complete(&all) })
}

/// Longer than a packet is sent again for (`outbound.rs`, three seconds).
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Bytes that a half costs beside its own.
const HALF_COST: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Checksum, Class, Form, Reason};
    use proptest::prelude::*;

    fn bound(len: usize) -> Bound {
        let bytes: Vec<u8> = (0..len).map(|n| n as u8).collect();
        Bound {
            packet: Packet { checksum: Checksum::Partial, ..Packet::complete(&bytes) },
            form: Form::Context,
            piece: Piece::All,
            flow: FlowTag(3),
            seq: FlowSeq(5),
            class: Class::Bulk,
            bound_at: Instant::now(),
            reason: Reason::First,
            avoid: None,
        }
    }

    fn arrive(j: &mut Joiner, now: Instant, b: &Bound) -> Option<Packet> {
        j.on_piece(now, (b.flow, b.seq, b.piece), b.packet.clone())
    }

    proptest! {
        #[test]
        fn a_packet_comes_back_whatever_half_is_first(len in 1usize..3_000, room in 600usize..1_600, turned: bool) {
            let (b, mut j) = (bound(len), Joiner::new(100_000));
            let mut all: Vec<Bound> = pieces(b.clone(), room).collect();
            prop_assert_eq!(all.len(), if len > room && len <= 2 * room { 2 } else { 1 });
            prop_assert!(all.len() == 1 || all.iter().all(|p| p.packet.len() <= room && p.form == Form::Context));
            if turned {
                all.reverse();
            }
            let mut came: Vec<Packet> = all.iter().filter_map(|p| arrive(&mut j, b.bound_at, p)).collect();
            let whole = came.pop().unwrap();
            prop_assert!(came.is_empty());
            prop_assert_eq!((&whole.bytes, whole.checksum), (&b.packet.bytes, b.packet.checksum));
            prop_assert!(all.iter().all(|p| p.piece == Piece::All || arrive(&mut j, b.bound_at, p).is_none()), "copies");
            let known = usize::from(all.len() == 2);
            prop_assert_eq!((j.bytes, j.order.len(), j.halves.len()), (known * HALF_COST, known, known));
        }
    }

    #[test]
    fn a_half_that_comes_twice_makes_no_packet() {
        let (b, mut j) = (bound(1_500), Joiner::new(100_000));
        let all: Vec<Bound> = pieces(b.clone(), 1_440).collect();
        assert!(arrive(&mut j, b.bound_at, &all[0]).is_none());
        assert!(arrive(&mut j, b.bound_at, &all[0]).is_none());
        assert!(arrive(&mut j, b.bound_at, &all[1]).is_some());
    }

    #[test]
    fn halves_whose_packets_are_gone_do_not_stay() {
        let (b, mut j) = (bound(1_500), Joiner::new(10_000));
        let half = |seq: u32| Bound { seq: FlowSeq(seq), ..pieces(b.clone(), 1_440).next().unwrap() };
        for seq in 0..1_000 {
            arrive(&mut j, b.bound_at, &half(seq));
            assert!(j.bytes <= 11_000 && j.halves.len() == j.order.len());
        }
        j.on_abandon(b.flow, FlowSeq(999));
        let tail = |seq: u32| Bound { seq: FlowSeq(seq), ..pieces(b.clone(), 1_440).last().unwrap() };
        assert!(arrive(&mut j, b.bound_at, &tail(999)).is_none(), "the sender gave it up");
        assert!(arrive(&mut j, b.bound_at, &tail(998)).is_some());
        assert!(arrive(&mut j, b.bound_at + WAIT_MAX * 2, &tail(997)).is_none(), "too late");
        assert_eq!(j.halves.len(), 1, "what was before is too old");
        // A thousand heads but the one that was joined, and the tail of the one that was given up.
        assert_eq!(j.unjoined(), 999 + 1);
    }
}
