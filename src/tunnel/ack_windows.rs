//! Writes the edge that a TCP sender should keep (`steer.rs`) into the windows of its receiver's acknowledgements.
//!
//! 1. A SYN tells the scale of its sender's windows (RFC 7323); it is named to the other half, which measures by it how
//!    far away the connection's sender is.
//! 2. While the other half names an edge, the window of each acknowledgement of that connection ends there. A window
//!    is only ever made smaller, and always leaves room for a few segments, so that acknowledgements go on.
//! 3. A repeated acknowledgement keeps the window it had: a different one would be an update, and hide the loss that
//!    the repetition tells of (RFC 5681 section 2).
//!
//! Senders take a window that shrinks (RFC 9293 section 3.8.6): they send nothing new until it opens.
//! Not for: connections that sign their headers (RFC 2385, RFC 5925), Multipath TCP, whose windows stand for several
//! connections (RFC 8684 section 3.3.1), nor what is behind another encryption.

use super::classify::{Classifier, ACK, RST, SYN};
use super::mss::updated;
use crate::units::{Checksum, Packet};
use std::sync::Arc;

/// A table of connections by the tag of the flow that is acknowledged.
pub struct AckWindows {
    classifier: Classifier,
    rows: Vec<Row>,
}

#[derive(Clone, Default)]
struct Row {
    /// Hash of the flow that is acknowledged; zero: none.
    name: u64,
    shift: u8,
    /// The last acknowledgement that was changed, and the window it left with.
    last: Option<(u32, u16)>,
}

impl AckWindows {
    /// `hash_key` is that of the session's `Outbound`.
    pub fn new(hash_key: [u64; 2]) -> AckWindows {
        AckWindows { classifier: Classifier::new(hash_key), rows: vec![Row::default(); ROWS] }
    }

    /// A packet on its way to TUN; `edge` tells the edge of the flow with a hash, if it has one. Returns the hash of
    /// the flow that answers, when the packet is a SYN (for `Outbound::handle_syn`).
    pub fn on_packet(&mut self, packet: &mut Packet, edge: impl FnOnce(u64) -> Option<u32>) -> Option<u64> {
        let flow = self.classifier.classify_for_answer(&packet.bytes)?;
        let tcp = flow.tcp.filter(|tcp| !tcp.is_untouchable)?;
        let row = &mut self.rows[usize::from(flow.tag.0) % ROWS];
        if tcp.flags & SYN != 0 {
            *row = Row { name: flow.hash, shift: tcp.window_shift.unwrap_or(0), last: None };
            return Some(flow.hash);
        }
        if row.name != flow.hash || tcp.flags & (ACK | RST) != ACK {
            return None;
        }
        let room = edge(flow.hash)?.wrapping_sub(tcp.ack);
        // An edge that was passed already.
        let room = if room > RISE_MAX { 0 } else { room };
        let window = match row.last {
            Some((ack, window)) if ack == tcp.ack => window,
            _ => u16::try_from((room.max(WINDOW_MIN) >> row.shift).max(1)).unwrap_or(u16::MAX),
        };
        if window < tcp.window {
            row.last = Some((tcp.ack, window));
            write(packet, tcp.at, tcp.window, window);
        }
        None
    }
}

/// Writes the window and mends the checksum (RFC 1624, equation 3).
fn write(packet: &mut Packet, tcp: usize, old: u16, new: u16) {
    if Arc::get_mut(&mut packet.bytes).is_none() {
        packet.bytes = Arc::from(&packet.bytes[..]);
    }
    let is_complete = packet.checksum == Checksum::Complete;
    let Some(words) = Arc::get_mut(&mut packet.bytes).and_then(|b| b.get_mut(tcp + WINDOW_AT..tcp + 18))
    else {
        return;
    };
    let (window, sum) = words.split_at_mut(2);
    window.copy_from_slice(&new.to_be_bytes());
    if is_complete {
        let mended = updated(u16::from_be_bytes([sum[0], sum[1]]), old, new);
        sum.copy_from_slice(&mended.to_be_bytes());
    }
}

