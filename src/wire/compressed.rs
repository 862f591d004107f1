//! The headers of an inner packet without what the peer knows already (RFC 5795 names the parts: context,
//! compressed packet).
//!
//! ```text
//! context's number and PSH 1 | what follows 1 | the fields that are not as predicted | payload
//! ```
//! A *context* is the header of an earlier packet of the flow that the peer has for certain. From it and from how many
//! packets lie between, each field is predicted:
//!
//! | field | bytes | predicted |
//! |---|---|---|
//! | traffic class | 1 | as in the context |
//! | IPv4 identification | 2 | one more for each packet; or, told by a bit, as in the context |
//! | TCP sequence number | 2 or 6 | behind the context's payload, and one like this packet's for each between |
//! | TCP acknowledgement number | 2 or 6 | as in the context |
//! | TCP flags | 1 | as in the context; PSH has a bit of its own |
//! | TCP window | 2 | as in the context |
//! | TCP time stamps | 2 + 2 | always there, as differences: equal packets make equal datagrams, for the kernel's trains |
//! | TCP or UDP checksum | 2 | the pseudo header's where it is partial; a complete one is always there |
//!
//! Lengths and the IPv4 header's checksum are computed. Everything else has to be equal, or the packet goes whole: so do
//! those with IPv4 options, IPv6 extension headers, TCP options other than time stamps that differ. A SYN is no context. A
//! full packet of a download over IPv4 has 6 or 8 bytes of headers instead of 52.
//!
//! Not for: when which context is the peer's (`tunnel/header_compression.rs`).

use super::reader::{Reader, Short};
use crate::units::{Checksum, Packet};
use std::sync::Arc;

/// The headers of one whole packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    header: Box<[u8]>,
    parts: Parts,
    payload: u32,
}

/// Bytes that are left of the headers of a full TCP segment at most, as a rule: the two at the beginning, time stamps,
/// checksum, and one field of two bytes: IPv4's identification, or how far the acknowledgement number has moved.
pub const fn full_header_len(has_stamps: bool) -> usize {
    2 + 2 + if has_stamps { 4 } else { 0 } + 2
}

/// Bits of a context's number.
pub const NUMBER_MASK: u8 = 0x7f;

/// Where things are in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parts {
    is_v4: bool,
    is_tcp: bool,
    transport: usize,
    end: usize,
    /// Of the two time stamps.
    stamps: Option<usize>,
}

/// What may differ from packet to packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fields {
    class: u8,
    id: u16,
    seq: u32,
    ack: u32,
    flags: u8,
    window: u16,
    stamps: (u32, u32),
    sum: u16,
}

impl Context {
    /// The headers of a packet, if such packets can be compressed.
    pub fn of(packet: &[u8]) -> Option<Context> {
        let parts = Parts::of(packet)?;
        let header = Box::from(packet.get(..parts.end)?);
        Some(Context { header, parts, payload: (packet.len() - parts.end) as u32 })
    }

    /// Bytes of the headers.
    pub fn header_len(&self) -> usize {
        self.header.len()
    }

