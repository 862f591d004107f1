//! What a packet is: its flow, its transport, its ECN bits. Read once, when it comes from TUN.
//!
//! Not for: deciding anything. A packet that does not parse has no flow and is not carried.
//!
//! 1. The IP header gives addresses, protocol, ECN and length; IPv6 extension headers are skipped, at most 8.
//! 2. Ports (TCP, UDP, SCTP, DCCP), the SPI (ESP, AH) or type and id (ICMP) tell flows of one pair apart;
//!    fragments have none of these behind the first, so all of them go by their datagram's id.
//! 3. A keyed hash (SipHash-1-3) makes the flow's 64-bit name; 16 bits of it go on the wire.

use super::stage::{stage_of, Stage};
use crate::units::FlowTag;
use crate::wire::reader::{Reader, Short};

/// Tells flows apart with a secret key, so that nobody outside can aim at collisions.
#[derive(Clone, Debug)]
pub struct Classifier {
    key: [u64; 2],
}

/// What the outer headers of an inner packet say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// 16 bits of `hash`.
    pub tag: FlowTag,
    /// Keyed hash of addresses, protocol and ports: two flows of one tag differ here.
    pub hash: u64,
    /// IANA protocol number of the transport (6 TCP, 17 UDP, 50 ESP, 1 and 58 ICMP).
    pub protocol: u8,
    pub ecn: Ecn,
    /// Six bits of RFC 2474.
    pub dscp: u8,
    /// Bytes of the packet as its own header counts them.
    pub length: u32,
    /// The TCP header, when it is there and whole.
    pub tcp: Option<Tcp>,
    /// What the packet means to its connection.
    pub stage: Stage,
}

/// What the queue needs of a TCP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Twelve bits: the reserved ones, then AE CWR ECE URG ACK PSH RST SYN FIN.
    pub flags: u16,
    pub seq: u32,
    pub ack: u32,
    /// As it stands in the header: the SYN's shift is not applied.
    pub window: u16,
    /// Bytes behind the TCP header.
    pub payload: u32,
    /// Whether there is no option but padding and time stamps.
    pub plain_options: bool,
    /// The shift that a SYN offers for the windows of its sender (RFC 7323).
    pub window_shift: Option<u8>,
    /// Whether nobody on the way should change the header: it is signed, or its window is that of several connections
    /// together (Multipath TCP).
    pub is_untouchable: bool,
    /// Where the TCP header begins in the packet.
    pub at: usize,
}

/// The ECN field of RFC 3168.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ecn {
    NotEct,
    Ect1,
    Ect0,
    Ce,
}

impl Classifier {
    pub fn new(key: [u64; 2]) -> Classifier {
        Classifier { key }
    }

    /// The flow of an inner packet; `None` when it is no whole IPv4 or IPv6 packet.
    pub fn classify(&self, packet: &[u8]) -> Option<Flow> {
        self.flow(packet, Direction::Own)
    }

    /// The same with the hash of the flow that answers it: what the other end sends.
    pub fn classify_for_answer(&self, packet: &[u8]) -> Option<Flow> {
        self.flow(packet, Direction::Answer)
    }

