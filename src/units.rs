//! The words every floor speaks: numbers with a meaning, and the packet itself.
//!
//! Not for: anything that does something. A type is here when two floors need it.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// One inner IP packet, shared without copying between the in-flight ring, a re-send and a duplicate.
#[derive(Clone, Debug)]
pub struct Packet {
    /// The whole IP packet, from its first header byte; at most 65,535 bytes.
    pub bytes: Arc<[u8]>,
    /// Whether the transport checksum in `bytes` is complete.
    pub checksum: Checksum,
}

impl Packet {
    /// A packet whose checksums are as they stand in `bytes`.
    pub fn complete(bytes: &[u8]) -> Packet {
        Packet { bytes: Arc::from(bytes), checksum: Checksum::Complete }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the packet has no bytes at all (no IP packet has).
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// State of the TCP or UDP checksum of a packet.
///
/// A TUN device with offloads hands over packets that carry only the sum of the pseudo header;
/// the kernel behind the far TUN device completes them (the AEAD protects them on the way).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// As the wire wants it.
    Complete,
    /// Only the pseudo header is summed; TUN must be told so when it is written.
    Partial,
}

/// How a packet's headers travel (`wire/compressed.rs`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    #[default]
    Whole,
    /// As they are, for the peer to keep: a context for later ones.
    Context,
    /// Without what a context says already.
    Compressed,
}

/// What of a packet a datagram carries: one that is too long for the links goes in two (`tunnel/split.rs`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Piece {
    /// All of it.
    #[default]
    All,
    /// The first half.
    Head,
    /// The rest.
    Tail,
}

/// What a datagram's content is known by, whichever channels carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PieceId {
    pub flow: FlowTag,
    pub seq: FlowSeq,
    pub piece: Piece,
}

/// Number of a datagram within one channel and direction: for acknowledgements and nonces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketNumber(pub u64);

/// Hash of an inner flow's addresses, protocol and ports; flows that collide share their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowTag(pub u16);

/// Place of a packet within its flow: 24 bits, wrapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowSeq(pub u32);

impl FlowSeq {
    /// Bits of a flow sequence on the wire.
    pub const BITS: u32 = 24;
    const MASK: u32 = (1 << FlowSeq::BITS) - 1;

    /// The sequence `n` steps later.
    pub fn plus(self, n: u32) -> FlowSeq {
        FlowSeq(self.0.wrapping_add(n) & FlowSeq::MASK)
    }

    /// Signed distance from `other` to `self`: positive when `self` is later.
    pub fn distance(self, other: FlowSeq) -> i32 {
        // Shifting up to 32 bits and back down extends the sign of the 24-bit difference.
        ((self.0.wrapping_sub(other.0) << 8) as i32) >> 8
    }
}

/// One channel as this process numbers it: the index of its row in the stats table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub u8);

/// Bytes per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(pub u64);

impl Rate {
    /// `bytes` delivered in `over`; zero time counts as one microsecond.
    pub fn from_bytes(bytes: u64, over: Duration) -> Rate {
        let us = over.as_micros().max(1) as u64;
        Rate(bytes.saturating_mul(1_000_000) / us)
    }

    /// Bytes that pass in `time`.
    pub fn bytes_in(self, time: Duration) -> u64 {
        (self.0 as u128 * time.as_micros() / 1_000_000) as u64
    }

    /// Time that `bytes` take; an hour when the rate is zero.
    pub fn time_for(self, bytes: u64) -> Duration {
        if self.0 == 0 {
            return Duration::from_secs(3600);
        }
        Duration::from_micros((bytes as u128 * 1_000_000 / self.0 as u128).min(3_600_000_000) as u64)
    }
}

/// A host's own monotonic clock on the wire: 24 bits, units of 16 us, wraps after 268 s.
///
/// Never compared with another host's; only differences of differences mean something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ticks(pub u32);

