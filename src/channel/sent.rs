//! What is in flight on one channel: a ring by packet number, oldest first.
//!
//! Lost and re-sent packets stay as empty shells for a while, so that a late acknowledgement is
//! recognised (the loss was none) and delivery is counted rightly.

use crate::units::{Bound, PacketNumber, PieceId, Reason, Returned, Ticks};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Where a sent packet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    InFlight,
    /// Given to another channel because this one stalled; an acknowledgement may still come.
    Stranded,
    /// Declared lost.
    Lost,
}

/// One ack-eliciting datagram.
#[derive(Clone, Debug)]
pub(super) struct SentPacket {
    pub time_sent: Instant,
    pub ticks: Ticks,
    pub wire_bytes: u32,
    pub app_limited: bool,
    /// Carries a packet of a sparse flow.
    pub sparse: bool,
    pub fate: Fate,
    /// The packet, to send it again; `None` for probes and after it was handed back.
    pub bound: Option<Bound>,
    /// What was handed back, unless it was a copy.
    pub handed_back: Option<PieceId>,
}

impl SentPacket {
    fn sparse_bytes(&self) -> u64 {
        if self.sparse {
            u64::from(self.wire_bytes)
        } else {
            0
        }
    }

    /// Takes the packet out, to be sent again elsewhere.
    fn hand_back(&mut self) -> Option<Bound> {
        let bound = self.bound.take()?;
        if bound.reason != Reason::Copy {
            self.handed_back = Some(bound.id());
        }
        Some(bound)
    }
}

/// The ring.
#[derive(Clone, Debug, Default)]
pub(super) struct SentRing {
    /// Number of the first slot.
    first: u64,
    slots: VecDeque<Option<SentPacket>>,
    bytes_in_flight: u64,
    sparse_in_flight: u64,
    /// Below this number nothing is in flight that was not handed back yet.
    handed_back: u64,
}

impl SentRing {
    /// The number that the next datagram gets.
    pub fn next_number(&self) -> PacketNumber {
        PacketNumber(self.first + self.slots.len() as u64)
    }

    /// Takes the next number; `None` for a datagram that nobody acknowledges.
    pub fn push(&mut self, packet: Option<SentPacket>) -> PacketNumber {
        let number = self.next_number();
        if let Some(p) = &packet {
            self.bytes_in_flight += u64::from(p.wire_bytes);
            self.sparse_in_flight += p.sparse_bytes();
        }
        self.slots.push_back(packet);
        self.trim();
        number
    }

    /// Takes out the packets of an acknowledged range, newest last.
    pub fn acknowledge(
        &mut self,
        low: PacketNumber,
        high: PacketNumber,
        mut each: impl FnMut(PacketNumber, SentPacket),
    ) {
        let end = self.next_number().0;
        if high.0 >= end {
            return;
        }
        for n in low.0.max(self.first)..=high.0 {
            if let Some(p) = self.slots.get_mut((n - self.first) as usize).and_then(Option::take) {
                if p.fate != Fate::Lost {
                    self.bytes_in_flight = self.bytes_in_flight.saturating_sub(u64::from(p.wire_bytes));
                    self.sparse_in_flight = self.sparse_in_flight.saturating_sub(p.sparse_bytes());
                }
                each(PacketNumber(n), p);
            }
        }
        self.trim();
    }

    /// Packets older than `below` that are not lost yet, oldest first, with what decides on them.
    pub fn outstanding_below(
        &self,
        below: PacketNumber,
    ) -> impl Iterator<Item = (PacketNumber, &SentPacket)> {
        let count = below.0.saturating_sub(self.first) as usize;
        self.slots.iter().take(count).enumerate().filter_map(|(i, s)| {
            let p = s.as_ref().filter(|p| p.fate != Fate::Lost)?;
            Some((PacketNumber(self.first + i as u64), p))
        })
    }

