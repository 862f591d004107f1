//! Internet checksums (RFC 1071) and where a packet carries them.
//!
//! Not for: deciding who completes a checksum (`offload`, `merge`, `tun`).

/// Protocols whose checksums may stay partial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

/// IP versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V4,
    V6,
}

/// Where the parts of a packet lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub version: Version,
    pub protocol: Protocol,
    /// First byte of the transport header.
    pub transport: usize,
    /// First byte of the payload.
    pub payload: usize,
}

impl Protocol {
    /// Distance of the checksum from the transport header's first byte.
    pub(crate) fn checksum_offset(self) -> usize {
        match self {
            Protocol::Tcp => 16,
            Protocol::Udp => 6,
        }
    }

    /// Number in an IP header.
    pub(crate) fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }

    fn from_number(number: u8) -> Option<Protocol> {
        match number {
            6 => Some(Protocol::Tcp),
            17 => Some(Protocol::Udp),
            _ => None,
        }
    }
}

impl Layout {
    /// The layout of a whole TCP or UDP packet: no fragment, no IPv6 extension header, exact length.
    pub(crate) fn of(packet: &[u8]) -> Option<Layout> {
        let (version, number, transport) = match packet.first()? >> 4 {
            4 => {
                let whole =
                    read16(packet, 6)? & 0x3fff == 0 && usize::from(read16(packet, 2)?) == packet.len();
                let ip_len = usize::from(packet.first()? & 15) * 4;
                (whole && ip_len >= 20).then_some((Version::V4, *packet.get(9)?, ip_len))?
            }
            6 => {
                let whole = usize::from(read16(packet, 4)?) + 40 == packet.len();
                whole.then_some((Version::V6, *packet.get(6)?, 40))?
            }
            _ => return None,
        };
        Layout::with_transport(packet, version, Protocol::from_number(number)?, transport)
    }

    /// The layout of a packet whose transport header is known to begin at `transport`.
    pub(crate) fn with_transport(
        packet: &[u8],
        version: Version,
        protocol: Protocol,
        transport: usize,
    ) -> Option<Layout> {
        let ip_min = if version == Version::V4 { 20 } else { 40 };
        let header = match protocol {
            Protocol::Tcp => usize::from(packet.get(transport + 12)? >> 4) * 4,
            Protocol::Udp => 8,
        };
        let header_min = if protocol == Protocol::Tcp { 20 } else { 8 };
        let payload = transport + header;
        let fits = transport >= ip_min && header >= header_min && payload <= packet.len();
        fits.then_some(Layout { version, protocol, transport, payload })
    }

    /// Place of the transport checksum.
    pub(crate) fn checksum_at(self) -> usize {
        self.transport + self.protocol.checksum_offset()
    }

    /// Folded sum of the pseudo header for `transport_len` bytes of transport header and payload.
    pub(crate) fn pseudo_sum(self, packet: &[u8], transport_len: usize) -> u16 {
        let addresses = match self.version {
            Version::V4 => packet.get(12..20),
            Version::V6 => packet.get(8..40),
        };
        let addresses = wide_sum(addresses.unwrap_or_default());
        fold(addresses + u64::from(self.protocol.number()) + transport_len as u64)
    }

    /// Turns the pseudo-header sum in the checksum field into the checksum.
    pub(crate) fn complete(self, packet: &mut [u8]) {
        complete(packet, self.transport, self.checksum_at());
    }

    /// Whether the complete checksum is right. An absent one (UDP over IPv4) proves nothing: false.
    pub(crate) fn is_right(self, packet: &[u8]) -> bool {
        let body = packet.get(self.transport..).unwrap_or_default();
        let absent = self.protocol == Protocol::Udp && read16(packet, self.checksum_at()) == Some(0);
        let pseudo = self.pseudo_sum(packet, body.len());
        !absent && fold(wide_sum(body) + u64::from(pseudo)) == 0xffff
    }
}

/// Completes the checksum at `field` over everything from `start` on; the field holds the sum of what
/// lies outside (the pseudo header).
pub(crate) fn complete(packet: &mut [u8], start: usize, field: usize) {
    let checksum = !fold(wide_sum(packet.get(start..).unwrap_or_default()));
    // A computed zero is sent as its other form: zero means "none" in UDP and equals 0xffff in TCP.
    write16(packet, field, if checksum == 0 { 0xffff } else { checksum });
}

/// Writes the checksum of an IPv4 header of `header_len` bytes.
pub(crate) fn write_ipv4(packet: &mut [u8], header_len: usize) {
    write16(packet, 10, 0);
    let checksum = !fold(wide_sum(packet.get(..header_len).unwrap_or_default()));
    write16(packet, 10, checksum);
}

/// Two bytes as a number.
pub(crate) fn read16(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([*two.first()?, *two.get(1)?]))
}

/// Writes a number as two bytes; outside of `bytes` nothing happens.
pub(crate) fn write16(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(two) = bytes.get_mut(at..at + 2) {
        two.copy_from_slice(&value.to_be_bytes());
    }
}

/// Sum of big-endian 16-bit words, not folded to the end; an odd last byte counts as the upper half.
fn wide_sum(bytes: &[u8]) -> u64 {
    // Ones' complement sums do not mind the byte order (RFC 1071, section 2 B): add native words of
    // 32 bits, swap at the end. 64 KB of them cannot overflow 64 bits.
    let mut words = bytes.chunks_exact(4);
    let mut sum = 0u64;
    for word in &mut words {
        sum += u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
    }
    let mut last = [0u8; 4];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    u64::from(u16::from_be(fold(sum + u64::from(u32::from_ne_bytes(last)))))
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_1071_sums_up() {
        assert_eq!(wide_sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    }

    #[test]
    fn an_ipv4_header_gets_its_known_checksum() {
        // A header with a checksum that is known from many text books.
        let mut header =
            [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];
        write_ipv4(&mut header, 20);
        assert_eq!(read16(&header, 10), Some(0xb861));
    }

    proptest! {
        #[test]
        fn the_fast_sum_is_the_slow_sum(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let slow: u64 = bytes.chunks(2).map(|c| u64::from(c[0]) << 8 | u64::from(*c.get(1).unwrap_or(&0))).sum();
            prop_assert_eq!(fold(wide_sum(&bytes)), fold(slow));
        }

        #[test]
        fn no_bytes_make_a_layout_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(layout) = Layout::of(&bytes) {
                prop_assert!(layout.payload <= bytes.len());
            }
        }
    }
}
