//! What a packet is: its flow, its transport, its ECN bits. Read once, when it comes from TUN.
//!
//! Not for: deciding anything. A packet that does not parse has no flow and is not carried.

use crate::units::FlowTag;

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
}

/// What the queue needs of a TCP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Nine flag bits: NS CWR ECE URG ACK PSH RST SYN FIN.
    pub flags: u16,
    pub ack: u32,
    /// Bytes behind the TCP header.
    pub payload: u32,
    /// Whether there is no option but padding and time stamps.
    pub plain_options: bool,
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
    pub fn classify(&self, _packet: &[u8]) -> Option<Flow> {
        todo!("{:?}", self.key)
    }
}

impl Flow {
    pub fn is_tcp(&self) -> bool {
        todo!()
    }

    /// An acknowledgement that carries nothing else.
    pub fn is_tcp_pure_ack(&self) -> bool {
        todo!()
    }
}

/// Sets Congestion Experienced in an IPv4 or IPv6 header; false when the packet is neither ECT nor CE.
pub fn mark_ce(_packet: &mut [u8]) -> bool {
    todo!()
}
