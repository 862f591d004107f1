//! Which headers the peer has as contexts: what to leave out of packets (`Compressor`), and how they come back
//! (`Decompressor`). The bytes are in `wire/compressed.rs`.
//!
//! 1. A packet of a flow goes whole, marked as a context.
//! 2. A channel says that it arrived (`Returned::Context`): from then on packets go compressed with it. They may pass each
//!    other on any channel, and any of them may be lost: each is read with the context alone.
//! 3. When the flow has moved on, so that more is left of the headers, or when a packet does not fit, another context is sent.
//! 4. The peer keeps the last ones of each flow, for packets that are sent again late.
//! 5. Should it lack one all the same, it says so (`wire/frame.rs`, `Forgotten`), and packets go whole again.
//!
//! Not for: calls. Their packets are small, and urgent ones are looked at later (`channel/calls.rs`).

use super::flow_table::FlowTable;
use crate::units::{FlowSeq, FlowTag, Form, Packet, Piece, PieceId};
use crate::wire::compressed::{Context, NUMBER_MASK, UDP_MIN};
use std::time::{Duration, Instant};

/// The sending half.
pub(super) struct Compressor {
    flows: FlowTable<Sent>,
    saved_bytes: u64,
}

/// What one flow has sent.
#[derive(Default)]
struct Sent {
    /// The peer has it.
    known: Option<Known>,
    /// On its way.
    pending: Option<Pending>,
    /// When a context was last sent.
    sent_at: Option<Instant>,
    /// Numbers of the last contexts, newest first.
    numbers: [Option<u8>; KEPT],
    /// Contexts so far, up to a few.
    count: u32,
    /// Packets in a row that did not fit.
    misfits: u32,
}

struct Pending {
    seq: FlowSeq,
    context: Context,
    /// The half of it that is still to be acknowledged, once the other one was.
    missing: Option<Piece>,
}

struct Known {
    seq: FlowSeq,
    context: Context,
    since: Instant,
    /// Fewest bytes that were left of a header.
    least: usize,
}

impl Compressor {
    pub fn new() -> Compressor {
        Compressor { flows: FlowTable::new(), saved_bytes: 0 }
    }

    /// How a packet leaves, that is the `seq`-th of its flow.
    ///
    /// `room`: bytes that fit into a datagram.
    pub fn on_packet(
        &mut self,
        now: Instant,
        (tag, seq): (FlowTag, FlowSeq),
        packet: Packet,
        room: usize,
    ) -> (Packet, Form) {
        if !may_compress(&packet) {
            return (packet, Form::Whole);
        }
        let Some(index) = self.flow(tag, &packet) else { return (packet, Form::Whole) };
        let Some(flow) = self.flows.at(index) else { return (packet, Form::Whole) };
        let compressed = flow.known.as_ref().and_then(|k| k.compress(seq, &packet));
        if flow.wants_context(now, seq, &packet, compressed.as_ref(), room) {
            if let Some(context) = Context::of(&packet.bytes) {
                flow.pending = Some(Pending { seq, context, missing: None });
                flow.sent_at = Some(now);
                flow.numbers.rotate_right(1);
                flow.numbers[0] = Some(number(seq));
                (flow.count, flow.misfits) = ((flow.count + 1).min(COUNT_MAX), 0);
                return (packet, Form::Context);
            }
        }
        let Some(compressed) = compressed else { return (packet, Form::Whole) };
        self.saved_bytes += packet.len().saturating_sub(compressed.len()) as u64;
        (compressed, Form::Compressed)
    }

    /// The peer has this context, or half of it.
    pub fn on_known(&mut self, now: Instant, id: PieceId) {
        let Some(flow) = self.flows.find(id.flow).and_then(|index| self.flows.at(index)) else { return };
        let whole = |p: &mut Pending| p.seq == id.seq && p.is_whole_with(id.piece);
        if let Some(Pending { seq, context, .. }) = flow.pending.take_if(whole) {
            flow.known = Some(Known { seq, context, since: now, least: usize::MAX });
        }
    }

    /// Packet `seq` was given up: half of it may have arrived.
    pub fn on_abandoned(&mut self, tag: FlowTag, seq: FlowSeq) {
        if let Some(flow) = self.flows.find(tag).and_then(|index| self.flows.at(index)) {
            flow.pending.take_if(|pending| pending.seq == seq);
        }
    }

    /// The peer lacks a context.
    pub fn on_forgotten(&mut self, tag: FlowTag) {
        if let Some(flow) = self.flows.find(tag).and_then(|index| self.flows.at(index)) {
            // The numbers of the last ones stay taken.
            flow.known = None;
        }
    }

    /// Bytes that were not sent.
    pub fn saved_bytes(&self) -> u64 {
        self.saved_bytes
    }