    fn flow(&self, packet: &[u8], direction: Direction) -> Option<Flow> {
        let mut name = [0u64; NAME_WORDS];
        let header = match packet.first()? >> 4 {
            4 => ipv4(packet, &mut name),
            6 => ipv6(packet, &mut name),
            _ => Err(Short),
        }
        .ok()?;
        let (mut tcp, mut stage) = (None, Stage::None);
        let port_word = match header.part {
            Part::Fragment(id) => u64::from(id),
            Part::Whole(transport) => {
                if header.protocol == TCP {
                    tcp = tcp_header(transport, header.length as usize - transport.len()).ok();
                }
                stage = stage_of(header.protocol, tcp.as_ref(), transport);
                ports(header.protocol, transport).unwrap_or(0)
            }
        };
        let is_fragment = u64::from(matches!(header.part, Part::Fragment(_)));
        let port_word = match direction {
            Direction::Own => port_word,
            Direction::Answer => {
                swap_ends(packet.first()? >> 4, &mut name);
                u64::from((port_word as u32).rotate_left(16))
            }
        };
        name[4] = u64::from(header.protocol) << 33 | is_fragment << 32 | port_word;
        let hash = sip13(self.key, &name);
        let ecn = match header.traffic_class & 3 {
            0 => Ecn::NotEct,
            1 => Ecn::Ect1,
            2 => Ecn::Ect0,
            _ => Ecn::Ce,
        };
        Some(Flow {
            tag: FlowTag(hash as u16),
            hash,
            protocol: header.protocol,
            ecn,
            dscp: header.traffic_class >> 2,
            length: header.length,
            tcp,
            stage,
        })
    }
}

impl Flow {
    pub fn is_tcp(&self) -> bool {
        self.protocol == TCP
    }

    /// A TCP segment without data that does nothing but acknowledge (SYN, FIN, RST do more).
    pub fn is_tcp_pure_ack(&self) -> bool {
        self.stage == Stage::Acks
    }
}

impl Tcp {
    /// Whether the segment says nothing but a number that a later one says better: no data, flag, SACK block
    /// or congestion echo. Such an acknowledgement may be thinned out.
    pub fn is_replaceable_ack(&self) -> bool {
        self.payload == 0 && self.flags == ACK && self.plain_options
    }
}

/// What a receiver needs of a packet: its transport's protocol number, and whether it is QUIC by its port
/// (UDP 443); `None` when it does not parse.
pub fn transport_of(packet: &[u8]) -> Option<(u8, bool)> {
    let mut name = [0u64; NAME_WORDS];
    let header = match packet.first()? >> 4 {
        4 => ipv4(packet, &mut name),
        6 => ipv6(packet, &mut name),
        _ => Err(Short),
    }
    .ok()?;
    let is_quic = match header.part {
        Part::Whole(transport) if header.protocol == UDP => {
            let ports = ports(UDP, transport).unwrap_or(0);
            ports >> 16 == QUIC_PORT || ports & 0xffff == QUIC_PORT
        }
        _ => false,
    };
    Some((header.protocol, is_quic))
}

/// Sets Congestion Experienced in an IPv4 or IPv6 header (RFC 3168); false when the packet is neither ECT nor CE.
pub fn mark_ce(packet: &mut [u8]) -> bool {
    match packet {
        [first, tos, ..] if *first >> 4 == 4 && *tos & 3 != 0 => {
            let old = u16::from_be_bytes([*first, *tos]);
            *tos |= 3;
            let new = u16::from_be_bytes([*first, *tos]);
            if let Some(sum) = packet.get_mut(10..12) {
                let [a, b] = [sum[0], sum[1]];
                sum.copy_from_slice(&changed_sum(u16::from_be_bytes([a, b]), old, new).to_be_bytes());
            }
            true
        }
        [first, second, ..] if *first >> 4 == 6 && *second & 0x30 != 0 => {
            *second |= 0x30;
            true
        }
        _ => false,
    }
}

/// An Internet checksum after one of its words changed (RFC 1624, equation 3).
fn changed_sum(sum: u16, old: u16, new: u16) -> u16 {
    let wide = u32::from(!sum) + u32::from(!old) + u32::from(new);
    let once = (wide & 0xffff) + (wide >> 16);
    !(((once & 0xffff) + (once >> 16)) as u16)
}