    /// Declares a packet lost; gives back what it carried.
    pub fn lose(&mut self, number: PacketNumber) -> Option<Bound> {
        let at = number.0.checked_sub(self.first)? as usize;
        let p = self.slots.get_mut(at)?.as_mut()?;
        if p.fate != Fate::Lost {
            self.bytes_in_flight = self.bytes_in_flight.saturating_sub(u64::from(p.wire_bytes));
            self.sparse_in_flight = self.sparse_in_flight.saturating_sub(p.sparse_bytes());
            p.fate = Fate::Lost;
        }
        p.hand_back()
    }

    /// A packet that is still known.
    pub fn packet(&self, number: PacketNumber) -> Option<&SentPacket> {
        let at = number.0.checked_sub(self.first)? as usize;
        self.slots.get(at)?.as_ref()
    }

    /// Takes the payload of everything in flight, oldest first: the channel has stalled.
    pub fn strand(&mut self, mut each: impl FnMut(Bound)) {
        for p in self.slots.iter_mut().flatten().filter(|p| p.fate == Fate::InFlight) {
            p.fate = Fate::Stranded;
            if let Some(bound) = p.hand_back() {
                each(bound);
            }
        }
    }

    /// The same for what was sent before `limit`.
    pub fn strand_older(&mut self, limit: Instant, mut each: impl FnMut(Bound)) {
        self.handed_back = self.handed_back.max(self.first);
        let skip = (self.handed_back - self.first) as usize;
        for slot in self.slots.iter_mut().skip(skip) {
            if let Some(p) = slot.as_mut().filter(|p| p.fate == Fate::InFlight) {
                if p.time_sent >= limit {
                    return;
                }
                p.fate = Fate::Stranded;
                if let Some(bound) = p.hand_back() {
                    each(bound);
                }
            }
            self.handed_back += 1;
        }
    }

    /// When the oldest packet was sent that is in flight and was not handed back.
    pub fn oldest_sent(&self) -> Option<Instant> {
        let skip = self.handed_back.saturating_sub(self.first) as usize;
        self.slots.iter().skip(skip).flatten().find(|p| p.fate == Fate::InFlight).map(|p| p.time_sent)
    }

    /// Forgets shells of lost packets that are older than `age`.
    pub fn forget(&mut self, now: Instant, age: Duration) {
        // What was acknowledged between two shells goes with them, or a ring full of both would never empty.
        while let Some(slot) = self.slots.front() {
            let old = |p: &SentPacket| now.saturating_duration_since(p.time_sent) >= age;
            if slot.as_ref().is_some_and(|p| p.fate != Fate::Lost || !old(p)) {
                break;
            }
            self.slots.pop_front();
            self.first += 1;
        }
    }

    /// Gives everything up; what had been handed back goes to `each`.
    pub fn clear(&mut self, each: impl FnMut(PieceId)) {
        self.first += self.slots.len() as u64;
        self.slots.drain(..).flatten().filter_map(|p| p.handed_back).for_each(each);
        (self.bytes_in_flight, self.sparse_in_flight) = (0, 0);
    }

    /// The part of the bytes in flight that sparse flows sent.
    pub fn sparse_in_flight(&self) -> u64 {
        self.sparse_in_flight
    }

    pub fn bytes_in_flight(&self) -> u64 {
        self.bytes_in_flight
    }

    /// Slots in use, for the bound.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    fn trim(&mut self) {
        while matches!(self.slots.front(), Some(None)) {
            self.slots.pop_front();
            self.first += 1;
        }
    }
}

/// Puts a packet on the list of those to send again; copies have done what they were for.
pub(super) fn give_back(returned: &mut VecDeque<Returned>, mut bound: Bound) {
    if bound.reason != Reason::Copy {
        bound.reason = Reason::Again;
        returned.push_back(Returned::Again(bound));
    }
}

/// What an acknowledgement has newly acknowledged.
#[derive(Default)]
pub(super) struct News {
    pub bytes: u64,
    pub newest: Option<(PacketNumber, SentPacket)>,
}
