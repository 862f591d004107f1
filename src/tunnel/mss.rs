//! Clamps the segment size that a TCP SYN offers, so that a full inner segment fits into one datagram once its headers
//! are compressed. What is larger all the same goes in two (`split.rs`).
//!
//! With time stamps 1442 where a datagram carries 1440 bytes: 1430 bytes of payload, ten of headers.
//! 100 kB are 70 such segments, what a new connection sends in three round trips (RFC 6928); at 1388 they were 73.
//! The price: where a server refuses the time stamps that a client offers, all its full segments go in two.
//! Not for: anything but SYNs; other packets are not touched.

use crate::units::{Checksum, Packet};
use crate::wire::compressed::full_header_len;
use std::sync::Arc;

/// Lowers the MSS option of a TCP SYN to what fits TUN devices of `mtu` and datagrams with `room` for an inner packet;
/// true when the packet was changed.
///
/// The checksum is updated as RFC 1624 has it. Malformed packets are left as they are.
pub fn clamp(packet: &mut Packet, mtu: u16, room: u16) -> bool {
    let Some((tcp, headers)) = tcp_of(&packet.bytes) else { return false };
    let Some(at) = option(&packet.bytes, tcp, MSS) else { return false };
    let has_stamps = option(&packet.bytes, tcp, STAMPS).is_some();
    // The MSS leaves out the headers, but not the options (RFC 6691).
    let options = if has_stamps { STAMPS_LEN } else { 0 };
    let compressed = full_header_len(has_stamps) as u16;
    let mss_max = mtu.saturating_sub(headers).min((room + options).saturating_sub(compressed));
    let Some(old) = u16_at(&packet.bytes, at) else { return false };
    if old <= mss_max {
        return false;
    }
    let Some(sum) = u16_at(&packet.bytes, tcp + TCP_CHECKSUM) else { return false };
    let mut bytes = packet.bytes.to_vec();
    put_u16(&mut bytes, at, mss_max);
    if packet.checksum == Checksum::Complete {
        // An option at an odd offset lies across two words of the sum: its bytes swap places in it.
        let (from, to) = match (at - tcp) % 2 {
            0 => (old, mss_max),
            _ => (old.swap_bytes(), mss_max.swap_bytes()),
        };
        put_u16(&mut bytes, tcp + TCP_CHECKSUM, updated(sum, from, to));
    }
    packet.bytes = Arc::from(bytes);
    true
}

/// Whether a packet is a TCP SYN.
pub fn is_syn(packet: &[u8]) -> bool {
    tcp_of(packet).is_some()
}

/// Where the TCP header of a SYN begins, and the bytes of IP and TCP header that MSS excludes.
fn tcp_of(bytes: &[u8]) -> Option<(usize, u16)> {
    let (tcp, headers) = match bytes.first()? >> 4 {
        4 if *bytes.get(9)? == TCP && u16_at(bytes, 6)? & 0x1fff == 0 => {
            (usize::from(bytes.first()? & 0xf) * 4, 40)
        }
        6 if *bytes.get(6)? == TCP => (40, 60),
        _ => return None,
    };
    (bytes.get(tcp + 13)? & SYN != 0).then_some((tcp, headers))
}

/// Offset of the value of an option.
fn option(bytes: &[u8], tcp: usize, (kind, len): (u8, u8)) -> Option<usize> {
    let end = tcp + usize::from(bytes.get(tcp + 12)? >> 4) * 4;
    let mut at = tcp + 20;
    while at < end {
        match *bytes.get(at)? {
            0 => return None,
            1 => at += 1,
            k if k == kind && *bytes.get(at + 1)? == len && at + usize::from(len) <= end => {
                return Some(at + 2)
            }
            _ => at += usize::from(*bytes.get(at + 1)?).max(2),
        }
    }
    None
}

/// RFC 1624 equation 3.
pub(super) fn updated(sum: u16, old: u16, new: u16) -> u16 {
    let mut s = u32::from(!sum) + u32::from(!old) + u32::from(new);
    while s > 0xffff {
        s = (s & 0xffff) + (s >> 16);
    }
    !(s as u16)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes(two.try_into().ok()?))
}

fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(two) = bytes.get_mut(at..at + 2) {
        two.copy_from_slice(&value.to_be_bytes());
    }
}

const TCP: u8 = 6;
const SYN: u8 = 2;
const TCP_CHECKSUM: usize = 16;
/// Kind and length of options (RFC 9293, RFC 7323).
const MSS: (u8, u8) = (2, 4);
const STAMPS: (u8, u8) = (8, 10);
/// Bytes of the time stamps with their padding, as everybody sends them.
const STAMPS_LEN: u16 = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syn_offers_no_more_than_fits() {
        for shift in [false, true] {
            let mut p = syn(1460, shift);
            assert!(clamp(&mut p, 1500, 1440));
            let at = if shift { 43 } else { 42 };
            assert_eq!(u16_at(&p.bytes, at), Some(1434), "no time stamps: six bytes of headers");
            assert_eq!(sum(&p.bytes[20..]), 0xffff, "checksum still right");
            assert!(clamp(&mut p, 1440, 1440));
            assert_eq!(u16_at(&p.bytes, at), Some(1400), "what the device takes");
        }
    }

    #[test]
    fn with_time_stamps_there_is_room_for_their_difference() {
        let mut bytes = syn(1460, false).bytes.to_vec();
        bytes[44..].fill(1);
        bytes.extend([8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1]);
        bytes[32] = 10 << 4;
        let mut p = Packet::complete(&bytes);
        assert!(clamp(&mut p, 1500, 1440));
        // 1430 bytes of payload, twelve of options, ten of headers.
        assert_eq!(u16_at(&p.bytes, 42), Some(1442));
    }

    #[test]
    fn smaller_offers_and_other_packets_stay() {
        let mut p = syn(1200, false);
        assert!(!clamp(&mut p, 1500, 1440));
        let mut bytes = syn(1460, false).bytes.to_vec();
        bytes[33] = 0x10;
        assert!(!clamp(&mut Packet::complete(&bytes), 1500, 1440));
    }

    #[test]
    fn cut_packets_are_left_alone() {
        let whole = syn(1460, true).bytes;
        for n in 0..whole.len() {
            clamp(&mut Packet::complete(&whole[..n]), 1500, 1440);
        }
    }

    /// A SYN without pseudo header sum (addresses are zero, the sum over the segment is made 0xffff).
    fn syn(mss: u16, shift: bool) -> Packet {
        let mut b = vec![0x45, 0, 0, 48, 0, 0, 0, 0, 64, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        b.extend([0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 7 << 4, SYN, 1, 1, 0, 0, 0, 0]);
        if shift {
            b.push(1);
        }
        b.extend([2, 4]);
        b.extend(mss.to_be_bytes());
        b.resize(48, 0);
        let s = !sum(&b[20..]);
        put_u16(&mut b, 36, s);
        Packet::complete(&b)
    }

    fn sum(bytes: &[u8]) -> u16 {
        let mut s: u32 =
            bytes.chunks(2).map(|c| u32::from(c[0]) << 8 | u32::from(*c.get(1).unwrap_or(&0))).sum();
        while s > 0xffff {
            s = (s & 0xffff) + (s >> 16);
        }
        s as u16
    }
}
