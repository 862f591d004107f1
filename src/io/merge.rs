//! Putting neighbours of one flow together, so that the kernel walks its stack once for up to 64 KB.
//!
//! Not for: packets of a flow with others between them (there is no flow table), writing (`tun`).
//!
//! The receiver must not be able to tell a merged packet from its parts: merged is only what the kernel
//! would split again into the same packets (the rules of its own generic receive offload).

use crate::io::checksum::{self, read16, write16, Layout, Protocol, Version};
use crate::io::offload::{VnetHeader, ACK, PSH};
use crate::units::{Checksum, Packet};

/// The first packets of a slice, fit for one write.
#[derive(Debug)]
pub(crate) struct Train {
    /// Packets in it, at least 2.
    pub count: usize,
    /// What precedes it on the device.
    pub vnet: VnetHeader,
    /// Each packet's payload begins here.
    pub payload: usize,
    head: [u8; MAX_HEAD],
}

/// Largest number of packets in a train: what 64 KB of full-size packets need, and a limit of the kernel
/// for UDP (64, `UDP_MAX_SEGMENTS` before Linux 6.9).
pub(crate) const MAX_COUNT: usize = 64;

impl Train {
    /// The longest train at the head of `packets`; `None` when the first packet goes alone.
    pub(crate) fn at_head_of(packets: &[Packet], udp: UdpMerge) -> Option<Train> {
        let (first, rest) = packets.split_first()?;
        let layout = mergeable(first, udp)?;
        let size = first.len() - layout.payload;
        let mut bytes = first.len();
        let mut count = 1;
        let mut is_open = !is_pushed(first, layout);
        for packet in rest.iter().take(MAX_COUNT - 1) {
            let more = packet.len().saturating_sub(layout.payload);
            if !is_open
                || more > size
                || bytes + more > MAX_BYTES
                || !follows(first, packet, layout, count, udp)
            {
                break;
            }
            // Only with a neighbour is the first packet worth the look at its checksum.
            if !is_trusted(packet, layout) || (count == 1 && !is_trusted(first, layout)) {
                break;
            }
            bytes += more;
            count += 1;
            is_open = more == size && !is_pushed(packet, layout);
        }
        if count < 2 {
            return None;
        }
        let last = packets.get(count - 1)?;
        Some(Train::new(first, last, layout, count, bytes))
    }

    /// The headers of the whole train; the payloads follow.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head[..self.payload]
    }

    fn new(first: &Packet, last: &Packet, layout: Layout, count: usize, bytes: usize) -> Train {
        let mut head = [0u8; MAX_HEAD];
        let headers = &mut head[..layout.payload];
        headers.copy_from_slice(&first.bytes[..layout.payload]);
        match layout.version {
            Version::V4 => {
                write16(headers, 2, bytes as u16);
                checksum::write_ipv4(headers, layout.transport);
            }
            Version::V6 => write16(headers, 4, (bytes - layout.transport) as u16),
        }
        match layout.protocol {
            Protocol::Tcp => headers[layout.transport + 13] = last.bytes[layout.transport + 13],
            Protocol::Udp => write16(headers, layout.transport + 4, (bytes - layout.transport) as u16),
        }
        let pseudo = layout.pseudo_sum(headers, bytes - layout.transport);
        write16(headers, layout.checksum_at(), pseudo);
        let gso_type = match (layout.protocol, layout.version) {
            (Protocol::Tcp, Version::V4) => VnetHeader::GSO_TCPV4,
            (Protocol::Tcp, Version::V6) => VnetHeader::GSO_TCPV6,
            (Protocol::Udp, _) => VnetHeader::GSO_UDP_L4,
        };
        let gso_size = (first.len() - layout.payload) as u16;
        let hdr_len = layout.payload as u16;
        let vnet = VnetHeader { gso_type, gso_size, hdr_len, ..VnetHeader::partial(layout) };
        Train { count, vnet, payload: layout.payload, head }
    }
}

/// Whether the device takes merged UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UdpMerge {
    Taken,
    Refused,
}

/// The layout of a packet that may begin or continue a train.
fn mergeable(packet: &Packet, udp: UdpMerge) -> Option<Layout> {
    let bytes = &packet.bytes;
    let layout = Layout::of(bytes)?;
    let fits = match layout.protocol {
        Protocol::Tcp => {
            let flags = *bytes.get(layout.transport + 13)?;
            flags & !PSH == ACK
        }
        Protocol::Udp => {
            let len = usize::from(read16(bytes, layout.transport + 4)?);
            udp == UdpMerge::Taken && len == bytes.len() - layout.transport
        }
    };
    let ip_options = layout.version == Version::V4 && layout.transport != 20;
    (fits && !ip_options && layout.payload < bytes.len()).then_some(layout)
}

