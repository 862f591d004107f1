//! The eight clear bytes before every sealed datagram, and the eight sealed ones before a packet.
//!
//! ```text
//! clear, authenticated:  type 1 | receiver's channel number 3 | packet number, low 32 bits 4
//! sealed, data only:     flow tag 2 | flow sequence 3 | send time 3 | the inner IP packet, its headers perhaps
//!                        compressed (wire/compressed.rs), or half of that (tunnel/split.rs)
//! sealed, control:       frames (wire/frame.rs)
//! then the tag, 16
//! ```
//! 32 bytes around a packet in all, as WireGuard (DESIGN.md section 4). Handshake datagrams have
//! other types and shapes: `wire/auth.rs`.

use super::reader::{put_u24, Reader, Short};
use crate::units::{Checksum, FlowSeq, FlowTag, Form, PacketNumber, Piece, Ticks};

/// Bytes of the clear header.
pub const HEADER_LEN: usize = 8;
/// Bytes of the sealed header before an inner packet.
pub const DATA_HEADER_LEN: usize = 8;
/// Bytes of the authentication tag after the sealed part.
pub const TAG_LEN: usize = 16;
/// Bytes that the tunnel adds to a packet, without UDP and IP.
pub const OVERHEAD: usize = HEADER_LEN + DATA_HEADER_LEN + TAG_LEN;

/// What a sealed datagram carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One inner packet, or half of it.
    Data(Checksum, Form, Piece),
    /// Frames.
    Control,
}

/// The clear header. `key_phase` is the low bit of the key's generation: it flips at each rekey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub key_phase: bool,
    /// The receiver's number for the channel, 24 bits.
    pub channel: u32,
    /// Low 32 bits of the packet number; see [`expand`].
    pub number_low: u32,
}

const TYPE_DATA: u8 = 0x01;
const TYPE_DATA_PARTIAL: u8 = 0x02;
const TYPE_CONTROL: u8 = 0x03;
const TYPE_CONTEXT: u8 = 0x04;
const TYPE_CONTEXT_PARTIAL: u8 = 0x05;
const TYPE_COMPRESSED: u8 = 0x06;
const TYPE_COMPRESSED_PARTIAL: u8 = 0x07;
/// Bits beside the types of data: 0x10 is the handshakes'.
const HEAD: u8 = 0x20;
const TAIL: u8 = 0x40;
const KEY_PHASE: u8 = 0x80;

impl Header {
    /// The eight bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let kind = match self.kind {
            Kind::Data(checksum, form, piece) => {
                let kind = match (checksum, form) {
                    (Checksum::Complete, Form::Whole) => TYPE_DATA,
                    (Checksum::Partial, Form::Whole) => TYPE_DATA_PARTIAL,
                    (Checksum::Complete, Form::Context) => TYPE_CONTEXT,
                    (Checksum::Partial, Form::Context) => TYPE_CONTEXT_PARTIAL,
                    (Checksum::Complete, Form::Compressed) => TYPE_COMPRESSED,
                    (Checksum::Partial, Form::Compressed) => TYPE_COMPRESSED_PARTIAL,
                };
                kind | match piece {
                    Piece::All => 0,
                    Piece::Head => HEAD,
                    Piece::Tail => TAIL,
                }
            }
            Kind::Control => TYPE_CONTROL,
        };
        let [_, a, b, c] = self.channel.to_be_bytes();
        let [d, e, f, g] = self.number_low.to_be_bytes();
        [kind | if self.key_phase { KEY_PHASE } else { 0 }, a, b, c, d, e, f, g]
    }

    /// Reads a header; `None` when the datagram is too short or not a sealed one.
    pub fn decode(r: &mut Reader<'_>) -> Option<Header> {
        let first = r.u8().ok()?;
        let piece = match first & (HEAD | TAIL) {
            0 => Piece::All,
            HEAD => Piece::Head,
            TAIL => Piece::Tail,
            _ => return None,
        };
        let kind = match first & !(KEY_PHASE | HEAD | TAIL) {
            TYPE_DATA => Kind::Data(Checksum::Complete, Form::Whole, piece),
            TYPE_DATA_PARTIAL => Kind::Data(Checksum::Partial, Form::Whole, piece),
            TYPE_CONTEXT => Kind::Data(Checksum::Complete, Form::Context, piece),
            TYPE_CONTEXT_PARTIAL => Kind::Data(Checksum::Partial, Form::Context, piece),
            TYPE_COMPRESSED => Kind::Data(Checksum::Complete, Form::Compressed, piece),
            TYPE_COMPRESSED_PARTIAL => Kind::Data(Checksum::Partial, Form::Compressed, piece),
            TYPE_CONTROL if piece == Piece::All => Kind::Control,
            _ => return None,
        };
        Some(Header {
            kind,
            key_phase: first & KEY_PHASE != 0,
            channel: r.u24().ok()?,
            number_low: r.u32().ok()?,
        })
    }
}

