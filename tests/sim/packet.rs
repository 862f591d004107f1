//! Inner packets with real IPv4, TCP and UDP headers, so that the core classifies them as it would outside.
//!
//! Not for: payload, which is zeros. Side 0 is the router (10.9.0.2), side 1 the proxy (10.9.0.1).

use gobonding::units::{Checksum, Packet};
use std::sync::Arc;

pub const SYN: u8 = 0x02;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;
const TCP: u8 = 6;
const UDP: u8 = 17;
const SERVER_PORT: u16 = 5201;
const FIRST_PORT: u16 = 20_000;

/// The parts of a TCP header that the model uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    pub flow: u16,
    pub flags: u8,
    pub seq: u32,
    pub ack: u32,
    pub ts_val: u32,
    pub ts_ecr: u32,
    /// Selective acknowledgements, `sacks[..sack_count]`, first the newest or a duplicate's.
    pub sacks: [(u32, u32); 3],
    pub sack_count: u8,
    pub payload: u16,
    /// As in the header, in units of `WINDOW_UNIT`.
    pub window: u16,
}

/// What an inner packet turns out to be at the far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inner {
    Tcp(Segment),
    Udp { flow: u16, number: u32 },
}

/// Bytes that a window's one stands for.
pub const WINDOW_UNIT: u64 = 1 << WINDOW_SHIFT;
const WINDOW_SHIFT: u8 = 9;

/// Bytes of headers of a data segment: IPv4, TCP, time stamps.
pub const TCP_HEADERS: u16 = 52;

fn ip(protocol: u8, from: usize, len: u16, id: u16) -> [u8; 20] {
    let address = |side: usize| [10, 9, 0, if side == 0 { 2 } else { 1 }];
    let mut h = [0u8; 20];
    h[0] = 0x45;
    h[2..4].copy_from_slice(&len.to_be_bytes());
    h[4..6].copy_from_slice(&id.to_be_bytes());
    h[6] = 0x40;
    h[8] = 64;
    h[9] = protocol;
    h[12..16].copy_from_slice(&address(from));
    h[16..20].copy_from_slice(&address(1 - from));
    let sum = !folded(sum(&h));
    h[10..12].copy_from_slice(&sum.to_be_bytes());
    h
}

/// Sum of 16-bit words (RFC 1071).
fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(2).map(|c| u32::from(u16::from_be_bytes([c[0], c[1]]))).sum()
}

fn folded(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    ((once & 0xffff) + (once >> 16)) as u16
}

fn ports(from: usize, flow: u16) -> (u16, u16) {
    let client = FIRST_PORT + flow;
    if from == 0 {
        (client, SERVER_PORT)
    } else {
        (SERVER_PORT, client)
    }
}

fn packet(head: &[u8], len: usize) -> Packet {
    let mut bytes: Arc<[u8]> = Arc::from(&ZEROS[..len]);
    if let Some(b) = Arc::get_mut(&mut bytes) {
        b[..head.len()].copy_from_slice(head);
        // A partial checksum, as TUN hands it over: that of the pseudo header.
        let at = if head[9] == TCP { 20 + 16 } else { 20 + 6 };
        let pseudo = folded(sum(&head[12..20]) + u32::from(head[9]) + (len - 20) as u32);
        b[at..at + 2].copy_from_slice(&pseudo.to_be_bytes());
    }
    Packet { bytes, checksum: Checksum::Partial }
}

static ZEROS: [u8; 2048] = [0; 2048];

impl Segment {
    /// The packet that side `from` sends.
    pub fn packet(&self, from: usize) -> Packet {
        let sacks = usize::from(self.sack_count);
        let is_syn = self.flags & SYN != 0;
        let options = 12
            + if is_syn {
                4
            } else if sacks > 0 {
                4 + 8 * sacks
            } else {
                0
            };
        let len = 40 + options + usize::from(self.payload);
        let mut h = [0u8; 40 + 40];
        h[..20].copy_from_slice(&ip(TCP, from, len as u16, 0));
        let (source, target) = ports(from, self.flow);
        h[20..22].copy_from_slice(&source.to_be_bytes());
        h[22..24].copy_from_slice(&target.to_be_bytes());
        h[24..28].copy_from_slice(&self.seq.to_be_bytes());
        h[28..32].copy_from_slice(&self.ack.to_be_bytes());
        h[32] = (((20 + options) / 4) as u8) << 4;
        h[33] = self.flags;
        h[34..36].copy_from_slice(&self.window.to_be_bytes());
        h[40..44].copy_from_slice(&[1, 1, 8, 10]);
        h[44..48].copy_from_slice(&self.ts_val.to_be_bytes());
        h[48..52].copy_from_slice(&self.ts_ecr.to_be_bytes());
        if is_syn {
            h[52..56].copy_from_slice(&[1, 3, 3, WINDOW_SHIFT]);
        } else if sacks > 0 {
            h[52..56].copy_from_slice(&[1, 1, 5, 2 + 8 * self.sack_count]);
            for (i, s) in self.sacks.iter().take(sacks).enumerate() {
                h[56 + 8 * i..60 + 8 * i].copy_from_slice(&s.0.to_be_bytes());
                h[60 + 8 * i..64 + 8 * i].copy_from_slice(&s.1.to_be_bytes());
            }
        }
        packet(&h[..40 + options], len)
    }
}

/// A UDP packet of `payload` bytes with a number.
pub fn udp(from: usize, flow: u16, number: u32, payload: u16) -> Packet {
    let len = 28 + payload.max(4);
    let mut h = [0u8; 32];
    h[..20].copy_from_slice(&ip(UDP, from, len, number as u16));
    let (source, target) = ports(from, flow);
    h[20..22].copy_from_slice(&source.to_be_bytes());
    h[22..24].copy_from_slice(&target.to_be_bytes());
    h[24..26].copy_from_slice(&(len - 20).to_be_bytes());
    h[28..32].copy_from_slice(&number.to_be_bytes());
    packet(&h, usize::from(len))
}

fn u16_at(b: &[u8], i: usize) -> u16 {
    u16::from_be_bytes([b[i], b[i + 1]])
}

fn u32_at(b: &[u8], i: usize) -> u32 {
    u32::from_be_bytes([b[i], b[i + 1], b[i + 2], b[i + 3]])
}

/// Reads a packet that `Segment::packet` or `udp` made; `to` is the side it reached.
pub fn read(to: usize, packet: &Packet) -> Inner {
    let b = &packet.bytes;
    let flow = u16_at(b, if to == 1 { 20 } else { 22 }) - FIRST_PORT;
    if b[9] == UDP {
        return Inner::Udp { flow, number: u32_at(b, 28) };
    }
    let header = usize::from(b[32] >> 4) * 4;
    let sack_count = if header > 32 { ((header - 36) / 8) as u8 } else { 0 };
    let mut s = Segment {
        flow,
        flags: b[33],
        seq: u32_at(b, 24),
        ack: u32_at(b, 28),
        ts_val: u32_at(b, 44),
        ts_ecr: u32_at(b, 48),
        sacks: [(0, 0); 3],
        sack_count,
        window: u16_at(b, 34),
        payload: (b.len() - 20 - header) as u16,
    };
    for i in 0..usize::from(sack_count) {
        s.sacks[i] = (u32_at(b, 56 + 8 * i), u32_at(b, 60 + 8 * i));
    }
    Inner::Tcp(s)
}