/// The kernel will compute a new checksum. A complete one must be right, or damage would be hidden.
fn is_trusted(packet: &Packet, layout: Layout) -> bool {
    match packet.checksum {
        Checksum::Partial => true,
        Checksum::Complete => layout.is_right(&packet.bytes),
    }
}

fn is_pushed(packet: &Packet, layout: Layout) -> bool {
    layout.protocol == Protocol::Tcp && packet.bytes[layout.transport + 13] & PSH != 0
}

/// Whether `packet` is number `nth` after `first` and differs only where it must.
fn follows(first: &Packet, packet: &Packet, layout: Layout, nth: usize, udp: UdpMerge) -> bool {
    let (a, b) = (&first.bytes[..], &packet.bytes[..]);
    if b.len() <= layout.payload {
        return false;
    }
    let same = |from: usize, to: usize| a[from..to] == b[from..to];
    let ip_fits = match layout.version {
        // Version, length, type of service; flags, time to live, protocol; addresses.
        Version::V4 => same(0, 2) && same(6, 10) && same(12, 20) && has_next_id(a, b, nth),
        // Version, class, label; next header, hop limit, addresses.
        Version::V6 => same(0, 4) && same(6, 40),
    };
    let t = layout.transport;
    let transport_fits = match layout.protocol {
        // Ports; acknowledgement, header length; window; urgent pointer and options.
        Protocol::Tcp => {
            let step = (nth * (a.len() - layout.payload)) as u32;
            let next = sequence(a, t).wrapping_add(step);
            same(t, t + 4)
                && same(t + 8, t + 13)
                && same(t + 14, t + 16)
                && same(t + 18, layout.payload)
                && sequence(b, t) == next
        }
        Protocol::Udp => same(t, t + 4),
    };
    ip_fits && transport_fits && mergeable(packet, udp) == Some(layout)
}

/// Identifications must count up, except that unfragmentable packets do not need any (RFC 6864).
fn has_next_id(first: &[u8], packet: &[u8], nth: usize) -> bool {
    let unfragmentable = first[6] & 0x40 != 0;
    unfragmentable || read16(packet, 4) == read16(first, 4).map(|id| id.wrapping_add(nth as u16))
}

fn sequence(packet: &[u8], transport: usize) -> u32 {
    let four = packet.get(transport + 4..transport + 8).and_then(|s| s.try_into().ok());
    four.map_or(0, u32::from_be_bytes)
}