    /// The row of a flow; one that has none gets it with the first packet that can be a context.
    fn flow(&mut self, tag: FlowTag, packet: &Packet) -> Option<u16> {
        if let Some(index) = self.flows.find(tag) {
            self.flows.touch(index);
            return Some(index);
        }
        Context::of(&packet.bytes)?;
        if self.flows.len() >= FLOWS_MAX {
            if let Some(oldest) = self.flows.oldest() {
                self.flows.remove(oldest);
            }
        }
        Some(self.flows.insert(tag, Sent::default()))
    }
}

impl Sent {
    /// Whether the packet should be a context: there is none that fits, or it fits no longer as well.
    fn wants_context(
        &mut self,
        now: Instant,
        seq: FlowSeq,
        packet: &Packet,
        compressed: Option<&Packet>,
        room: usize,
    ) -> bool {
        let passed = |time: Duration| self.sent_at.is_none_or(|at| now.saturating_duration_since(at) >= time);
        // A few times at the beginning, when a connection's requests and short records have gone.
        let is_long = self.count < COUNT_MAX && compressed.is_some_and(|p| p.len() > room);
        let is_free = passed(match self.pending {
            Some(_) => LOST_AFTER,
            None if is_long => RENEW_LONG,
            None => RENEW,
        });
        if !is_free || self.numbers.contains(&Some(number(seq))) {
            return false;
        }
        let Some(known) = &mut self.known else { return true };
        let Some(compressed) = compressed else {
            self.misfits += 1;
            return self.misfits >= MISFITS;
        };
        self.misfits = 0;
        if is_long {
            return true;
        }
        let left = known.context.header_len() + compressed.len() - packet.len();
        known.least = known.least.min(left);
        // The first may have been taken before the flow was what it is.
        let old = RENEW * (1 << self.count) / 2;
        left > known.least + GROWN || now.saturating_duration_since(known.since) >= old
    }
}

impl Pending {
    fn is_whole_with(&mut self, piece: Piece) -> bool {
        let other = match piece {
            Piece::All => return true,
            Piece::Head => Piece::Tail,
            Piece::Tail => Piece::Head,
        };
        self.missing.replace(other) == Some(piece)
    }
}

impl Known {
    fn compress(&self, seq: FlowSeq, packet: &Packet) -> Option<Packet> {
        // After half a turn of the flow sequence it would look later than the packet.
        let steps = Some(seq.distance(self.seq)).filter(|steps| *steps > 0)?;
        self.context.compress(number(self.seq), steps, packet)
    }
}

/// The receiving half.
pub(super) struct Decompressor {
    flows: FlowTable<Vec<(FlowSeq, Context)>>,
}

impl Decompressor {
    pub fn new() -> Decompressor {
        Decompressor { flows: FlowTable::new() }
    }

    /// The packet that was sent; `None` where its context is not there.
    pub fn on_packet(&mut self, tag: FlowTag, seq: FlowSeq, form: Form, packet: Packet) -> Option<Packet> {
        match form {
            Form::Whole => Some(packet),
            Form::Context => {
                self.keep(tag, seq, &packet);
                Some(packet)
            }
            Form::Compressed => {
                let wanted = packet.bytes.first()? & NUMBER_MASK;
                let index = self.flows.find(tag)?;
                self.flows.touch(index);
                let contexts = self.flows.at(index)?;
                // A packet is compressed with what was sent before it.
                let is_it = |of: FlowSeq| number(of) == wanted && seq.distance(of) > 0;
                let (of, context) = contexts.iter().find(|(of, _)| is_it(*of))?;
                context.decompress(seq.distance(*of), &packet).ok()
            }
        }
    }

    fn keep(&mut self, tag: FlowTag, seq: FlowSeq, packet: &Packet) {
        let Some(context) = Context::of(&packet.bytes) else { return };
        let index = match self.flows.find(tag) {
            Some(index) => index,
            None => {
                // More than the peer sends contexts of, so that its oldest is not yet gone here.
                if self.flows.len() >= 2 * FLOWS_MAX {
                    if let Some(oldest) = self.flows.oldest() {
                        self.flows.remove(oldest);
                    }
                }
                self.flows.insert(tag, Vec::with_capacity(1))
            }
        };
        self.flows.touch(index);
        let Some(contexts) = self.flows.at(index) else { return };
        // Of two with one number the newer is in use; a repeated context may come after it.
        let is_newer = |old: FlowSeq| (1..NEWER_MAX).contains(&old.distance(seq));
        if contexts.iter().any(|(old, _)| number(*old) == number(seq) && is_newer(*old)) {
            return;
        }
        contexts.retain(|(old, _)| number(*old) != number(seq));
        if contexts.len() >= KEPT {
            contexts.remove(0);
        }
        contexts.push((seq, context));
    }
}

