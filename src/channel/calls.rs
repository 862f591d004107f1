//! Whether a call uses the link: so many urgent packets that somebody listens to their delay.
//!
//! Not for: which packets are urgent (`tunnel/flow_rate.rs`).

use crate::units::{Bound, Form, Piece};
use crate::wire::compressed::UDP_MIN;
use std::time::{Duration, Instant};

/// Urgent packets of this slice of time and the one before.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    slice_at: Instant,
    counts: [u32; 2],
}

impl Calls {
    pub fn new(now: Instant) -> Calls {
        Calls { slice_at: now, counts: [0; 2] }
    }

    /// An urgent packet is sent.
    pub fn on_urgent(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.slice_at);
        if passed >= SLICE {
            let before = if passed < SLICE * 2 { self.counts[0] } else { 0 };
            (self.counts, self.slice_at) = ([0, before], now);
        }
        self.counts[0] += 1;
    }

    pub fn is_active(&self, now: Instant) -> bool {
        let fresh = now.saturating_duration_since(self.slice_at) < SLICE * 2;
        fresh && self.counts.iter().any(|&n| n >= PACKETS)
    }
}

/// Whether an urgent packet may be a call's: voice is small, a picture's packets have voice beside them; TCP's are acknowledgements and small requests, and a download's would
/// shorten the queues of an upload.
pub(super) fn may_be_call(bound: &Bound) -> bool {
    let packet = &bound.packet.bytes;
    let at = match packet.first().map_or(0, |first| first >> 4) {
        4 => IPV4_PROTOCOL,
        _ => IPV6_NEXT_HEADER,
    };
    // What is compressed is TCP's, or large; what goes in two is large.
    let is_itself = bound.form != Form::Compressed && bound.piece == Piece::All;
    is_itself && packet.len() < UDP_MIN && packet.get(at) != Some(&TCP)
}

const TCP: u8 = 6;
/// Offsets of the protocol in the headers (RFC 791, RFC 8200).
const IPV4_PROTOCOL: usize = 9;
const IPV6_NEXT_HEADER: usize = 6;
const SLICE: Duration = Duration::from_millis(500);
/// Urgent packets in a slice that make a call: voice sends 25, the beginning of a TCP connection four.
const PACKETS: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Class, FlowSeq, FlowTag, Packet, Reason};

    fn bound(packet: &[u8]) -> Bound {
        Bound {
            packet: Packet::complete(packet),
            form: Form::Whole,
            piece: Piece::All,
            flow: FlowTag(1),
            seq: FlowSeq(1),
            class: Class::Sparse,
            bound_at: Instant::now(),
            reason: Reason::First,
            avoid: None,
        }
    }

    #[test]
    fn tcp_makes_no_call() {
        let (mut v4, mut v6) = ([0x45; 20], [0x60; 40]);
        (v4[9], v6[6]) = (17, 17);
        assert!(may_be_call(&bound(&v4)) && may_be_call(&bound(&v6)));
        assert!(!may_be_call(&Bound { form: Form::Compressed, ..bound(&v4) }));
        assert!(!may_be_call(&Bound { piece: Piece::Tail, ..bound(&v4) }));
        (v4[9], v6[6]) = (6, 6);
        assert!(!may_be_call(&bound(&v4)) && !may_be_call(&bound(&v6)));
    }

    #[test]
    fn voice_is_a_call_until_it_ends_and_a_new_connection_is_none() {
        let t = Instant::now();
        let ms = |n: u64| t + Duration::from_millis(n);
        let mut calls = Calls::new(t);
        (0..4).for_each(|n| calls.on_urgent(ms(n)));
        assert!(!calls.is_active(ms(10)));
        (0..100).for_each(|n| calls.on_urgent(ms(20 * n)));
        assert!(calls.is_active(ms(2_000)));
        assert!(!calls.is_active(ms(3_500)));
    }
}