/// Longest header of a train: IPv6 and a full TCP header.
const MAX_HEAD: usize = 100;
/// Largest IPv4 packet; the same limit keeps IPv6 below its own.
const MAX_BYTES: usize = 65_535;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::offload::tests::super_packet;
    use crate::io::offload::{split, FIN};
    use proptest::prelude::*;

    #[test]
    fn merging_gives_back_what_was_split() {
        for (version, flags) in
            [(Version::V4, ACK), (Version::V4, ACK | PSH), (Version::V6, ACK), (Version::V6, ACK | PSH)]
        {
            let (header, frame) = super_packet(version, Protocol::Tcp, 60_001, 1_360, flags);
            let packets = cut(header, &frame);
            assert_eq!(joined(&packets), vec![(45, header, frame)]);
        }
    }

    #[test]
    fn complete_checksums_merge_when_they_are_right() {
        let (header, frame) = super_packet(Version::V4, Protocol::Tcp, 3_000, 1_000, ACK);
        let mut packets = cut(header, &frame);
        packets[1] = completed(&packets[1]);
        assert_eq!(joined(&packets), vec![(3, header, frame)]);
        let mut damaged = packets[1].bytes.to_vec();
        damaged[900] ^= 1;
        packets[1] = Packet::complete(&damaged);
        assert!(Train::at_head_of(&packets, UdpMerge::Taken).is_none());
        assert!(Train::at_head_of(&packets[1..], UdpMerge::Taken).is_none());
    }

    #[test]
    fn a_closing_flow_is_not_merged_past_its_end() {
        let (header, frame) = super_packet(Version::V6, Protocol::Tcp, 3_000, 1_000, ACK | FIN);
        let packets = cut(header, &frame);
        assert_eq!(Train::at_head_of(&packets, UdpMerge::Taken).map(|t| t.count), Some(2));
    }

    #[test]
    fn a_push_ends_a_train() {
        let (header, frame) = super_packet(Version::V4, Protocol::Tcp, 4_000, 1_000, ACK);
        let mut packets = cut(header, &frame);
        let mut pushed = packets[1].bytes.to_vec();
        pushed[33] |= PSH;
        packets[1].bytes = pushed.into();
        assert_eq!(Train::at_head_of(&packets, UdpMerge::Taken).map(|t| t.count), Some(2));
    }

    #[test]
    fn any_other_difference_ends_a_train() {
        let (header, frame) = super_packet(Version::V4, Protocol::Tcp, 2_000, 1_000, ACK);
        let packets = cut(header, &frame);
        // Type of service, time to live, address, port, sequence, acknowledgement, window, option.
        for place in [1, 8, 15, 21, 27, 31, 35, 51] {
            let mut other = packets[1].bytes.to_vec();
            other[place] ^= 4;
            let pair = [packets[0].clone(), Packet { bytes: other.into(), checksum: Checksum::Partial }];
            assert!(Train::at_head_of(&pair, UdpMerge::Taken).is_none(), "byte {place}");
        }
    }

    #[test]
    fn fragmentable_packets_need_consecutive_identifications() {
        let (header, mut frame) = super_packet(Version::V4, Protocol::Tcp, 2_000, 1_000, ACK);
        frame[6] = 0;
        let mut packets = cut(header, &frame);
        assert!(Train::at_head_of(&packets, UdpMerge::Taken).is_some());
        let mut other = packets[1].bytes.to_vec();
        other[5] ^= 8;
        packets[1].bytes = other.into();
        assert!(Train::at_head_of(&packets, UdpMerge::Taken).is_none());
    }

    #[test]
    fn udp_merges_only_where_the_device_takes_it() {
        for version in [Version::V4, Version::V6] {
            let (header, frame) = super_packet(version, Protocol::Udp, 3_100, 1_000, 0);
            let packets = cut(header, &frame);
            assert_eq!(joined(&packets), vec![(4, header, frame)]);
            assert!(Train::at_head_of(&packets, UdpMerge::Refused).is_none());
        }
    }

    #[test]
    fn a_missing_udp_checksum_is_not_invented() {
        let (header, frame) = super_packet(Version::V4, Protocol::Udp, 2_000, 1_000, 0);
        let packets: Vec<Packet> = cut(header, &frame)
            .iter()
            .map(|packet| {
                let mut bytes = packet.bytes.to_vec();
                write16(&mut bytes, 26, 0);
                Packet::complete(&bytes)
            })
            .collect();
        assert!(Train::at_head_of(&packets, UdpMerge::Taken).is_none());
    }

    proptest! {
        #[test]
        fn split_and_merge_lose_nothing(
            v6: bool, tcp: bool, payload in 1usize..20_000, size in 1u16..3_000, flags in 0u8..=255,
        ) {
            let version = if v6 { Version::V6 } else { Version::V4 };
            let protocol = if tcp { Protocol::Tcp } else { Protocol::Udp };
            let (header, frame) = super_packet(version, protocol, payload, size, flags);
            let packets = cut(header, &frame);
            let trains = joined(&packets);
            prop_assert_eq!(trains.iter().map(|(count, _, _)| count).sum::<usize>(), packets.len());
            let again: Vec<Packet> = trains.iter().flat_map(|(_, header, frame)| cut(*header, frame)).collect();
            prop_assert_eq!(again.len(), packets.len());
            for (a, b) in again.iter().zip(&packets) {
                prop_assert_eq!(&a.bytes, &b.bytes);
                prop_assert_eq!(a.checksum, b.checksum);
            }
        }

        #[test]
        fn no_bytes_make_merging_panic(packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..90), 0..4)) {
            let packets: Vec<Packet> = packets
                .iter()
                .map(|bytes| Packet { bytes: bytes.as_slice().into(), checksum: Checksum::Partial })
                .collect();
            let _ = Train::at_head_of(&packets, UdpMerge::Taken);
        }
    }

    fn cut(header: VnetHeader, frame: &[u8]) -> Vec<Packet> {
        let mut out = Vec::new();
        split(header, &mut frame.to_vec(), &mut out).expect("a sound super-packet");
        out
    }

    fn completed(packet: &Packet) -> Packet {
        let mut bytes = packet.bytes.to_vec();
        Layout::of(&bytes).expect("a whole packet").complete(&mut bytes);
        Packet::complete(&bytes)
    }

    /// What the device would be given: (packets, header, frame).
    fn joined(packets: &[Packet]) -> Vec<(usize, VnetHeader, Vec<u8>)> {
        let mut rest = packets;
        let mut out = Vec::new();
        while let Some(first) = rest.first() {
            let Some(train) = Train::at_head_of(rest, UdpMerge::Taken) else {
                let vnet = Layout::of(&first.bytes).map_or(VnetHeader::default(), VnetHeader::partial);
                out.push((1, vnet, first.bytes.to_vec()));
                rest = &rest[1..];
                continue;
            };
            let (now, later) = rest.split_at(train.count);
            let mut frame = train.head().to_vec();
            for packet in now {
                frame.extend_from_slice(&packet.bytes[train.payload..]);
            }
            out.push((train.count, train.vnet, frame));
            rest = later;
        }
        out
    }
}