/// Exchanges source and destination address.
fn swap_ends(version: u8, name: &mut [u64; NAME_WORDS]) {
    match version {
        4 => name[1] = name[1].rotate_left(32),
        _ => {
            name.swap(0, 2);
            name.swap(1, 3);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Own,
    Answer,
}

struct IpHeader<'a> {
    protocol: u8,
    traffic_class: u8,
    length: u32,
    part: Part<'a>,
}

enum Part<'a> {
    Whole(&'a [u8]),
    Fragment(u32),
}

fn ipv4<'a>(packet: &'a [u8], name: &mut [u64; NAME_WORDS]) -> Result<IpHeader<'a>, Short> {
    let mut r = Reader::new(packet);
    let header_bytes = usize::from(r.u8()? & 15) * 4;
    let traffic_class = r.u8()?;
    let length = r.u16()?;
    let id = r.u16()?;
    let fragment = r.u16()? & 0x3fff;
    r.u8()?;
    let protocol = r.u8()?;
    r.u16()?;
    name[0] = 4;
    name[1] = r.u64()?;
    r.bytes(header_bytes.checked_sub(20).ok_or(Short)?)?;
    let rest = r.bytes(usize::from(length).checked_sub(header_bytes).ok_or(Short)?)?;
    let part = if fragment == 0 { Part::Whole(rest) } else { Part::Fragment(u32::from(id)) };
    Ok(IpHeader { protocol, traffic_class, length: u32::from(length), part })
}

fn ipv6<'a>(packet: &'a [u8], name: &mut [u64; NAME_WORDS]) -> Result<IpHeader<'a>, Short> {
    let mut r = Reader::new(packet);
    let first = r.u32()?;
    let payload = r.u16()?;
    let mut protocol = r.u8()?;
    r.u8()?;
    for word in name.iter_mut().take(4) {
        *word = r.u64()?;
    }
    let mut rest = Reader::new(r.bytes(usize::from(payload))?);
    let mut fragment = None;
    for _ in 0..EXTENSIONS_MAX {
        match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION | MOBILITY => {
                protocol = rest.u8()?;
                let units = usize::from(rest.u8()?);
                rest.bytes(units * 8 + 6)?;
            }
            FRAGMENT => {
                protocol = rest.u8()?;
                rest.u8()?;
                let place = rest.u16()? & 0xfff9;
                let id = rest.u32()?;
                // An "atomic" fragment (RFC 6946) is a whole packet.
                if place != 0 {
                    fragment = Some(id);
                    break;
                }
            }
            _ => break,
        }
    }
    let left = rest.remaining();
    let part = match fragment {
        Some(id) => Part::Fragment(id),
        None => Part::Whole(rest.bytes(left)?),
    };
    Ok(IpHeader { protocol, traffic_class: (first >> 20) as u8, length: 40 + u32::from(payload), part })
}

/// What tells flows between two hosts apart; 32 bits.
fn ports(protocol: u8, transport: &[u8]) -> Result<u64, Short> {
    let mut r = Reader::new(transport);
    Ok(match protocol {
        TCP | UDP | DCCP | SCTP | UDP_LITE | ESP => u64::from(r.u32()?),
        AUTH => {
            r.u32()?;
            u64::from(r.u32()?)
        }
        ICMP | ICMP6 => {
            let kind = r.u8()?;
            r.bytes(3)?;
            let is_echo = matches!((protocol, kind), (ICMP, 0 | 8) | (ICMP6, 128 | 129));
            let id = if is_echo { r.u16()? } else { 0 };
            u64::from(kind) << 16 | u64::from(id)
        }
        _ => 0,
    })
}

