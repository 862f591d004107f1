//! What is in flight on one channel: a ring by packet number, oldest first.
//!
//! Lost and re-sent packets stay as empty shells for a while, so that a late acknowledgement is
//! recognised (the loss was none) and delivery is counted rightly.

use crate::units::{Bound, PacketNumber, Ticks};
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
    /// Asked for no acknowledgement; only its times count when one covers it.
    Unasked,
}

/// One datagram, most often an ack-eliciting one.
#[derive(Clone, Debug)]
pub(super) struct SentPacket {
    pub time_sent: Instant,
    pub ticks: Ticks,
    pub wire_bytes: u32,
    pub app_limited: bool,
    pub fate: Fate,
    /// The packet, to send it again; `None` for probes and after it was handed back.
    pub bound: Option<Bound>,
}

/// The ring.
#[derive(Clone, Debug, Default)]
pub(super) struct SentRing {
    /// Number of the first slot.
    first: u64,
    slots: VecDeque<Option<SentPacket>>,
    bytes_in_flight: u64,
}

impl SentRing {
    /// The number that the next datagram gets.
    pub fn next_number(&self) -> PacketNumber {
        PacketNumber(self.first + self.slots.len() as u64)
    }

    /// Takes the next number; `None` for a datagram of which nothing is remembered.
    pub fn push(&mut self, packet: Option<SentPacket>) -> PacketNumber {
        let number = self.next_number();
        if let Some(p) = &packet {
            self.bytes_in_flight += u64::from(p.wire_bytes);
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
            let p = s.as_ref().filter(|p| matches!(p.fate, Fate::InFlight | Fate::Stranded))?;
            Some((PacketNumber(self.first + i as u64), p))
        })
    }

    /// Declares a packet lost; gives back what it carried.
    pub fn lose(&mut self, number: PacketNumber) -> Option<Bound> {
        let at = number.0.checked_sub(self.first)? as usize;
        let p = self.slots.get_mut(at)?.as_mut()?;
        if p.fate != Fate::Lost {
            self.bytes_in_flight = self.bytes_in_flight.saturating_sub(u64::from(p.wire_bytes));
            p.fate = Fate::Lost;
        }
        p.bound.take()
    }

    /// Takes the payload of everything in flight, oldest first: the channel has stalled.
    pub fn strand(&mut self, mut each: impl FnMut(Bound)) {
        for p in self.slots.iter_mut().flatten().filter(|p| p.fate == Fate::InFlight) {
            p.fate = Fate::Stranded;
            if let Some(bound) = p.bound.take() {
                each(bound);
            }
        }
    }

    /// Forgets shells of lost packets, and what nobody acknowledged, when they are older than `age`.
    pub fn forget(&mut self, now: Instant, age: Duration) {
        while let Some(Some(p)) = self.slots.front() {
            let open = matches!(p.fate, Fate::InFlight | Fate::Stranded);
            if open || now.saturating_duration_since(p.time_sent) < age {
                break;
            }
            self.slots.pop_front();
            self.first += 1;
        }
        self.trim();
    }

    /// Gives everything up; payloads go to `each`.
    pub fn clear(&mut self, mut each: impl FnMut(Bound)) {
        self.first += self.slots.len() as u64;
        for bound in self.slots.drain(..).flatten().filter_map(|p| p.bound) {
            each(bound);
        }
        self.bytes_in_flight = 0;
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