/// What a compressed packet calls the context that was packet `seq` of its flow.
fn number(seq: FlowSeq) -> u8 {
    seq.0 as u8 & NUMBER_MASK
}

/// Whether it is worth it: TCP of any size, and other large packets (QUIC).
fn may_compress(packet: &Packet) -> bool {
    let at = if packet.bytes.first().is_some_and(|first| first >> 4 == 4) { 9 } else { 6 };
    packet.bytes.get(at) == Some(&TCP) || packet.len() >= UDP_MIN
}

const TCP: u8 = 6;
/// Flows with contexts at most, about half a kilobyte each; the peer keeps up to `KEPT` for twice as many, a kilobyte each.
const FLOWS_MAX: usize = 1_024;
/// Contexts that the receiver keeps for each flow: `RENEW` times so many is longer than a packet is sent again for
/// (`outbound.rs`, three seconds).
const KEPT: usize = 8;
/// Shortest time between two contexts of a flow: a guess, a header each half second is next to nothing.
const RENEW: Duration = Duration::from_millis(500);
/// The same while packets do not fit into a datagram without another.
const RENEW_LONG: Duration = Duration::from_millis(100);
/// A context at most so many packets later is a newer one, and not one of before the flow sequence wrapped.
const NEWER_MAX: i32 = 1 << 16;
/// A context that nobody acknowledged for so long is not waited for: longer than it is sent again for.
const LOST_AFTER: Duration = Duration::from_secs(4);
/// Each context may be twice as old as the one before when it is renewed, up to 8 s: time stamps run away from it, 32
/// seconds at most.
const COUNT_MAX: u32 = 5;
/// Packets in a row that fit no longer until there is a new context: some acknowledgements have SACK blocks, and the
/// next ones have none.
const MISFITS: u32 = 8;
/// Bytes more than at best that make a new context worth a whole header.
const GROWN: usize = 1;

#[cfg(test)]
mod tests {
    use super::super::classify::tests as make;
    use super::*;

    const TAG: FlowTag = FlowTag(3);
    const ROOM: usize = 1_440;
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_flow_is_compressed_as_soon_as_its_context_is_known_and_not_before() {
        let (mut ends, t) = (Ends::new(), Instant::now());
        assert_eq!(ends.send(t, 0), (Form::Context, true));
        assert_eq!(ends.send(t, 1), (Form::Whole, true));
        ends.out.on_known(t, whole(0));
        assert_eq!(ends.send(t, 2), (Form::Compressed, true));
        assert!(ends.out.saved_bytes() > 20);
    }

    #[test]
    fn a_context_that_went_in_halves_is_known_when_both_are() {
        let (mut ends, t) = (Ends::new(), Instant::now());
        ends.send(t, 0);
        for piece in [Piece::Tail, Piece::Tail] {
            ends.out.on_known(t, PieceId { piece, ..whole(0) });
            assert_eq!(ends.send(t, 1).0, Form::Whole);
        }
        ends.out.on_known(t, PieceId { piece: Piece::Head, ..whole(0) });
        assert_eq!(ends.send(t, 2), (Form::Compressed, true));
    }

    #[test]
    fn contexts_are_renewed_and_late_packets_of_older_ones_can_be_read() {
        let (mut ends, t) = (Ends::new(), Instant::now());
        let (mut late, mut contexts) = (Vec::new(), 0);
        // Three seconds, in which a packet may be sent again.
        for n in 0..3_000u32 {
            let now = t + MS * n;
            let (packet, form) = ends.out.on_packet(now, (TAG, FlowSeq(n)), packet(n), ROOM);
            if form == Form::Context {
                contexts += 1;
                ends.back.on_packet(TAG, FlowSeq(n), form, packet);
                ends.out.on_known(now, whole(n));
            } else if n % 100 == 50 {
                assert_eq!(form, Form::Compressed);
                late.push((n, form, packet));
            }
        }
        assert!((3..7).contains(&contexts), "{contexts}");
        for (n, form, bytes) in late {
            let whole = ends.back.on_packet(TAG, FlowSeq(n), form, bytes).unwrap();
            assert_eq!(whole.bytes, packet(n).bytes);
        }
    }

    #[test]
    fn what_does_not_fit_gets_another_context_soon_a_few_times() {
        let (mut ends, t) = (Ends::new(), Instant::now());
        ends.send(t, 0);
        ends.out.on_known(t, whole(0));
        let mut contexts = 0;
        for n in 1..40u32 {
            let now = t + RENEW_LONG * n;
            let (_, form) = ends.out.on_packet(now, (TAG, FlowSeq(n)), packet(n), 700);
            if form == Form::Context {
                contexts += 1;
                ends.out.on_known(now, whole(n));
            }
        }
        assert_eq!(contexts, COUNT_MAX - 1, "then again as seldom as ever");
    }