/// The full packet number nearest to `largest` whose low 32 bits are `low` (RFC 9000 appendix A.3).
pub fn expand(low: u32, largest: PacketNumber) -> PacketNumber {
    let expected = largest.0.wrapping_add(1);
    let candidate = (expected & !0xffff_ffff) | u64::from(low);
    let half = 1u64 << 31;
    if candidate.saturating_add(half) <= expected {
        PacketNumber(candidate.saturating_add(1 << 32))
    } else if candidate > expected.saturating_add(half) && candidate >= 1 << 32 {
        PacketNumber(candidate - (1 << 32))
    } else {
        PacketNumber(candidate)
    }
}

/// What stands before an inner packet, sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataHeader {
    pub flow: FlowTag,
    pub seq: FlowSeq,
    /// The sender's clock when it was sent.
    pub sent: Ticks,
}

impl DataHeader {
    /// Appends the eight bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.flow.0.to_be_bytes());
        put_u24(out, self.seq.0);
        put_u24(out, self.sent.0);
    }

    pub fn decode(r: &mut Reader<'_>) -> Result<DataHeader, Short> {
        Ok(DataHeader { flow: FlowTag(r.u16()?), seq: FlowSeq(r.u24()?), sent: Ticks(r.u24()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_number_grows_back_near_the_largest_seen() {
        for largest in [0u64, 5, 0xffff_fff0, 0x1_0000_0005, 0x7_ffff_ffff] {
            for ahead in [0u64, 1, 2, 1000, 1 << 20] {
                let n = largest + ahead;
                assert_eq!(expand(n as u32, PacketNumber(largest)), PacketNumber(n));
            }
            if largest > 100 {
                assert_eq!(
                    expand((largest - 100) as u32, PacketNumber(largest)),
                    PacketNumber(largest - 100)
                );
            }
        }
    }

    #[test]
    fn a_header_comes_back() {
        let mut kinds = vec![Kind::Control];
        for form in [Form::Whole, Form::Context, Form::Compressed] {
            for piece in [Piece::All, Piece::Head, Piece::Tail] {
                kinds.extend([Checksum::Partial, Checksum::Complete].map(|sum| Kind::Data(sum, form, piece)));
            }
        }
        for kind in kinds {
            let h = Header { kind, key_phase: true, channel: 0x0a0b0c, number_low: 77 };
            assert_eq!(Header::decode(&mut Reader::new(&h.encode())), Some(h));
        }
        assert_eq!(Header::decode(&mut Reader::new(&[1, 2, 3])), None);
        for kind in [TYPE_CONTROL | HEAD, TYPE_CONTROL | TAIL, TYPE_DATA | HEAD | TAIL] {
            assert_eq!(Header::decode(&mut Reader::new(&[kind, 0, 0, 1, 0, 0, 0, 1])), None);
        }
    }
}
