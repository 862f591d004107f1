//! Frames: what a sealed control datagram carries, several in one.
//!
//! Not for: packets (they have a datagram each, `wire/header.rs`) and handshakes (`wire/auth.rs`).

use super::reader::{put_u24, put_varint, Reader, Short};
use crate::units::{FlowSeq, FlowTag, PacketNumber, Ticks};

/// Ranges of packet numbers in one acknowledgement, at most.
///
/// Source: a guess; at 1 % loss and 2,000 packets a second 16 gaps reach back most of a second.
pub const ACK_RANGES_MAX: usize = 16;

/// What the receiver of a channel tells its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The *sender's* row index of the channel that is acknowledged, so that any channel may carry it.
    pub channel: u8,
    /// Whether it travels on another channel than the one it speaks of: then it is no RTT sample.
    pub detour: bool,
    /// Inclusive ranges received, newest first: `ranges[0].1` is the largest number received.
    pub ranges: Vec<(PacketNumber, PacketNumber)>,
    /// The largest *ack-eliciting* number received: what the times and bytes below speak of.
    pub about: PacketNumber,
    /// The receiver's clock when it arrived.
    pub received_at: Ticks,
    /// Time from then to the sending of this frame, in microseconds.
    pub ack_delay_us: u32,
    /// Datagram bytes received on the channel since it joined, up to then, wrapping.
    pub received_bytes: u32,
}

/// One part of a control datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Ack(Ack),
    /// Please acknowledge this datagram: heartbeat and probe. Padded to the size probed for.
    Ping {
        padding: u16,
    },
    /// The sender gives this packet of a flow up: nobody need wait for it.
    Abandon {
        flow: FlowTag,
        seq: FlowSeq,
    },
    /// The sender is leaving; the session ends.
    Close,
    /// A compressed packet of this flow could not be read: send whole ones, and a new context.
    Forgotten {
        flow: FlowTag,
    },
}

const ACK: u8 = 1;
const ACK_DETOUR: u8 = 2;
const PING: u8 = 3;
const ABANDON: u8 = 4;
const CLOSE: u8 = 5;
const FORGOTTEN: u8 = 6;

impl Frame {
    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Frame::Ack(a) => a.encode(out),
            Frame::Ping { padding } => {
                out.push(PING);
                out.extend_from_slice(&padding.to_be_bytes());
                out.resize(out.len() + usize::from(*padding), 0);
            }
            Frame::Abandon { flow, seq } => {
                out.push(ABANDON);
                out.extend_from_slice(&flow.0.to_be_bytes());
                put_u24(out, seq.0);
            }
            Frame::Close => out.push(CLOSE),
            Frame::Forgotten { flow } => {
                out.push(FORGOTTEN);
                out.extend_from_slice(&flow.0.to_be_bytes());
            }
        }
    }

    /// Reads the next frame. `Ok(None)` at the end or at a frame type that a newer peer may know:
    /// the rest of the datagram is then left alone.
    pub fn decode(r: &mut Reader<'_>) -> Result<Option<Frame>, Short> {
        if r.remaining() == 0 {
            return Ok(None);
        }
        Ok(match r.u8()? {
            ACK => Some(Frame::Ack(Ack::decode(r, false)?)),
            ACK_DETOUR => Some(Frame::Ack(Ack::decode(r, true)?)),
            PING => {
                let padding = r.u16()?;
                r.bytes(usize::from(padding))?;
                Some(Frame::Ping { padding })
            }
            ABANDON => Some(Frame::Abandon { flow: FlowTag(r.u16()?), seq: FlowSeq(r.u24()?) }),
            CLOSE => Some(Frame::Close),
            FORGOTTEN => Some(Frame::Forgotten { flow: FlowTag(r.u16()?) }),
            _ => None,
        })
    }

    /// Bytes that `encode` appends, at most.
    pub fn encoded_len(&self) -> usize {
        match self {
            Frame::Ack(a) => 26 + a.ranges.len().min(ACK_RANGES_MAX) * 8,
            Frame::Ping { padding } => 3 + usize::from(*padding),
            Frame::Abandon { .. } => 6,
            Frame::Close => 1,
            Frame::Forgotten { .. } => 3,
        }
    }

    /// Whether the receiver owes an acknowledgement for a datagram with this frame.
    pub fn is_ack_eliciting(&self) -> bool {
        matches!(self, Frame::Ping { .. } | Frame::Abandon { .. })
    }
}