fn tcp_header(transport: &[u8], at: usize) -> Result<Tcp, Short> {
    let mut r = Reader::new(transport);
    r.u32()?;
    let seq = r.u32()?;
    let ack = r.u32()?;
    let word = r.u16()?;
    let window = r.u16()?;
    r.u32()?;
    let header_bytes = usize::from(word >> 12) * 4;
    let mut options = Reader::new(r.bytes(header_bytes.checked_sub(20).ok_or(Short)?)?);
    let payload = r.remaining() as u32;
    let (mut plain_options, mut window_shift, mut is_untouchable) = (true, None, false);
    while options.remaining() > 0 {
        match options.u8()? {
            OPTION_END => break,
            OPTION_PADDING => continue,
            kind => {
                plain_options &= kind == OPTION_TIME_STAMPS;
                is_untouchable |= matches!(kind, OPTION_MD5 | OPTION_AO | OPTION_MPTCP);
                let length = usize::from(options.u8()?);
                let value = options.bytes(length.checked_sub(2).ok_or(Short)?)?;
                if kind == OPTION_WINDOW_SHIFT {
                    window_shift = value.first().map(|shift| (*shift).min(WINDOW_SHIFT_MAX));
                }
            }
        }
    }
    let flags = word & 0xfff;
    Ok(Tcp { flags, seq, ack, window, payload, plain_options, window_shift, is_untouchable, at })
}

/// HTTP/3 and most else that speaks QUIC (RFC 9114).
pub(super) const QUIC_PORT: u64 = 443;

