//! The header before each packet of a TUN device, and splitting the kernel's super-packets.
//!
//! Not for: reading the device (`tun`), putting neighbours together (`merge`).
//!
//! A super-packet is up to 64 KB of one flow under one header. Splitting: 1. keep the header, 2. before
//! each segment's payload write that header (over the payload before it, which is copied out by then),
//! 3. set length, identification, sequence and flags, 4. leave the transport checksum at the sum of the
//! segment's own pseudo header: whoever puts it on a wire completes it.

use std::sync::Arc;

use crate::io::checksum::{self, read16, write16, Layout, Protocol, Version};
use crate::units::{Checksum, Packet};

/// `struct virtio_net_hdr` (Linux `virtio_net.h`), in the host's byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct VnetHeader {
    pub flags: u8,
    pub gso_type: u8,
    pub hdr_len: u16,
    pub gso_size: u16,
    pub csum_start: u16,
    pub csum_offset: u16,
}

/// What is wrong with a packet from the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// Shorter than its headers say.
    Short,
    /// A kind of super-packet that was not asked for.
    UnknownKind(u8),
}

impl VnetHeader {
    /// Bytes on the device.
    pub(crate) const LEN: usize = 10;
    /// Flag: the checksum is partial.
    pub(crate) const NEEDS_CSUM: u8 = 1;
    /// Kinds of super-packets.
    pub(crate) const GSO_NONE: u8 = 0;
    pub(crate) const GSO_TCPV4: u8 = 1;
    pub(crate) const GSO_TCPV6: u8 = 4;
    pub(crate) const GSO_UDP_L4: u8 = 5;
    /// Added to a TCP kind: the first segment carries CWR.
    pub(crate) const GSO_ECN: u8 = 0x80;

    /// Reads the header from the start of what the device gave.
    pub(crate) fn decode(bytes: &[u8]) -> Option<VnetHeader> {
        let bytes: &[u8; VnetHeader::LEN] = bytes.get(..VnetHeader::LEN)?.try_into().ok()?;
        let word = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        Some(VnetHeader {
            flags: bytes[0],
            gso_type: bytes[1],
            hdr_len: word(2),
            gso_size: word(4),
            csum_start: word(6),
            csum_offset: word(8),
        })
    }