impl Ticks {
    /// Microseconds of one tick.
    pub const US: u32 = 16;
    const MASK: u32 = (1 << 24) - 1;

    /// The tick at `now` on a clock that began at `epoch`.
    pub fn at(now: Instant, epoch: Instant) -> Ticks {
        let us = now.saturating_duration_since(epoch).as_micros();
        Ticks(((us / Ticks::US as u128) as u32) & Ticks::MASK)
    }

    /// Signed microseconds from `other` to `self`, within +-134 s.
    pub fn us_since(self, other: Ticks) -> i64 {
        let d = ((self.0.wrapping_sub(other.0) << 8) as i32) >> 8;
        i64::from(d) * i64::from(Ticks::US)
    }
}

/// Microseconds from `reference` to `us`, within +-134 s, on clocks that wrap as `Ticks` do.
pub fn wrapped(us: i64, reference: i64) -> i64 {
    let round = (i64::from(Ticks::MASK) + 1) * i64::from(Ticks::US);
    (us - reference + round / 2).rem_euclid(round) - round / 2
}

/// How urgent a flow's packets are; decided by the flow queue, used by balancer and recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A flow that keeps no queue: DNS, voice, games, handshakes. Goes first, may go twice.
    Sparse,
    /// A flow that fills what it is given.
    Bulk,
}

/// A packet with its place in its flow, bound to a channel.
#[derive(Clone, Debug)]
pub struct Bound {
    pub packet: Packet,
    pub form: Form,
    pub piece: Piece,
    pub flow: FlowTag,
    pub seq: FlowSeq,
    pub class: Class,
    /// When the packet was bound for the first time.
    pub bound_at: Instant,
    /// How the packet came to be bound.
    pub reason: Reason,
    /// A channel that must not take it: the one where it is stuck and may yet arrive (until `Returned::Gone`).
    pub avoid: Option<ChannelId>,
}

impl Bound {
    /// What it is known by.
    pub fn id(&self) -> PieceId {
        PieceId { flow: self.flow, seq: self.seq, piece: self.piece }
    }
}

/// What a channel says of packets bound to it, unless they are no context and simply arrived. The order of these matters.
#[derive(Clone, Debug)]
pub enum Returned {
    /// To be bound again: lost, or stuck in the channel and perhaps still to arrive.
    Again(Bound),
    /// What was returned before has arrived after all.
    Arrived(PieceId),
    /// What was stuck is lost: the channel itself may take it again.
    Gone(PieceId),
    /// The peer has this context, or this half of it.
    Context(PieceId),
    /// The peer has lost the contexts of a flow.
    Forgotten(FlowTag),
}

/// Why a packet is sent on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// For the first time.
    First,
    /// A second copy of something sent elsewhere (urgent, redundant, probe): never sent again when lost.
    Copy,
    /// Again, because it was lost or its channel stalled.
    Again,
}

/// Consecutive packets handed over together.
pub type Run = Vec<Bound>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_sequence_wraps_at_24_bits() {
        let last = FlowSeq((1 << 24) - 1);
        assert_eq!(last.plus(1), FlowSeq(0));
        assert_eq!(FlowSeq(0).distance(last), 1);
        assert_eq!(last.distance(FlowSeq(0)), -1);
    }

    #[test]
    fn ticks_differ_by_signed_microseconds() {
        let epoch = Instant::now();
        let a = Ticks::at(epoch + Duration::from_millis(10), epoch);
        let b = Ticks::at(epoch + Duration::from_millis(4), epoch);
        assert_eq!(a.us_since(b), 6_000);
        assert_eq!(b.us_since(a), -6_000);
    }

    #[test]
    fn a_rate_and_its_time_agree() {
        let r = Rate(1_250_000);
        assert_eq!(r.time_for(12_500), Duration::from_millis(10));
        assert_eq!(r.bytes_in(Duration::from_millis(10)), 12_500);
    }
}
