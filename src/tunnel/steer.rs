//! How far each TCP sender whose packets wait here may go on sending: its *edge*, the highest sequence number that it
//! should send.
//!
//! A queue that is long enough needs no more packets. The usual way to say so is to drop one; the flow then sends less
//! for seconds, and a link that has become fast again meanwhile stands idle. The window in the receiver's
//! acknowledgements says the same without a loss, at once, and only for as long as it is so. This half watches what the
//! sender has sent; `ack_windows.rs` writes the edge into the acknowledgements.
//!
//! ```text
//!   edge = highest sequence that came + what the flow's queue still takes + what the sender's way here holds
//!
//!   unknown --SYN of the peer leaves for TUN, the answer comes--> steered (the time between is the sender's way)
//! ```
//! A flow whose queue has been short for seconds has no edge: nobody throttles what does not wait. But the edge stays for
//! a while: when a hole at the far end is filled, one acknowledgement opens the sender's whole window.
//!
//! Not for: flows whose SYNs did not pass (the scale of their windows is unknown), nor other transports: queue
//! management drops or marks as before.

use super::classify::{Flow, SYN};
use crate::units::Rate;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What a flow's queue holds and may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub queued_bytes: u64,
    pub limit_bytes: u64,
    /// Bytes per second that the flow may hope for.
    pub rate: Rate,
}

/// How a flow's sender is told that its queue is long enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Steering {
    /// By a dropped or marked packet.
    #[default]
    ByLoss,
    /// By its edge.
    ByWindow,
}

/// A table of connections by flow tag.
pub(super) struct Steer {
    rows: Vec<Row>,
    /// Rows whose edge may have moved.
    moved: VecDeque<u16>,
    /// Rows with an edge, and when to look whether it is still wanted; oldest first.
    kept: VecDeque<(Instant, u16)>,
}

#[derive(Clone, Default)]
struct Row {
    /// `Flow::hash` of the connection that uses the row; zero: none.
    name: u64,
    /// The sequence number behind the highest that came.
    end: u32,
    /// When the other end's SYN left for the sender.
    syn_at: Option<Instant>,
    /// Round trip to the sender, once known.
    way: Option<Duration>,
    /// When the queue was last long.
    long_at: Option<Instant>,
    is_moved: bool,
    is_kept: bool,
}

impl Steer {
    pub(super) fn new() -> Steer {
        Steer { rows: vec![Row::default(); ROWS], moved: VecDeque::new(), kept: VecDeque::new() }
    }

    /// The other end's SYN of a connection leaves for its sender.
    pub(super) fn on_syn(&mut self, now: Instant, hash: u64) {
        let row = &mut self.rows[place(hash)];
        if row.name != hash {
            row.begin(hash);
        }
        row.syn_at = Some(now);
    }

    /// How the flow's sender can be told.
    pub(super) fn steering(&self, flow: &Flow) -> Steering {
        let row = &self.rows[place(flow.hash)];
        match row.name == flow.hash && row.way.is_some() {
            true => Steering::ByWindow,
            false => Steering::ByLoss,
        }
    }

    /// A packet from TUN.
    pub(super) fn on_packet(&mut self, now: Instant, flow: &Flow) {
        let Some(tcp) = flow.tcp else { return };
        let row = &mut self.rows[place(flow.hash)];
        let is_syn = tcp.flags & SYN != 0;
        let end = tcp.seq.wrapping_add(tcp.payload + u32::from(is_syn));
        if is_syn && row.name != flow.hash {
            row.begin(flow.hash);
        }
        if row.name != flow.hash {
            return;
        }
        if let Some(at) = row.syn_at.take() {
            row.way = Some(now.saturating_duration_since(at).min(WAY_MAX));
        }
        if is_syn || (1..RISE_MAX).contains(&end.wrapping_sub(row.end)) {
            row.end = end;
        }
    }

    /// The queue of a flow has changed.
    pub(super) fn on_queue(&mut self, tag: u16) {
        let at = place(u64::from(tag));
        let row = &mut self.rows[at];
        if row.way.is_some() && !row.is_moved {
            row.is_moved = true;
            self.moved.push_back(at as u16);
        }
    }

    /// The next connection whose edge may have moved, by the hash of its flow; `room` tells of a flow tag's queue.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        room: impl FnOnce(u16) -> Room,
    ) -> Option<(u64, Option<u32>)> {
        self.look_after_kept(now);
        let at = self.moved.pop_front()?;
        let row = &mut self.rows[usize::from(at)];
        row.is_moved = false;
        let room = room(row.name as u16);
        if room.queued_bytes > room.limit_bytes / 2 {
            row.long_at = Some(now);
        }
        let is_steered = row.long_at.is_some_and(|at| now.saturating_duration_since(at) < EDGE_KEPT);
        let edge = row.way.filter(|_| is_steered).map(|way| {
            let more = room.limit_bytes.saturating_sub(room.queued_bytes) + room.rate.bytes_in(way);
            row.end.wrapping_add(u32::try_from(more).unwrap_or(RISE_MAX).min(RISE_MAX))
        });
        if edge.is_some() && !row.is_kept {
            row.is_kept = true;
            self.kept.push_back((now + EDGE_KEPT, at));
        }
        Some((row.name, edge))
    }

    /// A connection that has fallen silent loses its edge, too.
    fn look_after_kept(&mut self, now: Instant) {
        while self.kept.front().is_some_and(|kept| kept.0 <= now) {
            let Some((_, at)) = self.kept.pop_front() else { return };
            let row = &mut self.rows[usize::from(at)];
            row.is_kept = false;
            if !row.is_moved {
                row.is_moved = true;
                self.moved.push_back(at);
            }
        }
    }
}