    /// The bytes that precede a packet written to the device.
    pub(crate) fn encode(self) -> [u8; VnetHeader::LEN] {
        let mut bytes = [self.flags, self.gso_type, 0, 0, 0, 0, 0, 0, 0, 0];
        let words = [self.hdr_len, self.gso_size, self.csum_start, self.csum_offset];
        for (to, word) in bytes[2..].chunks_exact_mut(2).zip(words) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// The header of a packet with a partial checksum.
    pub(crate) fn partial(layout: Layout) -> VnetHeader {
        VnetHeader {
            flags: VnetHeader::NEEDS_CSUM,
            csum_start: layout.transport as u16,
            csum_offset: layout.protocol.checksum_offset() as u16,
            ..VnetHeader::default()
        }
    }
}

/// Appends the packets in `frame` to `out` and tells how many; `frame` is scratch afterwards.
pub(crate) fn split(header: VnetHeader, frame: &mut [u8], out: &mut Vec<Packet>) -> Result<usize, Malformed> {
    let protocol = match header.gso_type & !VnetHeader::GSO_ECN {
        VnetHeader::GSO_NONE => {
            out.push(single(header, frame)?);
            return Ok(1);
        }
        VnetHeader::GSO_TCPV4 | VnetHeader::GSO_TCPV6 => Protocol::Tcp,
        VnetHeader::GSO_UDP_L4 => Protocol::Udp,
        other => return Err(Malformed::UnknownKind(other)),
    };
    let layout = super_layout(header, protocol, frame).ok_or(Malformed::Short)?;
    let size = usize::from(header.gso_size);
    if size == 0 || layout.payload > MAX_HEADERS {
        return Err(Malformed::Short);
    }
    let mut template = [0u8; MAX_HEADERS];
    let template = &mut template[..layout.payload];
    template.copy_from_slice(&frame[..layout.payload]);
    let end = frame.len();
    let count = (end - layout.payload).div_ceil(size).max(1);
    for nth in 0..count {
        let begin = nth * size;
        let segment = &mut frame[begin..end.min(begin + layout.payload + size)];
        segment[..layout.payload].copy_from_slice(template);
        let place = Place { nth, size, is_last: nth + 1 == count };
        patch(segment, layout, place);
        out.push(finish(segment, layout));
    }
    Ok(count)
}

/// Place of a segment in its super-packet.
#[derive(Clone, Copy)]
struct Place {
    nth: usize,
    size: usize,
    is_last: bool,
}

fn single(header: VnetHeader, frame: &mut [u8]) -> Result<Packet, Malformed> {
    if header.flags & VnetHeader::NEEDS_CSUM == 0 {
        return Ok(Packet::complete(frame));
    }
    let (start, offset) = (usize::from(header.csum_start), usize::from(header.csum_offset));
    let carried = Layout::of(frame)
        .is_some_and(|layout| layout.transport == start && layout.checksum_at() == start + offset);
    if carried {
        return Ok(Packet { bytes: Arc::from(&*frame), checksum: Checksum::Partial });
    }
    // A checksum deeper inside (a tunnel, an extension header): the far end would not find it again.
    if start + offset + 2 > frame.len() {
        return Err(Malformed::Short);
    }
    checksum::complete(frame, start, start + offset);
    Ok(Packet::complete(frame))
}

fn super_layout(header: VnetHeader, protocol: Protocol, frame: &[u8]) -> Option<Layout> {
    let version = match frame.first()? >> 4 {
        4 => Version::V4,
        6 => Version::V6,
        _ => return None,
    };
    let transport = if header.flags & VnetHeader::NEEDS_CSUM != 0 {
        usize::from(header.csum_start)
    } else if version == Version::V4 {
        usize::from(frame.first()? & 15) * 4
    } else {
        40
    };
    Layout::with_transport(frame, version, protocol, transport)
}

/// Makes the copied header that of segment `place`.
fn patch(segment: &mut [u8], layout: Layout, place: Place) {
    let len = segment.len();
    match layout.version {
        Version::V4 => {
            write16(segment, 2, len as u16);
            let id = read16(segment, 4).unwrap_or_default().wrapping_add(place.nth as u16);
            write16(segment, 4, id);
            checksum::write_ipv4(segment, usize::from(segment[0] & 15) * 4);
        }
        Version::V6 => write16(segment, 4, (len - 40) as u16),
    }
    match layout.protocol {
        Protocol::Tcp => patch_tcp(&mut segment[layout.transport..], place),
        Protocol::Udp => write16(segment, layout.transport + 4, (len - layout.transport) as u16),
    }
}

fn patch_tcp(tcp: &mut [u8], place: Place) {
    let seq = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
    let seq = seq.wrapping_add((place.nth * place.size) as u32);
    tcp[4..8].copy_from_slice(&seq.to_be_bytes());
    if !place.is_last {
        tcp[13] &= !(FIN | PSH);
    }
    if place.nth > 0 {
        tcp[13] &= !CWR;
    }
}

/// Sets the pseudo-header sum, or the whole checksum where the far end would not find the place.
fn finish(segment: &mut [u8], layout: Layout) -> Packet {
    let pseudo = layout.pseudo_sum(segment, segment.len() - layout.transport);
    write16(segment, layout.checksum_at(), pseudo);
    if Layout::of(segment) == Some(layout) {
        return Packet { bytes: Arc::from(&*segment), checksum: Checksum::Partial };
    }
    layout.complete(segment);
    Packet::complete(segment)
}

/// Flags of a TCP header.
pub(crate) const FIN: u8 = 0x01;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const CWR: u8 = 0x80;

/// Longest headers that are split: IPv6 with 144 bytes of extensions and a full TCP header; the kernel
/// gives up much earlier.
const MAX_HEADERS: usize = 244;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_device() {
        let header = VnetHeader {
            flags: 1,
            gso_type: 4,
            hdr_len: 60,
            gso_size: 1340,
            csum_start: 40,
            csum_offset: 16,
        };
        assert_eq!(VnetHeader::decode(&header.encode()), Some(header));
        assert_eq!(VnetHeader::decode(&[0; 9]), None);
    }