/// Connections known at a time, a power of two; when two share a row, the newer one has it.
const ROWS: usize = 4_096;
/// An edge further away is behind.
const RISE_MAX: u32 = 1 << 30;
/// Bytes that may always be sent: four segments, so that one loss is still told by three acknowledgements.
const WINDOW_MIN: u32 = 6_000;
/// Offset of the window in the TCP header; the checksum follows it.
const WINDOW_AT: usize = 14;

#[cfg(test)]
mod tests {
    use super::super::classify::tests as make;
    use super::*;

    #[test]
    fn a_window_ends_at_the_edge_and_the_checksum_stays_right() {
        let mut bench = Bench::connected(0);
        assert_eq!(bench.ack(1_000, 60_000, Some(11_000)), 10_000);
        assert_eq!(bench.ack(2_000, 60_000, None), 60_000);
        assert_eq!(bench.ack(3_000, 5_000, Some(20_000)), 5_000, "never larger than it was");
    }

    #[test]
    fn the_shift_of_the_syn_counts() {
        let mut bench = Bench::connected(7);
        assert_eq!(bench.ack(1_000, 60_000, Some(1_000 + 12_800)), 100);
    }

    #[test]
    fn some_segments_may_always_be_sent() {
        let mut bench = Bench::connected(0);
        assert_eq!(bench.ack(1_000, 60_000, Some(1_000)), WINDOW_MIN as u16);
        assert_eq!(bench.ack(2_000, 60_000, Some(1_500)), WINDOW_MIN as u16, "the edge has been passed");
    }

    #[test]
    fn a_repeated_acknowledgement_keeps_its_window() {
        let mut bench = Bench::connected(0);
        assert_eq!(bench.ack(1_000, 60_000, Some(11_000)), 10_000);
        assert_eq!(bench.ack(1_000, 60_000, Some(19_000)), 10_000);
    }

    #[test]
    fn a_connection_without_its_syn_is_left_alone() {
        let mut bench = Bench { windows: AckWindows::new([1, 2]) };
        assert_eq!(bench.ack(1_000, 60_000, Some(2_000)), 60_000);
    }

    #[test]
    fn signed_connections_and_multipath_ones_are_left_alone() {
        let signature = [&[19, 18][..], &[1; 18]].concat();
        let multipath = [30, 4, 1, 1];
        for options in [&signature[..], &multipath] {
            let mut windows = AckWindows::new([1, 2]);
            let mut syn = Packet::complete(&make::tcp4(1, 2, SYN, 0, options, 0));
            assert_eq!(windows.on_packet(&mut syn, |_| None), None);
        }
    }

    struct Bench {
        windows: AckWindows,
    }

    impl Bench {
        fn connected(shift: u8) -> Bench {
            let mut windows = AckWindows::new([1, 2]);
            let mut syn = Packet::complete(&make::tcp4(1, 2, SYN, 0, &[3, 3, shift, 0], 0));
            let mut back = make::tcp4(2, 1, ACK, 0, &[], 0);
            (back[15], back[19]) = (2, 1);
            let answer = Classifier::new([1, 2]).classify(&back).unwrap().hash;
            assert_eq!(windows.on_packet(&mut syn, |_| None), Some(answer));
            Bench { windows }
        }

        /// The window with which an acknowledgement leaves.
        fn ack(&mut self, number: u32, window: u16, edge: Option<u32>) -> u16 {
            let mut bytes = make::tcp4(1, 2, ACK, number, &[], 0);
            bytes[34..36].copy_from_slice(&window.to_be_bytes());
            bytes[36..38].fill(0);
            let sum = !internet_sum(&bytes[20..]);
            bytes[36..38].copy_from_slice(&sum.to_be_bytes());
            let mut packet = Packet::complete(&bytes);
            assert_eq!(self.windows.on_packet(&mut packet, |_| edge), None);
            assert_eq!(internet_sum(&packet.bytes[20..]), 0xffff);
            u16::from_be_bytes([packet.bytes[34], packet.bytes[35]])
        }
    }

    /// One's complement sum of 16-bit words.
    fn internet_sum(bytes: &[u8]) -> u16 {
        let words = bytes.chunks_exact(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
        let wide = words.sum::<u32>();
        let once = (wide & 0xffff) + (wide >> 16);
        ((once & 0xffff) + (once >> 16)) as u16
    }
}
