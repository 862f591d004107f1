//! Inner addresses: who sends an inner packet, and to whom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The source address of an IP packet; `None` when it is none.
pub fn source(packet: &[u8]) -> Option<IpAddr> {
    address(packet, 12, 8)
}

/// The destination address of an IP packet; `None` when it is none.
pub fn destination(packet: &[u8]) -> Option<IpAddr> {
    address(packet, 16, 24)
}

fn address(packet: &[u8], v4: usize, v6: usize) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => {
            let b: [u8; 4] = packet.get(v4..v4 + 4)?.try_into().ok()?;
            Some(IpAddr::V4(Ipv4Addr::from(b)))
        }
        6 => {
            let b: [u8; 16] = packet.get(v6..v6 + 16)?.try_into().ok()?;
            Some(IpAddr::V6(Ipv6Addr::from(b)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_packets_have_no_address() {
        assert_eq!(source(&[]), None);
        assert_eq!(destination(&[0x45; 19]), None);
        assert_eq!(source(&[0x45; 20]), Some("69.69.69.69".parse().unwrap()));
    }
}