    #[test]
    fn a_60_kb_tcp_packet_becomes_segments_that_a_wire_accepts() {
        for version in [Version::V4, Version::V6] {
            let (header, mut frame) =
                super_packet(version, Protocol::Tcp, 60_001, 1_360, FIN | PSH | ACK | CWR);
            let original = frame.clone();
            let mut out = Vec::new();
            assert_eq!(split(header, &mut frame, &mut out), Ok(45));
            let mut payload = Vec::new();
            for (nth, packet) in out.iter().enumerate() {
                let layout = Layout::of(&packet.bytes).expect("a whole packet");
                let tcp = &packet.bytes[layout.transport..];
                let seq = u32::from_be_bytes(tcp[4..8].try_into().expect("four bytes"));
                assert_eq!(seq, SEQ.wrapping_add(nth as u32 * 1_360));
                let expected = match nth {
                    0 => ACK | CWR,
                    44 => FIN | PSH | ACK,
                    _ => ACK,
                };
                assert_eq!(tcp[13], expected, "flags of segment {nth}");
                assert_eq!(packet.checksum, Checksum::Partial);
                let mut completed = packet.bytes.to_vec();
                layout.complete(&mut completed);
                assert!(layout.is_right(&completed), "checksum of segment {nth}");
                if version == Version::V4 {
                    assert_eq!(read16(&completed, 4), Some(ID.wrapping_add(nth as u16)));
                    let mut again = completed.clone();
                    checksum::write_ipv4(&mut again, 20);
                    assert_eq!(again, completed, "IPv4 header checksum");
                }
                payload.extend_from_slice(&packet.bytes[layout.payload..]);
            }
            assert_eq!(out.last().map(Packet::len), Some(60_001 - 44 * 1_360 + original.len() - 60_001));
            assert!(payload == original[original.len() - 60_001..], "payload in order");
        }
    }

    #[test]
    fn udp_segments_carry_their_own_length() {
        for version in [Version::V4, Version::V6] {
            let (header, mut frame) = super_packet(version, Protocol::Udp, 2_500, 1_200, 0);
            let mut out = Vec::new();
            assert_eq!(split(header, &mut frame, &mut out), Ok(3));
            for (packet, len) in out.iter().zip([1_200u16, 1_200, 100]) {
                let layout = Layout::of(&packet.bytes).expect("a whole packet");
                assert_eq!(read16(&packet.bytes, layout.transport + 4), Some(len + 8));
                let mut completed = packet.bytes.to_vec();
                layout.complete(&mut completed);
                assert!(layout.is_right(&completed));
            }
        }
    }

    #[test]
    fn a_segment_size_below_the_header_size_is_no_obstacle() {
        let (header, mut frame) = super_packet(Version::V6, Protocol::Tcp, 100, 7, ACK);
        let original = frame.clone();
        let mut out = Vec::new();
        assert_eq!(split(header, &mut frame, &mut out), Ok(15));
        let payload: Vec<u8> = out.iter().flat_map(|p| p.bytes[p.len().min(72)..].to_vec()).collect();
        assert!(payload == original[72..]);
    }