/// SipHash-1-3 (Aumasson, Bernstein) over whole words.
fn sip13(key: [u64; 2], words: &[u64; NAME_WORDS]) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    let length = (NAME_WORDS as u64 * 8) << 56;
    for &word in words.iter().chain(&[length]) {
        v[3] ^= word;
        sip_round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    (0..3).for_each(|_| sip_round(&mut v));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn sip_round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

/// Four words of addresses, one of protocol and ports.
const NAME_WORDS: usize = 5;
/// Extension headers looked through before a packet counts as of an unknown protocol. Source: a guess;
/// RFC 8200 section 4.1 lists six in its order.
const EXTENSIONS_MAX: usize = 8;

// IANA protocol numbers.
pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMP6: u8 = 58;
const HOP_BY_HOP: u8 = 0;
const DCCP: u8 = 33;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const ESP: u8 = 50;
const AUTH: u8 = 51;
const DESTINATION: u8 = 60;
const SCTP: u8 = 132;
const MOBILITY: u8 = 135;
const UDP_LITE: u8 = 136;

// TCP flags and options (RFC 9293, RFC 7323, RFC 2385, RFC 5925, RFC 8684).
pub(super) const FIN: u16 = 1;
pub(super) const SYN: u16 = 2;
pub(super) const RST: u16 = 4;
pub(super) const PSH: u16 = 8;
pub(super) const ACK: u16 = 16;
/// RFC 7323 section 2.3.
const WINDOW_SHIFT_MAX: u8 = 14;
const OPTION_END: u8 = 0;
const OPTION_PADDING: u8 = 1;
const OPTION_WINDOW_SHIFT: u8 = 3;
const OPTION_TIME_STAMPS: u8 = 8;
const OPTION_MD5: u8 = 19;
const OPTION_AO: u8 = 29;
const OPTION_MPTCP: u8 = 30;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ports_tell_flows_apart_and_a_key_changes_all_tags() {
        let c = Classifier::new([1, 2]);
        let a = c.classify(&tcp4(1000, 80, ACK, 5, &[], 0)).unwrap();
        let b = c.classify(&tcp4(1001, 80, ACK, 5, &[], 0)).unwrap();
        let again = c.classify(&tcp4(1000, 80, ACK, 9, &[], 700)).unwrap();
        assert_ne!(a.hash, b.hash);
        assert_eq!(a.hash, again.hash);
        assert_ne!(Classifier::new([3, 4]).classify(&tcp4(1000, 80, ACK, 5, &[], 0)).unwrap().hash, a.hash);
        assert_eq!(a.length, 40);
    }

    #[test]
    fn only_a_bare_acknowledgement_is_a_pure_ack() {
        let c = Classifier::new([1, 2]);
        let flow =
            |flags, options: &[u8], payload| c.classify(&tcp4(1, 2, flags, 77, options, payload)).unwrap();
        assert!(flow(ACK, &[], 0).is_tcp_pure_ack());
        assert!(!flow(ACK, &[], 1).is_tcp_pure_ack());
        assert!(!flow(ACK | SYN, &[], 0).is_tcp_pure_ack());
        assert_eq!(flow(ACK, &[], 0).tcp.unwrap().ack, 77);
        let stamps = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        assert!(flow(ACK, &stamps, 0).tcp.unwrap().is_replaceable_ack());
        let sack = [1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        assert!(!flow(ACK, &sack, 0).tcp.unwrap().is_replaceable_ack());
        let echo = 64;
        assert!(!flow(ACK | echo, &[], 0).tcp.unwrap().is_replaceable_ack());
    }

    #[test]
    fn fragments_of_one_datagram_are_one_flow_whatever_they_carry() {
        let c = Classifier::new([1, 2]);
        let mut first = udp4(1000, 53, 100);
        first[6] = 0x20;
        let mut second = udp4(7, 7, 100);
        second[7] = 13;
        let mut other = second.clone();
        other[5] = 9;
        let tag = |p: &[u8]| c.classify(p).unwrap().hash;
        assert_eq!(tag(&first), tag(&second));
        assert_ne!(tag(&second), tag(&other));
    }

    #[test]
    fn extension_headers_are_looked_through() {
        let c = Classifier::new([1, 2]);
        let plain = udp6(&[], UDP, 9);
        let options = udp6(&[UDP, 0, 1, 4, 0, 0, 0, 0], HOP_BY_HOP, 9);
        let (a, b) = (c.classify(&plain).unwrap(), c.classify(&options).unwrap());
        assert_eq!(a.hash, b.hash);
        assert_eq!(b.protocol, UDP);
        assert_eq!(transport_of(&options), Some((UDP, false)));
        let many: Vec<u8> = [DESTINATION, 0, 1, 4, 0, 0, 0, 0].repeat(20);
        assert_eq!(c.classify(&udp6(&many, DESTINATION, 9)).unwrap().protocol, DESTINATION);
    }

    #[test]
    fn a_packet_shorter_than_it_says_is_malformed() {
        let c = Classifier::new([1, 2]);
        let p = udp4(1, 2, 100);
        assert!(c.classify(&p[..p.len() - 1]).is_none());
        assert!(c.classify(&p[..10]).is_none());
        assert!(c.classify(&[]).is_none());
        assert!(c.classify(&[0x55; 60]).is_none());
    }

    #[test]
    fn marking_keeps_the_ipv4_checksum_right() {
        let mut p = udp4(1, 2, 10);
        assert!(!mark_ce(&mut p), "not ECT");
        p[1] = 0xb8 | 2;
        let sum = header_sum(&p);
        p[10..12].copy_from_slice(&sum.to_be_bytes());
        assert!(mark_ce(&mut p));
        assert_eq!(p[1], 0xb8 | 3);
        assert_eq!(u16::from_be_bytes([p[10], p[11]]), header_sum(&p));
        let mut six = udp6(&[], UDP, 9);
        six[1] |= 0x20;
        assert!(mark_ce(&mut six));
        assert_eq!(Classifier::new([1, 2]).classify(&six).unwrap().ecn, Ecn::Ce);
    }

    #[test]
    fn echo_requests_differ_by_their_id() {
        let c = Classifier::new([1, 2]);
        let a = ip4(ICMP, &[8, 0, 0, 0, 0, 1, 0, 1]);
        let b = ip4(ICMP, &[8, 0, 0, 0, 0, 2, 0, 1]);
        let b_next = ip4(ICMP, &[8, 0, 9, 9, 0, 2, 0, 2]);
        let tag = |p: &[u8]| c.classify(p).unwrap().hash;
        assert_ne!(tag(&a), tag(&b));
        assert_eq!(tag(&b), tag(&b_next));
    }

    #[test]
    fn both_directions_of_a_connection_find_each_other() {
        let c = Classifier::new([1, 2]);
        let there = tcp4(1000, 80, ACK, 5, &[], 0);
        let mut back = tcp4(80, 1000, ACK, 5, &[], 0);
        (back[15], back[19]) = (2, 1);
        assert_eq!(c.classify_for_answer(&there).unwrap().hash, c.classify(&back).unwrap().hash);
        assert_ne!(c.classify(&there).unwrap().hash, c.classify(&back).unwrap().hash);
        let mut six = udp6(&[], UDP, 9);
        let hash = c.classify(&six).unwrap().hash;
        let (source, target) = (six[8..24].to_vec(), six[24..40].to_vec());
        six[8..24].copy_from_slice(&target);
        six[24..40].copy_from_slice(&source);
        let ports = six[40..44].to_vec();
        six[40..44].copy_from_slice(&[&ports[2..], &ports[..2]].concat());
        assert_eq!(c.classify_for_answer(&six).unwrap().hash, hash);
    }

    proptest! {
        #[test]
        fn any_bytes_are_classified_without_a_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let c = Classifier::new([1, 2]);
            for first in [0x45, 0x4f, 0x60] {
                if let Some(b) = bytes.first_mut() {
                    *b = first;
                }
                if let Some(flow) = c.classify(&bytes) {
                    prop_assert!(flow.length as usize <= bytes.len());
                    prop_assert_eq!(Some(flow.protocol), transport_of(&bytes).map(|t| t.0));
                }
                mark_ce(&mut bytes);
            }
        }
    }

    /// An IPv4 packet from 10.0.0.1 to 10.0.0.2.
    pub(crate) fn ip4(protocol: u8, transport: &[u8]) -> Vec<u8> {
        let length = (20 + transport.len()) as u16;
        let mut p = vec![0x45, 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        p[2..4].copy_from_slice(&length.to_be_bytes());
        let sum = header_sum(&p);
        p[10..12].copy_from_slice(&sum.to_be_bytes());
        p.extend_from_slice(transport);
        p
    }

    /// A TCP segment; `options` must be a multiple of four bytes.
    pub(crate) fn tcp4(from: u16, to: u16, flags: u16, ack: u32, options: &[u8], payload: usize) -> Vec<u8> {
        let mut t = Vec::new();
        t.extend_from_slice(&from.to_be_bytes());
        t.extend_from_slice(&to.to_be_bytes());
        t.extend_from_slice(&[0; 4]);
        t.extend_from_slice(&ack.to_be_bytes());
        let word = ((5 + options.len() as u16 / 4) << 12) | flags;
        t.extend_from_slice(&word.to_be_bytes());
        t.extend_from_slice(&[0; 6]);
        t.extend_from_slice(options);
        t.resize(t.len() + payload, 0);
        ip4(TCP, &t)
    }

    /// A UDP datagram of `payload` bytes.
    pub(crate) fn udp4(from: u16, to: u16, payload: usize) -> Vec<u8> {
        let mut t = Vec::new();
        t.extend_from_slice(&from.to_be_bytes());
        t.extend_from_slice(&to.to_be_bytes());
        t.resize(8 + payload, 0);
        ip4(UDP, &t)
    }

    fn udp6(extensions: &[u8], first: u8, payload: usize) -> Vec<u8> {
        let mut p = vec![0x60, 0, 0, 0, 0, 0, first, 64];
        p.extend_from_slice(&[0xfd; 32]);
        p.extend_from_slice(extensions);
        p.extend_from_slice(&[0, 1, 0, 2, 0, 0, 0, 0]);
        p.resize(p.len() + payload, 0);
        let length = (p.len() - 40) as u16;
        p[4..6].copy_from_slice(&length.to_be_bytes());
        p
    }

    fn header_sum(p: &[u8]) -> u16 {
        let words = p[..20].chunks(2).enumerate().filter(|(i, _)| *i != 5);
        let sum: u32 = words.map(|(_, w)| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
        !((sum & 0xffff) + (sum >> 16)) as u16
    }
}
