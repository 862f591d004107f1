//! Bytes of rtnetlink messages (Linux `netlink.h`, `rtnetlink.h`; all in the host's byte order).
//!
//! Not for: sockets (`netlink`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A request under construction.
#[derive(Debug)]
pub(crate) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// A request of `kind` with its fixed part `body` (its size a multiple of 4).
    pub(crate) fn new(kind: u16, flags: i32, body: &[u8]) -> Request {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags as u16 | libc::NLM_F_REQUEST as u16).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(body);
        Request { bytes }
    }

    /// Adds an attribute.
    pub(crate) fn with(mut self, kind: u16, data: &[u8]) -> Request {
        let len = (ATTRIBUTE_HEADER + data.len()) as u16;
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// Adds an address attribute.
    pub(crate) fn with_ip(self, kind: u16, ip: IpAddr) -> Request {
        match ip {
            IpAddr::V4(ip) => self.with(kind, &ip.octets()),
            IpAddr::V6(ip) => self.with(kind, &ip.octets()),
        }
    }

    /// Adds a number attribute.
    pub(crate) fn with_u32(self, kind: u16, value: u32) -> Request {
        self.with(kind, &value.to_ne_bytes())
    }

    /// The finished bytes, with the number that the answer will repeat.
    pub(crate) fn finish(mut self, number: u32) -> Vec<u8> {
        let len = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&len.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&number.to_ne_bytes());
        self.bytes
    }
}

/// One message of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'b> {
    pub kind: u16,
    pub number: u32,
    pub body: &'b [u8],
}

/// The messages in a received buffer; stops at the first broken one.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let len = read_u32(bytes, 0)? as usize;
        let message =
            Message { kind: read_u16(bytes, 4)?, number: read_u32(bytes, 8)?, body: bytes.get(16..len)? };
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// The attributes after the fixed part of a message: (kind, data).
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(read_u16(bytes, 0)?);
        let attribute = (read_u16(bytes, 2)? & NLA_TYPE_MASK, bytes.get(ATTRIBUTE_HEADER..len)?);
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(attribute)
    })
}

/// A number in the host's byte order.
pub(crate) fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// An address of 4 or 16 bytes.
pub(crate) fn read_ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(four).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|sixteen| Ipv6Addr::from(sixteen).into())
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

const ATTRIBUTE_HEADER: usize = 4;
/// The upper two bits are flags.
const NLA_TYPE_MASK: u16 = 0x3fff;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_is_read_back() {
        let bytes = Request::new(16, 4, &[7; 8]).with(3, b"eth0\0").with_u32(4, 1_440).finish(9);
        let all: Vec<Message<'_>> = messages(&bytes).collect();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].kind, all[0].number), (16, 9));
        let found: Vec<(u16, &[u8])> = attributes(&all[0].body[8..]).collect();
        assert_eq!(found, vec![(3, &b"eth0\0"[..]), (4, &1_440u32.to_ne_bytes()[..])]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reading_panic_or_hang(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for message in messages(&bytes) {
                prop_assert!(attributes(message.body).count() <= bytes.len());
            }
            prop_assert!(attributes(&bytes).count() <= bytes.len());
        }
    }
}