    #[test]
    fn a_checksum_that_the_far_end_cannot_find_is_completed_here() {
        // UDP in IPv4 in IPv4: the checksum start points into the inner packet.
        let (_, inner) = super_packet(Version::V4, Protocol::Udp, 90, 0, 0);
        let mut frame = vec![0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 4, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        frame.extend_from_slice(&inner);
        let len = frame.len() as u16;
        write16(&mut frame, 2, len);
        let header = VnetHeader { flags: 1, csum_start: 40, csum_offset: 6, ..VnetHeader::default() };
        let mut out = Vec::new();
        assert_eq!(split(header, &mut frame, &mut out), Ok(1));
        assert_eq!(out[0].checksum, Checksum::Complete);
        let inner = &out[0].bytes[20..];
        assert!(Layout::of(inner).expect("inner packet").is_right(inner));
    }

    #[test]
    fn nonsense_is_refused() {
        let mut out = Vec::new();
        let tcp = VnetHeader { gso_type: 1, gso_size: 1_000, ..VnetHeader::default() };
        assert_eq!(split(tcp, &mut [0x45; 30], &mut out), Err(Malformed::Short));
        let fragments = VnetHeader { gso_type: 3, ..tcp };
        assert_eq!(split(fragments, &mut [0x45; 60], &mut out), Err(Malformed::UnknownKind(3)));
        let beyond = VnetHeader { flags: 1, csum_start: 60_000, csum_offset: 16, ..VnetHeader::default() };
        assert_eq!(split(beyond, &mut [0x45; 60], &mut out), Err(Malformed::Short));
        assert!(out.is_empty());
    }

    /// First sequence number of the made-up packets; wraps soon.
    pub(crate) const SEQ: u32 = 0xffff_f000;
    const ID: u16 = 0xfff0;

    /// A super-packet as the kernel hands it over, TCP with 12 bytes of options.
    pub(crate) fn super_packet(
        version: Version,
        protocol: Protocol,
        payload: usize,
        size: u16,
        flags: u8,
    ) -> (VnetHeader, Vec<u8>) {
        let transport_header: Vec<u8> = match protocol {
            Protocol::Tcp => {
                let mut tcp = vec![0x9c, 0x40, 0x14, 0x51];
                tcp.extend_from_slice(&SEQ.to_be_bytes());
                tcp.extend_from_slice(&[0, 0, 0x12, 0x34, 0x80, flags, 0x20, 0x00, 0, 0, 0, 0]);
                tcp.extend_from_slice(&[1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
                tcp
            }
            Protocol::Udp => {
                let len = ((payload + 8) as u16).to_be_bytes();
                vec![0x9c, 0x40, 0x01, 0xbb, len[0], len[1], 0, 0]
            }
        };
        let body = transport_header.len() + payload;
        let mut frame = match version {
            Version::V4 => {
                let mut ip = vec![0x45, 2, 0, 0, 0, 0, 0x40, 0, 64, protocol.number(), 0, 0];
                ip.extend_from_slice(&[10, 1, 0, 1, 10, 1, 0, 2]);
                write16(&mut ip, 2, (20 + body) as u16);
                write16(&mut ip, 4, ID);
                checksum::write_ipv4(&mut ip, 20);
                ip
            }
            Version::V6 => {
                let mut ip = vec![0x60, 0x01, 0x23, 0x45, 0, 0, protocol.number(), 64];
                ip.extend_from_slice(&[0xfd; 16]);
                ip.extend_from_slice(&[0xfc; 16]);
                write16(&mut ip, 4, body as u16);
                ip
            }
        };
        frame.extend_from_slice(&transport_header);
        frame.extend((0..payload).map(|n| (n * 7 + n / 256) as u8));
        let layout = Layout::of(&frame).expect("a whole packet");
        let pseudo = layout.pseudo_sum(&frame, body);
        write16(&mut frame, layout.checksum_at(), pseudo);
        let gso_type = match (version, protocol) {
            (Version::V4, Protocol::Tcp) => VnetHeader::GSO_TCPV4,
            (Version::V6, Protocol::Tcp) => VnetHeader::GSO_TCPV6,
            (_, Protocol::Udp) => VnetHeader::GSO_UDP_L4,
        };
        let ecn = if flags & CWR != 0 { VnetHeader::GSO_ECN } else { 0 };
        let hdr_len = layout.payload as u16;
        (
            VnetHeader { gso_type: gso_type | ecn, gso_size: size, hdr_len, ..VnetHeader::partial(layout) },
            frame,
        )
    }
}