    /// The packet that comes `steps` packets after the context's, compressed; `None` where it has to go whole.
    pub fn compress(&self, number: u8, steps: i32, packet: &Packet) -> Option<Packet> {
        let original = packet.bytes.get(..self.parts.end).filter(|_| packet.len() <= PACKET_MAX)?;
        let payload = packet.bytes.get(self.parts.end..)?;
        let fields = self.parts.read(original);
        let whole = self.rebuilt(&fields, payload.len());
        if whole.get(..self.parts.end)? != original {
            return None;
        }
        let mut head = Head::new();
        self.write(&fields, number, steps, (payload.len(), packet.checksum), &mut head)?;
        let (head, len) = (head.bytes(), head.len + payload.len());
        let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, len).collect();
        let (first, rest) = Arc::get_mut(&mut bytes)?.split_at_mut(head.len());
        first.copy_from_slice(head);
        rest.copy_from_slice(payload);
        Some(Packet { bytes, checksum: packet.checksum })
    }

    /// The packet that `compress` was given.
    pub fn decompress(&self, steps: i32, packet: &Packet) -> Result<Packet, Short> {
        let mut r = Reader::new(&packet.bytes);
        let (number, what) = (r.u8()?, r.u8()?);
        let own = self.parts.read(&self.header);
        let mut fields = own;
        fields.class = if what & CLASS != 0 { r.u8()? } else { own.class };
        fields.id = match what & (ID | ID_SAME) {
            0 => own.id.wrapping_add(steps as u16),
            ID => r.u16()?,
            _ => own.id,
        };
        let mut seq = Distance::Short(0);
        if self.parts.is_tcp {
            seq = if what & SEQ != 0 { Distance::read(&mut r)? } else { seq };
            let ack = if what & ACK != 0 { Distance::read(&mut r)? } else { Distance::Short(0) };
            fields.ack = ack.from(|by| own.ack.wrapping_add(by));
            fields.flags = if what & FLAGS != 0 { r.u8()? } else { own.flags };
            fields.flags ^= if number & PSH_DIFFERS != 0 { PSH } else { 0 };
            fields.window = if what & WINDOW != 0 { r.u16()? } else { own.window };
        }
        if self.parts.stamps.is_some() {
            let mut stamp = |old: u32| Ok(old.wrapping_add(i32::from(r.u16()? as i16) as u32));
            fields.stamps = (stamp(own.stamps.0)?, stamp(own.stamps.1)?);
        }
        let sum = if what & SUM != 0 { Some(r.u16()?) } else { None };
        let payload = r.rest();
        fields.seq = seq.from(|by| self.next_seq(own.seq, steps, payload.len()).wrapping_sub(by));
        fields.sum = sum.unwrap_or_else(|| self.pseudo_sum(payload.len()));
        let len = self.parts.end + payload.len();
        if len > PACKET_MAX {
            return Err(Short);
        }
        let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, len).collect();
        let all = Arc::get_mut(&mut bytes).ok_or(Short)?;
        let (head, rest) = all.split_at_mut(self.parts.end);
        head.copy_from_slice(self.rebuilt(&fields, payload.len()).get(..self.parts.end).ok_or(Short)?);
        rest.copy_from_slice(payload);
        Ok(Packet { bytes, checksum: packet.checksum })
    }

    /// Writes the compressed header; `None` where the time stamps are too far from the context's.
    fn write(
        &self,
        f: &Fields,
        number: u8,
        steps: i32,
        (payload, checksum): (usize, Checksum),
        head: &mut Head,
    ) -> Option<()> {
        let own = self.parts.read(&self.header);
        head.push(&[number & NUMBER_MASK, 0]);
        let mut what = 0;
        let mut differs = |head: &mut Head, bit: u8, differs: bool, bytes: &[u8]| {
            if differs {
                what |= bit;
                head.push(bytes);
            }
        };
        differs(head, CLASS, f.class != own.class, &[f.class]);
        let is_next = f.id == own.id.wrapping_add(steps as u16);
        differs(head, ID_SAME, !is_next && f.id == own.id, &[]);
        differs(head, ID, !is_next && f.id != own.id, &f.id.to_be_bytes());
        if self.parts.is_tcp {
            let next = self.next_seq(own.seq, steps, payload);
            let (bytes, len) = distance(next, f.seq, f.seq);
            differs(head, SEQ, f.seq != next, &bytes[..len]);
            let (bytes, len) = distance(f.ack, own.ack, f.ack);
            differs(head, ACK, f.ack != own.ack, &bytes[..len]);
            let changed = f.flags ^ own.flags;
            // The decompressor turns PSH around after this.
            differs(head, FLAGS, changed & !PSH != 0, &[f.flags ^ (changed & PSH)]);
            if changed & PSH != 0 {
                head.bytes[0] |= PSH_DIFFERS;
            }
            differs(head, WINDOW, f.window != own.window, &f.window.to_be_bytes());
        }
        if self.parts.stamps.is_some() {
            for (new, old) in [(f.stamps.0, own.stamps.0), (f.stamps.1, own.stamps.1)] {
                let difference = i16::try_from(new.wrapping_sub(old) as i32).ok()?;
                head.push(&difference.to_be_bytes());
            }
        }
        let is_known = checksum == Checksum::Partial && f.sum == self.pseudo_sum(payload);
        differs(head, SUM, !is_known, &f.sum.to_be_bytes());
        head.bytes[1] = what;
        Some(())
    }

    /// The sequence number of a packet with so much payload, if those between were like it.
    fn next_seq(&self, own: u32, steps: i32, payload: usize) -> u32 {
        let between = (steps as u32).wrapping_sub(1).wrapping_mul(payload as u32);
        own.wrapping_add(self.payload).wrapping_add(between)
    }

    /// The header with these fields, for so much payload; the rest is the context's.
    fn rebuilt(&self, f: &Fields, payload: usize) -> [u8; HEADER_MAX] {
        let mut h = [0; HEADER_MAX];
        let Parts { is_v4, is_tcp, transport, end, stamps } = self.parts;
        h[..end].copy_from_slice(&self.header);
        let total = (end + payload) as u16;
        if is_v4 {
            h[1] = f.class;
            put16(&mut h, 2, total);
            put16(&mut h, 4, f.id);
            put16(&mut h, 10, 0);
            let sum = !folded(summed(&h[..IPV4]));
            put16(&mut h, 10, sum);
        } else {
            h[0] = h[0] & 0xf0 | f.class >> 4;
            h[1] = h[1] & 0x0f | f.class << 4;
            put16(&mut h, 4, total - IPV6 as u16);
        }
        if is_tcp {
            put32(&mut h, transport + 4, f.seq);
            put32(&mut h, transport + 8, f.ack);
            h[transport + 13] = f.flags;
            put16(&mut h, transport + 14, f.window);
            put16(&mut h, transport + 16, f.sum);
        } else {
            put16(&mut h, transport + 4, total - transport as u16);
            put16(&mut h, transport + 6, f.sum);
        }
        if let Some(at) = stamps {
            put32(&mut h, at, f.stamps.0);
            put32(&mut h, at + 4, f.stamps.1);
        }
        h
    }

    /// What a partial checksum holds: the folded sum of the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1).
    fn pseudo_sum(&self, payload: usize) -> u16 {
        let Parts { is_v4, is_tcp, transport, end, .. } = self.parts;
        let addresses = if is_v4 { &self.header[12..20] } else { &self.header[8..40] };
        let length = (end - transport + payload) as u32;
        folded(summed(addresses) + u32::from(if is_tcp { TCP } else { UDP }) + length)
    }
}

