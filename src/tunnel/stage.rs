//! Where in its life a connection is, as far as one packet tells.
//!
//! TCP says it with its flags (RFC 9293), QUIC with the form of its header (RFC 9000 section 17: long ones belong to the
//! handshake) and, by custom, with port 443 for the end that answers. What else uses that port, RTP for one, has no
//! header of these forms (RFC 9443).

use super::classify::{Tcp, ACK, FIN, QUIC_PORT, RST, SYN, TCP, UDP};
use crate::wire::reader::Reader;

/// What a packet means to its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Of no connection that is known here.
    #[default]
    None,
    /// It asks for a connection.
    Asks,
    /// It answers who asked for one.
    Answers,
    /// It only acknowledges.
    Acks,
    /// It carries data.
    Carries,
}

/// The stage of a whole packet, from its transport header on.
pub(super) fn stage_of(protocol: u8, tcp: Option<&Tcp>, transport: &[u8]) -> Stage {
    match (protocol, tcp) {
        (TCP, Some(t)) if t.flags & (SYN | ACK) == SYN => Stage::Asks,
        (TCP, Some(t)) if t.flags & SYN != 0 => Stage::Answers,
        (TCP, Some(t)) if t.payload == 0 && t.flags & (ACK | FIN | RST) == ACK => Stage::Acks,
        (TCP, Some(_)) => Stage::Carries,
        (UDP, _) => quic(transport).unwrap_or_default(),
        _ => Stage::None,
    }
}

fn quic(transport: &[u8]) -> Option<Stage> {
    let mut r = Reader::new(transport);
    let source = r.u16().ok()?;
    r.bytes(UDP_REST).ok()?;
    let stage = match r.u8().ok()? & FORM {
        LONG => Stage::Answers,
        SHORT if transport.len() < QUIC_DATA_MIN => Stage::Acks,
        SHORT => Stage::Carries,
        _ => return None,
    };
    (u64::from(source) == QUIC_PORT).then_some(stage)
}

/// Of a UDP header, behind the source port: destination, length, checksum (RFC 768).
const UDP_REST: usize = 6;
/// Form and fixed bit of a QUIC packet's first byte, and the two that there are.
const FORM: u8 = 0xc0;
const LONG: u8 = 0xc0;
const SHORT: u8 = 0x40;
/// Shorter UDP packets of QUIC only acknowledge. A guess: header, connection id, an ACK frame with some ranges, tag.
const QUIC_DATA_MIN: usize = 90;

#[cfg(test)]
mod tests {
    use super::super::classify::{tests as make, Classifier};
    use super::*;

    fn stage(packet: &[u8]) -> Stage {
        Classifier::new([1, 2]).classify(packet).unwrap().stage
    }

    #[test]
    fn tcp_tells_by_its_flags() {
        let tcp = |flags, payload| stage(&make::tcp4(1, 2, flags, 7, &[], payload));
        assert_eq!(tcp(0x02, 0), Stage::Asks);
        assert_eq!(tcp(0x12, 0), Stage::Answers);
        assert_eq!(tcp(0x10, 0), Stage::Acks);
        assert_eq!([tcp(0x10, 5), tcp(0x11, 0)], [Stage::Carries; 2]);
    }

    #[test]
    fn of_quic_the_end_at_port_443_answers() {
        let udp = |source, target, first: u8| {
            let mut packet = make::udp4(source, target, 600);
            packet[28] = first;
            stage(&packet)
        };
        assert_eq!(udp(443, 5_000, 0xc3), Stage::Answers);
        assert_eq!(udp(443, 5_000, 0x43), Stage::Carries);
        assert_eq!([udp(5_000, 443, 0xc3), udp(53, 5_000, 0xc3)], [Stage::None; 2]);
        assert_eq!(udp(443, 5_000, 0x80), Stage::None, "RTP");
        let mut ack = make::udp4(443, 5_000, 40);
        ack[28] = 0x43;
        assert_eq!(stage(&ack), Stage::Acks);
        assert_eq!(stage(&make::udp4(443, 5_000, 0)), Stage::None, "no byte to look at");
    }
}
