//! Control messages beside a UDP train: its segment size and our own address.
//!
//! Not for: sending and receiving (`udp`). The layout is the kernel's `struct cmsghdr`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Control messages to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Control {
    bytes: [u8; ROOM],
    len: usize,
}

/// What the control messages of a received train said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub segment_size: Option<usize>,
    pub to: Option<IpAddr>,
}

impl Control {
    pub(crate) fn new() -> Control {
        Control { bytes: [0; ROOM], len: 0 }
    }

    /// The train is cut into datagrams of `size` bytes.
    pub(crate) fn push_segment_size(&mut self, size: u16) {
        self.push(libc::IPPROTO_UDP, UDP_SEGMENT, &size.to_ne_bytes());
    }

    /// The datagrams leave from the own address `ip`; on an IPv6 socket IPv4 goes mapped.
    pub(crate) fn push_source(&mut self, ip: IpAddr, is_v6_socket: bool) {
        match ip {
            // `in_pktinfo`: interface, local address, (destination).
            IpAddr::V4(ip) if !is_v6_socket => {
                let mut info = [0u8; 12];
                info[4..8].copy_from_slice(&ip.octets());
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            // `in6_pktinfo`: address, interface.
            ip => {
                let ip = match ip {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                    IpAddr::V6(ip) => ip,
                };
                let mut info = [0u8; 20];
                info[..16].copy_from_slice(&ip.octets());
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Adds one message; there is room for both kinds.
    fn push(&mut self, level: i32, kind: i32, data: &[u8]) {
        let Some(room) = self.bytes.get_mut(self.len..self.len + aligned(HEADER + data.len())) else {
            return;
        };
        room[..WORD].copy_from_slice(&(HEADER + data.len()).to_ne_bytes());
        room[WORD..WORD + 4].copy_from_slice(&level.to_ne_bytes());
        room[WORD + 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
        room[HEADER..HEADER + data.len()].copy_from_slice(data);
        self.len += aligned(HEADER + data.len());
    }
}

/// Reads the control messages that came with a train.
pub(crate) fn read(mut bytes: &[u8]) -> Told {
    let mut told = Told::default();
    while let Some((len, level, kind)) = header(bytes) {
        let Some(data) = bytes.get(HEADER..len) else { break };
        match (level, kind) {
            (libc::IPPROTO_UDP, UDP_GRO) => told.segment_size = number(data),
            // The kernel's `ipi_addr`, the header's destination, is the third member.
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                told.to = array::<4>(data.get(8..).unwrap_or_default()).map(|ip| Ipv4Addr::from(ip).into());
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                told.to = array::<16>(data).map(|ip| Ipv6Addr::from(ip).into());
            }
            _ => {}
        }
        bytes = bytes.get(aligned(len)..).unwrap_or_default();
    }
    told
}

fn header(bytes: &[u8]) -> Option<(usize, i32, i32)> {
    let len = usize::from_ne_bytes(array(bytes)?);
    let level = i32::from_ne_bytes(array(bytes.get(WORD..)?)?);
    let kind = i32::from_ne_bytes(array(bytes.get(WORD + 4..)?)?);
    (len >= HEADER).then_some((len, level, kind))
}

fn number(data: &[u8]) -> Option<usize> {
    usize::try_from(i32::from_ne_bytes(array(data)?)).ok().filter(|&n| n > 0)
}

fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.get(..N)?.try_into().ok()
}

fn aligned(len: usize) -> usize {
    len.div_ceil(WORD) * WORD
}

/// Linux `udp.h`.
pub(crate) const UDP_SEGMENT: i32 = 103;
pub(crate) const UDP_GRO: i32 = 104;
/// The kernel's `size_t`, also its alignment of messages.
const WORD: usize = size_of::<usize>();
const HEADER: usize = WORD + 8;
/// One segment size and one source address.
const ROOM: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_size_has_the_layout_of_the_c_library() {
        let mut control = Control::new();
        control.push_segment_size(1_400);
        assert_eq!(header(control.bytes()), Some((HEADER + 2, libc::IPPROTO_UDP, UDP_SEGMENT)));
        assert_eq!(control.bytes().len() % WORD, 0);
    }

    #[test]
    fn both_messages_fit_and_are_found() {
        let mut control = Control::new();
        control.push_source("fd00::1".parse().expect("an address"), true);
        control.push(libc::IPPROTO_UDP, UDP_GRO, &1_234i32.to_ne_bytes());
        let told = read(control.bytes());
        assert_eq!(told, Told { segment_size: Some(1_234), to: "fd00::1".parse().ok() });
    }

    #[test]
    fn broken_messages_end_the_reading() {
        assert_eq!(read(&[0xff; 24]), Told::default());
        assert_eq!(read(&[0; 24]), Told::default());
        assert_eq!(read(&[1, 2]), Told::default());
    }
}