/// How far a number is from where it is looked for, or the number itself.
enum Distance {
    Short(u32),
    Number(u32),
}

impl Distance {
    fn read(r: &mut Reader<'_>) -> Result<Distance, Short> {
        Ok(match r.u16()? {
            DISTANCE_LONG => Distance::Number(r.u32()?),
            short => Distance::Short(u32::from(short)),
        })
    }

    fn from(self, near: impl FnOnce(u32) -> u32) -> u32 {
        match self {
            Distance::Short(by) => near(by),
            Distance::Number(number) => number,
        }
    }
}

/// From `from` up to `to` in two bytes; where that is too far, a mark and `number`.
fn distance(to: u32, from: u32, number: u32) -> ([u8; 6], usize) {
    let mut bytes = [0xff; 6];
    match u16::try_from(to.wrapping_sub(from)).ok().filter(|short| *short != DISTANCE_LONG) {
        Some(short) => {
            put16(&mut bytes, 0, short);
            (bytes, 2)
        }
        None => {
            put32(&mut bytes, 2, number);
            (bytes, 6)
        }
    }
}

impl Parts {
    fn of(packet: &[u8]) -> Option<Parts> {
        let len = u16::try_from(packet.len()).ok()?;
        let (is_v4, protocol, transport) = match packet.first()? {
            0x45 => {
                let header = packet.get(..IPV4)?;
                let is_whole = u16_at(header, 2) == len && u16_at(header, 6) & 0x3fff == 0;
                (is_whole && folded(summed(header)) == 0xffff).then_some((true, header[9], IPV4))?
            }
            first if first >> 4 == 6 => {
                let header = packet.get(..IPV6)?;
                (usize::from(u16_at(header, 4)) + IPV6 == packet.len()).then_some((false, header[6], IPV6))?
            }
            _ => return None,
        };
        match protocol {
            TCP => {
                let tcp = packet.get(transport..transport + 20)?;
                let end = transport + usize::from(tcp[12] >> 4) * 4;
                let options = packet.get(transport + 20..end)?;
                let has_stamps = options.len() == 12 && options.starts_with(&STAMPS);
                let stamps = has_stamps.then_some(transport + 24);
                (tcp[13] & SYN == 0).then_some(Parts { is_v4, is_tcp: true, transport, end, stamps })
            }
            UDP => {
                let udp = packet.get(transport..transport + 8)?;
                let is_whole = usize::from(u16_at(udp, 4)) + transport == packet.len();
                let end = transport + 8;
                is_whole.then_some(Parts { is_v4, is_tcp: false, transport, end, stamps: None })
            }
            _ => None,
        }
    }