impl Row {
    /// Another connection takes the row.
    fn begin(&mut self, name: u64) {
        *self = Row { name, is_moved: self.is_moved, is_kept: self.is_kept, ..Row::default() };
    }
}

fn place(hash: u64) -> usize {
    usize::from(hash as u16) % ROWS
}

/// Connections known at a time, a power of two; when two share a row, the newer one has it.
const ROWS: usize = 4_096;
/// A number that rises by more is not of this connection.
const RISE_MAX: u32 = 1 << 30;
/// Time for which a flow keeps its edge after its queue was long. Source: scenario city3 with a call, where windows that
/// opened at once brought 3 MB and four drops; longer than a hole may hold a flow up (`inbound.rs`).
const EDGE_KEPT: Duration = Duration::from_secs(4);
/// Longest way to a sender that is believed.
const WAY_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::super::classify::{tests as make, Classifier, ACK};
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_long_queue_has_an_edge() {
        let mut bench = Bench::connected(0);
        bench.data(1_000, 500);
        assert_eq!(bench.edge(6_000), Some(1_500 + 4_000));
        assert_eq!(bench.edge(12_000), Some(1_500), "no more than what came");
    }

    #[test]
    fn a_flow_keeps_its_edge_for_a_while_after_its_queue_was_long() {
        let mut bench = Bench::connected(0);
        bench.data(1_000, 500);
        assert_eq!(bench.edge(4_000), None);
        assert!(bench.edge(6_000).is_some());
        bench.start += EDGE_KEPT / 2;
        assert_eq!(bench.edge(4_000), Some(1_500 + 6_000));
        bench.start += EDGE_KEPT;
        assert_eq!(bench.edge(4_000), None);
    }

    #[test]
    fn a_connection_that_has_fallen_silent_loses_its_edge() {
        let mut bench = Bench::connected(0);
        bench.data(1_000, 500);
        assert!(bench.edge(6_000).is_some());
        bench.start += EDGE_KEPT;
        let room = Room { queued_bytes: 0, limit_bytes: 10_000, rate: Rate(0) };
        assert_eq!(bench.steer.poll(bench.start, |_| room), Some((bench.hash, None)));
        assert_eq!(bench.steer.poll(bench.start, |_| room), None);
    }

    #[test]
    fn what_is_on_the_senders_way_is_allowed_for() {
        let mut bench = Bench::connected(100);
        bench.data(1_000, 500);
        assert_eq!(bench.edge(10_000), Some(1_500 + 100_000), "100 ms at 1 MB/s");
    }

    #[test]
    fn a_repeated_segment_does_not_take_the_edge_back() {
        let mut bench = Bench::connected(0);
        bench.data(2_000, 500);
        bench.data(1_000, 500);
        assert_eq!(bench.edge(10_000), Some(2_500));
    }

    #[test]
    fn a_connection_whose_beginning_was_missed_is_left_alone() {
        let mut bench = Bench::new();
        assert!(!bench.data(1_000, 500));
        bench.steer.on_queue(bench.hash as u16);
        let room = Room { queued_bytes: 0, limit_bytes: 0, rate: Rate(0) };
        assert_eq!(bench.steer.poll(bench.start, |_| room), None);
    }

    #[test]
    fn a_sender_that_opens_the_connection_is_steered_after_the_answer() {
        let mut bench = Bench::new();
        bench.packet(&make::tcp4(1, 2, SYN, 0, &[], 0), 0);
        assert!(!bench.data(1, 0));
        let hash = bench.hash;
        bench.steer.on_syn(bench.start, hash);
        assert!(bench.data(1, 0));
    }

    struct Bench {
        steer: Steer,
        classifier: Classifier,
        start: Instant,
        hash: u64,
    }

    impl Bench {
        fn new() -> Bench {
            let classifier = Classifier::new([1, 2]);
            let hash = classifier.classify(&make::tcp4(1, 2, ACK, 0, &[], 0)).unwrap().hash;
            Bench { steer: Steer::new(), classifier, start: Instant::now(), hash }
        }

        /// A connection whose sender answered after so many milliseconds.
        fn connected(way_ms: u32) -> Bench {
            let mut bench = Bench::new();
            bench.steer.on_syn(bench.start, bench.hash);
            bench.start += MS * way_ms;
            assert!(bench.packet(&make::tcp4(1, 2, SYN | ACK, 0, &[], 0), 0));
            bench
        }

        fn data(&mut self, seq: u32, payload: usize) -> bool {
            self.packet(&make::tcp4(1, 2, ACK, 0, &[], payload), seq)
        }

        fn packet(&mut self, packet: &[u8], seq: u32) -> bool {
            let mut packet = packet.to_vec();
            packet[24..28].copy_from_slice(&seq.to_be_bytes());
            let flow = self.classifier.classify(&packet).unwrap();
            self.steer.on_packet(self.start, &flow);
            self.steer.steering(&flow) == Steering::ByWindow
        }

        /// With so many bytes waiting where 10,000 may.
        fn edge(&mut self, queued_bytes: u64) -> Option<u32> {
            self.steer.on_queue(self.hash as u16);
            let room = Room { queued_bytes, limit_bytes: 10_000, rate: Rate(1_000_000) };
            let (hash, edge) = self.steer.poll(self.start, |_| room).unwrap();
            assert_eq!(hash, self.hash);
            edge
        }
    }
}