impl Ack {
    fn encode(&self, out: &mut Vec<u8>) {
        let Some(&(first_low, largest)) = self.ranges.first() else { return };
        out.push(if self.detour { ACK_DETOUR } else { ACK });
        out.push(self.channel);
        put_u24(out, self.received_at.0);
        put_varint(out, u64::from(self.ack_delay_us));
        out.extend_from_slice(&self.received_bytes.to_be_bytes());
        put_varint(out, largest.0);
        put_varint(out, largest.0.saturating_sub(self.about.0));
        put_varint(out, largest.0 - first_low.0);
        let more = self.ranges.len().min(ACK_RANGES_MAX) - 1;
        out.push(more as u8);
        let mut below = first_low.0;
        for &(low, high) in self.ranges.iter().skip(1).take(more) {
            put_varint(out, below - high.0 - 2);
            put_varint(out, high.0 - low.0);
            below = low.0;
        }
    }

    fn decode(r: &mut Reader<'_>, detour: bool) -> Result<Ack, Short> {
        let channel = r.u8()?;
        let received_at = Ticks(r.u24()?);
        let ack_delay_us = u32::try_from(r.varint()?).map_err(|_| Short)?;
        let received_bytes = r.u32()?;
        let largest = r.varint()?;
        let about = PacketNumber(largest.checked_sub(r.varint()?).ok_or(Short)?);
        let mut low = largest.checked_sub(r.varint()?).ok_or(Short)?;
        let more = usize::from(r.u8()?).min(ACK_RANGES_MAX);
        let mut ranges = Vec::with_capacity(more + 1);
        ranges.push((PacketNumber(low), PacketNumber(largest)));
        for _ in 0..more {
            let high = low.checked_sub(r.varint()?).and_then(|v| v.checked_sub(2)).ok_or(Short)?;
            low = high.checked_sub(r.varint()?).ok_or(Short)?;
            ranges.push((PacketNumber(low), PacketNumber(high)));
        }
        Ok(Ack { channel, detour, ranges, about, received_at, ack_delay_us, received_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ack(ranges: Vec<(u64, u64)>) -> Ack {
        let ranges_about = ranges[0].0;
        Ack {
            channel: 3,
            detour: false,
            ranges: ranges.into_iter().map(|(a, b)| (PacketNumber(a), PacketNumber(b))).collect(),
            about: PacketNumber(ranges_about),
            received_at: Ticks(0x123456),
            ack_delay_us: 4_000,
            received_bytes: 99,
        }
    }

    #[test]
    fn frames_come_back_in_order() {
        let frames = [
            Frame::Ack(ack(vec![(90, 100), (50, 60), (1, 48)])),
            Frame::Ping { padding: 10 },
            Frame::Abandon { flow: FlowTag(7), seq: FlowSeq(8) },
            Frame::Close,
            Frame::Forgotten { flow: FlowTag(9) },
        ];
        let mut out = Vec::new();
        frames.iter().for_each(|f| f.encode(&mut out));
        let mut r = Reader::new(&out);
        for f in &frames {
            assert_eq!(Frame::decode(&mut r), Ok(Some(f.clone())));
        }
        assert_eq!(Frame::decode(&mut r), Ok(None));
    }

    #[test]
    fn a_range_below_zero_is_refused() {
        let mut out = Vec::new();
        Frame::Ack(ack(vec![(5, 5)])).encode(&mut out);
        let at = out.len() - 2;
        out[at] = 9;
        assert_eq!(Frame::decode(&mut Reader::new(&out)), Err(Short));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut r = Reader::new(&bytes);
            while let Ok(Some(_)) = Frame::decode(&mut r) {}
        }
    }
}