    #[test]
    fn after_a_lost_context_packets_go_whole_again() {
        let (mut ends, t) = (Ends::new(), Instant::now());
        ends.send(t, 0);
        ends.out.on_known(t, whole(0));
        ends.back = Decompressor::new();
        assert_eq!(ends.send(t, 1), (Form::Compressed, false));
        ends.out.on_forgotten(TAG);
        assert_eq!(ends.send(t, 2), (Form::Whole, true));
        assert_eq!(ends.send(t + RENEW, 3), (Form::Context, true));
        ends.out.on_known(t + RENEW, whole(3));
        assert_eq!(ends.send(t + RENEW, 4), (Form::Compressed, true));
    }

    #[test]
    fn a_packet_is_never_read_with_a_context_of_the_same_number_that_came_after_it() {
        let (mut ends, t) = (Ends::new(), Instant::now());
        ends.send(t, 0);
        ends.out.on_known(t, whole(0));
        let (late, form) = ends.out.on_packet(t, (TAG, FlowSeq(1)), packet(1), ROOM);
        assert_eq!(form, Form::Compressed);
        // The peer loses the context, and gets another of its number.
        ends.back = Decompressor::new();
        let again = u32::from(NUMBER_MASK) + 1;
        ends.back.on_packet(TAG, FlowSeq(again), Form::Context, packet(again));
        assert!(ends.back.on_packet(TAG, FlowSeq(1), form, late).is_none());
    }

    #[test]
    fn numbers_of_the_last_contexts_are_not_used_again() {
        let (mut out, t) = (Compressor::new(), Instant::now());
        let mut seq = 0;
        for n in 0..4u32 {
            let now = t + LOST_AFTER * n;
            let (_, form) = out.on_packet(now, (TAG, FlowSeq(seq)), packet(seq), ROOM);
            assert_eq!(form == Form::Context, n == 0, "{n}: all have the first one's number");
            seq += u32::from(NUMBER_MASK) + 1;
        }
    }

    #[test]
    fn what_can_be_no_context_takes_no_row() {
        let (mut out, t) = (Compressor::new(), Instant::now());
        for n in 0..100u16 {
            let syn = Packet::complete(&make::tcp4(n, 2, 2, 0, &[], 0));
            assert_eq!(out.on_packet(t, (FlowTag(n), FlowSeq(0)), syn, ROOM).1, Form::Whole);
        }
        assert_eq!(out.flows.len(), 0);
    }

    #[test]
    fn a_context_that_nobody_acknowledges_is_followed_by_another() {
        let (mut ends, t) = (Ends::new(), Instant::now());
        ends.send(t, 0);
        assert_eq!(ends.send(t + LOST_AFTER - MS, 1), (Form::Whole, true));
        assert_eq!(ends.send(t + LOST_AFTER, 2), (Form::Context, true));
        ends.out.on_known(t + LOST_AFTER, whole(0));
        assert_eq!(ends.send(t + LOST_AFTER, 3), (Form::Whole, true), "that one is not waited for");
    }

    #[test]
    fn small_packets_that_are_not_tcp_go_whole() {
        let (mut out, t) = (Compressor::new(), Instant::now());
        let voice = Packet::complete(&make::udp4(1, 2, 160));
        assert_eq!(out.on_packet(t, (TAG, FlowSeq(0)), voice, ROOM).1, Form::Whole);
    }

    #[test]
    fn tables_are_bounded() {
        let (mut ends, t) = (Ends::new(), Instant::now());
        for n in 0..10_000u16 {
            let (packet, form) = ends.out.on_packet(t, (FlowTag(n), FlowSeq(0)), packet(0), ROOM);
            ends.back.on_packet(FlowTag(n), FlowSeq(0), form, packet);
        }
        assert_eq!((ends.out.flows.len(), ends.back.flows.len()), (FLOWS_MAX, 2 * FLOWS_MAX));
    }

    struct Ends {
        out: Compressor,
        back: Decompressor,
    }

    impl Ends {
        fn new() -> Ends {
            Ends { out: Compressor::new(), back: Decompressor::new() }
        }

        /// How packet `n` leaves, and whether it comes out as it was.
        fn send(&mut self, now: Instant, n: u32) -> (Form, bool) {
            let (sent, form) = self.out.on_packet(now, (TAG, FlowSeq(n)), packet(n), ROOM);
            let back = self.back.on_packet(TAG, FlowSeq(n), form, sent);
            (form, back.is_some_and(|b| b.bytes == packet(n).bytes))
        }
    }

    fn whole(seq: u32) -> PieceId {
        PieceId { flow: TAG, seq: FlowSeq(seq), piece: Piece::All }
    }

    fn packet(n: u32) -> Packet {
        Packet::complete(&make::tcp4(1, 2, 16, n, &[], 700))
    }
}