    /// The fields of a header that is laid out like this, and at least as long.
    fn read(&self, h: &[u8]) -> Fields {
        let Parts { is_v4, is_tcp, transport: t, stamps, .. } = *self;
        let mut fields = match is_v4 {
            true => Fields { class: h[1], id: u16_at(h, 4), ..Fields::default() },
            false => Fields { class: h[0] << 4 | h[1] >> 4, ..Fields::default() },
        };
        if is_tcp {
            (fields.seq, fields.ack) = (u32_at(h, t + 4), u32_at(h, t + 8));
            (fields.flags, fields.window, fields.sum) = (h[t + 13], u16_at(h, t + 14), u16_at(h, t + 16));
        } else {
            fields.sum = u16_at(h, t + 6);
        }
        fields.stamps = stamps.map_or((0, 0), |at| (u32_at(h, at), u32_at(h, at + 4)));
        fields
    }
}

/// A compressed header being written.
struct Head {
    bytes: [u8; COMPRESSED_MAX],
    len: usize,
}

impl Head {
    fn new() -> Head {
        Head { bytes: [0; COMPRESSED_MAX], len: 0 }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

fn u16_at(b: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([b[at], b[at + 1]])
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

fn put16(b: &mut [u8], at: usize, value: u16) {
    b[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

fn put32(b: &mut [u8], at: usize, value: u32) {
    b[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

/// Sum of 16-bit words (RFC 1071) of an even number of bytes, at most a header's.
fn summed(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(2).map(|c| u32::from(u16_at(c, 0))).sum()
}

fn folded(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    ((once & 0xffff) + (once >> 16)) as u16
}

/// UDP packets smaller than this go whole, bytes: they may be a call's, which is looked at on the way
/// (`channel/calls.rs`). A guess: voice has up to 300, a full packet of QUIC 1,200 and more.
pub const UDP_MIN: usize = 600;

const CLASS: u8 = 0x01;
const ID_SAME: u8 = 0x02;
const ID: u8 = 0x04;
const SEQ: u8 = 0x08;
const ACK: u8 = 0x10;
const FLAGS: u8 = 0x20;
const WINDOW: u8 = 0x40;
const SUM: u8 = 0x80;
/// In the byte of the context's number.
const PSH_DIFFERS: u8 = 0x80;

const IPV4: usize = 20;
const IPV6: usize = 40;
const TCP: u8 = 6;
const UDP: u8 = 17;
const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
/// Two paddings, then the option of RFC 7323: how nearly everybody writes it.
const STAMPS: [u8; 4] = [1, 1, 8, 10];
/// IPv6 and the longest TCP header.
const HEADER_MAX: usize = IPV6 + 60;
/// All fields.
const COMPRESSED_MAX: usize = 2 + 1 + 2 + 6 + 6 + 1 + 2 + 4 + 2;
/// A distance that two bytes cannot say: the number follows.
const DISTANCE_LONG: u16 = 0xffff;
const PACKET_MAX: usize = 65_535;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_packet_of_a_download_keeps_six_bytes_of_its_headers() {
        let (first, next) = (tcp(7, 1_000, 50), tcp(8, 1_000 + 1_388, 50));
        let context = Context::of(&first.bytes).unwrap();
        let compressed = context.compress(5, 1, &next).unwrap();
        assert_eq!(compressed.len(), next.len() - 52 + 6);
        assert_eq!(context.decompress(1, &compressed).unwrap().bytes, next.bytes);
    }

    #[test]
    fn what_the_context_does_not_predict_is_carried() {
        let first = tcp(7, 1_000, 50);
        let context = Context::of(&first.bytes).unwrap();
        for (at, value) in [(1, 3), (4, 0xab), (25, 9), (29, 9), (33, 0x11), (35, 1), (36, 0xcc), (46, 1)] {
            let mut bytes = tcp(8, 1_000 + 1_388, 50).bytes.to_vec();
            bytes[at] = value;
            fix_ipv4(&mut bytes);
            let changed = Packet { bytes: Arc::from(bytes), checksum: Checksum::Partial };
            let compressed = context.compress(5, 1, &changed).unwrap_or_else(|| panic!("byte {at}"));
            assert_eq!(context.decompress(1, &compressed).unwrap().bytes, changed.bytes, "byte {at}");
        }
    }

    #[test]
    fn another_connection_a_longer_header_and_a_wrong_checksum_go_whole() {
        let context = Context::of(&tcp(7, 1_000, 50).bytes).unwrap();
        for (at, value) in
            [(0, 0x46), (6, 0), (8, 63), (9, 17), (12, 9), (20, 9), (32, 0x90), (39, 1), (43, 5)]
        {
            let mut bytes = tcp(8, 2_388, 50).bytes.to_vec();
            bytes[at] = value;
            fix_ipv4(&mut bytes);
            let other = Packet { bytes: Arc::from(bytes), checksum: Checksum::Partial };
            assert!(context.compress(5, 1, &other).is_none(), "byte {at}");
        }
        let mut bytes = tcp(8, 2_388, 50).bytes.to_vec();
        bytes[11] ^= 1;
        assert!(context.compress(5, 1, &Packet::complete(&bytes)).is_none());
        assert!(Context::of(&bytes).is_none());
    }

    #[test]
    fn a_full_segment_of_a_download_has_no_more_left_than_is_promised() {
        for (v6, stamps) in [(false, false), (false, true), (true, false), (true, true)] {
            let segment = |id: u16, seq: u32, ack: u32, payload: usize| {
                let fields = (0, id, seq, ack, 0x10, 500);
                Packet { checksum: Checksum::Complete, ..made(v6, false, stamps, fields, payload) }
            };
            // The context may be an acknowledgement alone, or a short record.
            for first in [0, 200, 1_400] {
                let context = Context::of(&segment(0, 1_000, 50, first).bytes).unwrap();
                let seq = 1_000 + first as u32 + 6 * 1_400;
                let left =
                    |id, ack| context.compress(5, 7, &segment(id, seq, ack, 1_400)).map(|p| p.len() - 1_400);
                let most = full_header_len(stamps);
                assert_eq!(left(7, 50), Some(most - 2), "all as predicted");
                assert_eq!(left(7, 50 + 60_000), Some(most), "something was sent the other way");
                assert_eq!(left(900, 50), Some(if v6 { most - 2 } else { most }), "a host's counter");
            }
        }
    }

    #[test]
    fn stamps_too_far_away_make_a_packet_whole() {
        let context = Context::of(&tcp(7, 1_000, 50).bytes).unwrap();
        assert!(context.compress(5, 1, &tcp(7 + 32_767, 2_388, 50)).is_some());
        assert!(context.compress(5, 1, &tcp(7 + 32_768, 2_388, 50)).is_none());
    }

    #[test]
    fn a_compressed_packet_may_not_grow_beyond_what_ip_can_say() {
        let context = Context::of(&tcp(7, 1_000, 50).bytes).unwrap();
        let long = Packet { bytes: Arc::from(vec![0; 65_535]), checksum: Checksum::Partial };
        assert_eq!(context.decompress(1, &long).err(), Some(Short));
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(
            v6: bool, udp: bool, stamps: bool, partial: bool,
            fields: (u8, u16, u32, u32, u8, u16), moved: (u8, u16, u32, u32, u8, u16), steps in -40_000i32..40_000,
            payload in 0usize..1_400, next in 0usize..1_400,
        ) {
            let first = made(v6, udp, stamps, fields, payload);
            let mut second = made(v6, udp, stamps, moved, next);
            if !partial {
                second.checksum = Checksum::Complete;
            }
            let context = Context::of(&first.bytes);
            if let Some(compressed) = context.as_ref().and_then(|c| c.compress(1, steps, &second)) {
                let back = context.as_ref().unwrap().decompress(steps, &compressed).unwrap();
                prop_assert_eq!(&back.bytes, &second.bytes);
                prop_assert_eq!(back.checksum, second.checksum);
            } else {
                // A SYN is no context; all else here fits.
                prop_assert!(!udp && fields.4 & SYN != 0);
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..120), of in proptest::collection::vec(any::<u8>(), 0..120),
            steps: i32, v6: bool, udp: bool, stamps: bool,
        ) {
            let packet = Packet::complete(&bytes);
            let good = made(v6, udp, stamps, (0, 0, 0, 0, 0, 0), 10);
            for context in [Context::of(&of), Context::of(&good.bytes)].into_iter().flatten() {
                let _ = context.compress(3, steps, &packet);
                let _ = context.decompress(steps, &packet);
            }
        }
    }

    /// A full data segment over IPv4 with time stamps.
    fn tcp(stamp: u32, seq: u32, ack: u32) -> Packet {
        let mut p = made(false, false, true, (0, 0, seq, ack, 0x10, 500), 1_388).bytes.to_vec();
        put32(&mut p, 44, stamp);
        Packet { bytes: Arc::from(p), checksum: Checksum::Partial }
    }

    /// A packet with these: traffic class, id, sequence and acknowledgement number, flags, window.
    fn made(v6: bool, udp: bool, stamps: bool, f: (u8, u16, u32, u32, u8, u16), payload: usize) -> Packet {
        let transport = if v6 { IPV6 } else { IPV4 };
        let header = if udp { 8 } else { 20 + if stamps { 12 } else { 0 } };
        let mut p = vec![7; transport + header + payload];
        let len = p.len();
        if v6 {
            p[..2].copy_from_slice(&[0x60 | f.0 >> 4, f.0 << 4]);
            put16(&mut p, 4, (len - IPV6) as u16);
            p[6] = if udp { UDP } else { TCP };
        } else {
            p[..2].copy_from_slice(&[0x45, f.0]);
            put16(&mut p, 2, len as u16);
            put16(&mut p, 4, f.1);
            put16(&mut p, 6, 0x4000);
            p[9] = if udp { UDP } else { TCP };
            fix_ipv4(&mut p);
        }
        if udp {
            put16(&mut p, transport + 4, (len - transport) as u16);
        } else {
            put32(&mut p, transport + 4, f.2);
            put32(&mut p, transport + 8, f.3);
            p[transport + 12..transport + 14].copy_from_slice(&[(header as u8 / 4) << 4, f.4]);
            put16(&mut p, transport + 14, f.5);
            if stamps {
                p[transport + 20..transport + 24].copy_from_slice(&STAMPS);
            }
        }
        if let Some(context) = Context::of(&p) {
            let sum = context.pseudo_sum(payload);
            put16(&mut p, transport + if udp { 6 } else { 16 }, sum);
        }
        Packet { bytes: Arc::from(p), checksum: Checksum::Partial }
    }

    fn fix_ipv4(p: &mut [u8]) {
        put16(p, 10, 0);
        let sum = !folded(summed(&p[..IPV4]));
        put16(p, 10, sum);
    }
}
