//! What comes out of all channels, back in order within each flow, each packet once.
//!
//! Not for: order between flows; one flow's missing packet never holds up another.
//!
//! 1. The channel and the sender's time stamp are noted (`loss_proof.rs`); halves are joined (`split.rs`).
//! 2. The packet's flow is found (`flow_table.rs`); an unknown flow begins with this packet.
//! 3. Duplicates go, the next packet leaves, a later one waits (`reorder.rs`). TCP flows and other flows of
//!    many packets a second are kept in order; the packets of the rest leave as they come. TCP and QUIC wait long,
//!    because for them disorder means loss; others (calls) only shortly.
//! 4. A gap ends when it is filled; when the sender says that it gave up; when every live channel has delivered
//!    something sent later *and* a packet sent again is overdue (`fill_times.rs`); or when the hold ends.
//! 5. When too much waits, the gaps that would end first are given up.
//! 6. A packet whose gap was given up still leaves, late and once: TCP takes back what it did about the loss.

use super::classify::{transport_of, ICMP, ICMP6, TCP};
use super::fill_times::FillTimes;
use super::flow_table::FlowTable;
use super::header_compression::Decompressor;
use super::loss_proof::LossProof;
use super::reorder::{Order, Outcome, Reorder, Waiting};
use super::seen::Gap;
use super::split::Joiner;
use crate::units::*;
use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// An inner packet that a channel received.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub channel: ChannelId,
    pub flow: FlowTag,
    pub seq: FlowSeq,
    /// The sender's clock when it was sent.
    pub sent: Ticks,
    pub form: Form,
    pub piece: Piece,
    pub packet: Packet,
}

/// Bounds of waiting.
#[derive(Clone, Debug)]
pub struct InboundSettings {
    /// Longest that a missing packet may hold back later ones while nothing of its flow can leave. Packets that fill
    /// earlier holes start the clock anew: the sender is sending again what a dead link had taken with it. See
    /// `follows_rtt`.
    pub hold_max: Duration,
    /// Whether TCP and QUIC wait longer than that where a round trip of the tunnel is longer: not where the owner has
    /// set a time.
    pub follows_rtt: bool,
    /// The same, however much fills earlier holes.
    pub hold_total: Duration,
    /// Bytes that may wait for missing packets, all flows together.
    pub buffer_bytes_max: usize,
}

impl Default for InboundSettings {
    /// Source: the simulator, one CUBIC download over twelve scenarios: 600 ms is as good as 400 or 800 ms in most,
    /// and better than 400 where links stall (city3 19.7 against 18.2 Mbit/s), than 800 in car4 (66 against 58).
    /// The clock from the flow's last progress on instead of the hole's beginning: car2 0.78 to 0.84, with BBR 0.44 to 0.75.
    /// A hold that follows the 99th percentile of fill times down to 200 ms was far worse (car4 47, car2 24 of 42).
    fn default() -> Self {
        InboundSettings {
            hold_max: Duration::from_millis(600),
            follows_rtt: true,
            hold_total: Duration::from_millis(3_000),
            buffer_bytes_max: 32 << 20,
        }
    }
}

/// What waits, and counters since the start.
#[derive(Clone, Debug, Default)]
pub struct InboundStats {
    /// Delivered.
    pub packets: u64,
    pub bytes: u64,
    /// Delivered after later ones of their flow, because the hold had ended.
    pub late: u64,
    pub duplicates: u64,
    /// Holes given up.
    pub gaps: u64,
    /// Compressed with a context that is not here.
    pub unreadable: u64,
    /// Halves of packets whose other half did not come.
    pub unjoined: u64,
    pub waiting_packets: u64,
    pub waiting_bytes: u64,
    /// Longest wait of a delivered packet over the last second, and the mean, microseconds.
    pub wait_max_us: u64,
    pub wait_mean_us: u64,
}

/// The receiving end of a tunnel.
pub struct Inbound {
    settings: InboundSettings,
    flows: FlowTable<FlowState>,
    /// When to look at which flow again.
    deadlines: BTreeSet<(Instant, u16)>,
    proof: LossProof,
    times: FillTimes,
    /// Gaps known in all flows.
    gaps: usize,
    ready: VecDeque<Packet>,
    released: VecDeque<Waiting>,
    waits: Waits,
    longest_rtt: Duration,
    joiner: Joiner,
    decompressor: Decompressor,
    /// Flows whose compressed packets could not be read.
    forgotten: VecDeque<FlowTag>,
    stats: InboundStats,
}

struct FlowState {
    order: Reorder,
    is_tcp: bool,
    is_quic: bool,
    pace: Pace,
    used: Instant,
    /// When a packet last came that let others go, or left at once.
    progress: Instant,
    deadline: Option<Instant>,
}

impl Inbound {
    pub fn new(now: Instant, settings: InboundSettings) -> Inbound {
        Inbound {
            flows: FlowTable::new(),
            deadlines: BTreeSet::new(),
            proof: LossProof::default(),
            times: FillTimes::new(settings.hold_max),
            gaps: 0,
            ready: VecDeque::new(),
            released: VecDeque::new(),
            waits: Waits::new(now),
            longest_rtt: Duration::ZERO,
            joiner: Joiner::new(settings.buffer_bytes_max / 4),
            decompressor: Decompressor::new(),
            forgotten: VecDeque::new(),
            stats: InboundStats::default(),
            settings,
        }
    }

    pub fn handle_arrival(&mut self, now: Instant, arrival: Arrival) {
        self.proof.on_arrival(now, arrival.channel, arrival.sent);
        let Arrival { flow: tag, seq, form, piece, packet, .. } = arrival;
        let Some(packet) = self.joiner.on_piece(now, (tag, seq, piece), packet) else { return };
        let Some(packet) = self.decompressor.on_packet(tag, seq, form, packet) else {
            return self.on_unreadable(now, tag, seq);
        };
        let arrival = Arrival { packet, form: Form::Whole, piece: Piece::All, ..arrival };
        let (protocol, is_quic) = transport_of(&arrival.packet.bytes).unwrap_or((0, false));
        let Some(index) = self.flows.find(arrival.flow) else {
            return self.begin(now, arrival, protocol, is_quic);
        };
        self.flows.touch(index);
        let Some(flow) = self.flows.at(index) else { return };
        flow.used = now;
        flow.is_tcp |= protocol == TCP;
        flow.is_quic |= is_quic;
        flow.pace.on_packet(now);
        let order = flow.order_of(protocol);
        let (gaps, waiting) = (flow.order.gaps(), flow.order.waiting_bytes());
        let outcome = flow.order.on_packet(now, (arrival.seq, arrival.sent), arrival.packet, order);
        flow.trim(self.gaps);
        self.gaps = self.gaps + flow.order.gaps() - gaps;
        let arrived = flow.order.waiting_bytes() - waiting;
        if !matches!(outcome, Outcome::Duplicate) {
            self.proof.on_new(now, arrival.channel);
        }
        match outcome {
            Outcome::Leaves(packet, filled) => {
                flow.progress = now;
                self.on_fill(now, filled);
                self.deliver(now, now, packet);
            }
            Outcome::Late(packet, gap) => {
                self.on_fill(now, Some(gap));
                self.stats.late += u64::from(order == Order::Kept);
                self.deliver(now, now, packet);
            }
            Outcome::Waits(filled) => {
                self.stats.waiting_packets += 1;
                self.stats.waiting_bytes += arrived as u64;
                if filled.is_some_and(|gap| gap.first == flow.order.next()) {
                    flow.progress = now;
                }
                self.on_fill(now, filled);
                self.settle(now, index);
                self.keep_bound(now);
            }
            Outcome::Duplicate => self.stats.duplicates += 1,
            Outcome::Restart(packet) => {
                self.end(now, index);
                self.begin(now, Arrival { packet, ..arrival }, protocol, is_quic);
            }
        }
    }

    /// The sender gave this packet up.
    pub fn handle_abandon(&mut self, now: Instant, tag: FlowTag, seq: FlowSeq) {
        self.joiner.on_abandon(tag, seq);
        self.abandon(now, tag, seq);
    }

    /// False when the packet had come already.
    fn abandon(&mut self, now: Instant, tag: FlowTag, seq: FlowSeq) -> bool {
        let Some(index) = self.flows.find(tag) else { return true };
        let sent = self.proof.newest();
        let Some(flow) = self.flows.at(index) else { return true };
        let gaps = flow.order.gaps();
        let was_missing = flow.order.on_abandon(now, seq, sent);
        flow.trim(self.gaps);
        self.gaps = self.gaps + flow.order.gaps() - gaps;
        self.settle(now, index);
        was_missing
    }

    /// Channels that can deliver at the moment (for proof of loss).
    pub fn set_live(&mut self, now: Instant, live: &[ChannelId]) {
        self.proof.set_live(live);
        self.waits.on_time(now);
    }

    /// The longest round trip of these channels: a packet lost on that one takes so long to come again.
    pub fn set_longest_rtt(&mut self, rtt: Duration) {
        self.longest_rtt = rtt;
    }

    /// The next packet for TUN, in order.
    pub fn poll_deliver(&mut self) -> Option<Packet> {
        self.ready.pop_front()
    }

    /// A flow whose contexts are lost: tell the peer on any channel.
    pub fn poll_forgotten(&mut self) -> Option<FlowTag> {
        self.forgotten.pop_front()
    }

    /// When the next gap may end.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.deadlines.first().map(|&(at, _)| (at, "gap"))
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, index)) = self.deadlines.first() {
            if at > now {
                return;
            }
            self.settle(now, index);
        }
    }

    pub fn stats(&self) -> InboundStats {
        let (wait_max_us, wait_mean_us) = self.waits.max_and_mean();
        InboundStats { wait_max_us, wait_mean_us, unjoined: self.joiner.unjoined(), ..self.stats.clone() }
    }

    /// A packet's context is not here: it is lost, and the peer has to send whole ones. Unless it had come already, and
    /// this is an old copy from a link that stood still.
    fn on_unreadable(&mut self, now: Instant, tag: FlowTag, seq: FlowSeq) {
        if !self.abandon(now, tag, seq) {
            self.stats.duplicates += 1;
            return;
        }
        self.stats.unreadable += 1;
        if self.forgotten.len() < FORGOTTEN_MAX && !self.forgotten.contains(&tag) {
            self.forgotten.push_back(tag);
        }
    }

    /// A flow begins with its first packet, for which nothing is missing.
    fn begin(&mut self, now: Instant, arrival: Arrival, protocol: u8, is_quic: bool) {
        self.make_room(now);
        self.proof.on_new(now, arrival.channel);
        let flow = FlowState {
            order: Reorder::start(now, arrival.seq, arrival.sent),
            is_tcp: protocol == TCP,
            is_quic,
            pace: Pace { since: now, packets: 1, is_bulk: false },
            used: now,
            progress: now,
            deadline: None,
        };
        self.gaps += flow.order.gaps();
        self.flows.insert(arrival.flow, flow);
        self.deliver(now, now, arrival.packet);
    }

    /// Takes out flows that were silent for long, and the most silent one if the table is full.
    fn make_room(&mut self, now: Instant) {
        for _ in 0..EXPIRED_PER_FLOW {
            let Some(index) = self.flows.oldest() else { return };
            let is_idle =
                self.flows.at(index).is_some_and(|f| now.saturating_duration_since(f.used) > IDLE_MAX);
            if !is_idle && self.flows.len() < FLOWS_MAX {
                return;
            }
            self.end(now, index);
        }
    }

    /// Lets everything go that waits in a flow, and forgets the flow.
    fn end(&mut self, now: Instant, index: u16) {
        let Some(mut flow) = self.flows.remove(index) else { return };
        self.gaps -= flow.order.gaps();
        if let Some(at) = flow.deadline {
            self.deadlines.remove(&(at, index));
        }
        self.stats.gaps += flow.order.release(&mut self.released, |_| true);
        self.deliver_released(now);
    }

    /// Lets go what may leave in a flow, and sets the time to look again.
    fn settle(&mut self, now: Instant, index: u16) {
        let Some(flow) = self.flows.at(index) else { return };
        let hold_max = self.settings.hold_max;
        // For TCP and QUIC the sender sends again until it arrives, or says that it gave up: the bound is for
        // when the sender is gone, and a proof of loss ends no wait.
        let waits_long = flow.is_tcp || flow.is_quic;
        let long = match self.settings.follows_rtt {
            true => hold_max.max(self.longest_rtt * 5 / 4 + AGAIN_MARGIN),
            false => hold_max,
        };
        let (hold, resend) = match waits_long {
            true => (long, long),
            false => (hold_max.min(HOLD_OTHER_MAX), self.times.resend_window()),
        };
        let progress = waits_long.then_some(flow.progress);
        let total = self.settings.hold_total;
        let patience = Patience { now, hold, total, resend, progress, proof: &self.proof };
        self.stats.gaps += flow.order.release(&mut self.released, |gap| patience.end(gap).is_none());
        let deadline = flow.order.blocking().and_then(|gap| patience.end(gap));
        // A time to look again that is near enough stays.
        let is_near =
            |at: Instant| at > now && deadline.is_some_and(|new| at <= new && at + LOOK_AGAIN > new);
        if flow.deadline != deadline && !flow.deadline.is_some_and(is_near) {
            if let Some(old) = flow.deadline {
                self.deadlines.remove(&(old, index));
            }
            if let Some(new) = deadline {
                self.deadlines.insert((new, index));
            }
            flow.deadline = deadline;
        }
        self.deliver_released(now);
    }

    /// Gives gaps up, the one that would end first before others, until no more waits than may.
    fn keep_bound(&mut self, now: Instant) {
        let bound = self.settings.buffer_bytes_max as u64;
        while self.stats.waiting_bytes + self.stats.waiting_packets * PACKET_COST > bound {
            let Some(&(_, index)) = self.deadlines.first() else { return };
            let Some(flow) = self.flows.at(index) else { return };
            let Some(first) = flow.order.blocking().map(|gap| gap.first) else { return };
            self.stats.gaps += flow.order.release(&mut self.released, |gap| gap.first == first);
            self.deliver_released(now);
            self.settle(now, index);
        }
    }

    fn deliver_released(&mut self, now: Instant) {
        while let Some(Waiting { came, packet, .. }) = self.released.pop_front() {
            self.stats.waiting_packets -= 1;
            self.stats.waiting_bytes -= packet.len() as u64;
            self.deliver(now, came, packet);
        }
    }

    fn deliver(&mut self, now: Instant, came: Instant, packet: Packet) {
        self.stats.packets += 1;
        self.stats.bytes += packet.len() as u64;
        self.waits.on_packet(now, now.saturating_duration_since(came));
        self.ready.push_back(packet);
    }

    fn on_fill(&mut self, now: Instant, filled: Option<Gap>) {
        if let Some(gap) = filled.filter(|g| !g.is_abandoned && self.proof.is_lost(g)) {
            self.times.on_resent(now.saturating_duration_since(gap.since));
        }
    }
}

impl FlowState {
    /// Forgets old gaps if there are too many, here or in all flows.
    fn trim(&mut self, gaps_of_all: usize) {
        self.order.trim(if gaps_of_all > GAPS_MAX { FLOW_GAPS_FEW } else { FLOW_GAPS_MAX });
    }

    fn order_of(&self, protocol: u8) -> Order {
        let is_bulk = self.pace.is_bulk && protocol != ICMP && protocol != ICMP6;
        match self.is_tcp || is_bulk {
            true => Order::Kept,
            false => Order::AtOnce,
        }
    }
}

/// How long to wait for a gap, as things stand.
struct Patience<'a> {
    now: Instant,
    hold: Duration,
    total: Duration,
    resend: Duration,
    /// When the flow last got on, if that counts.
    progress: Option<Instant>,
    proof: &'a LossProof,
}

impl Patience<'_> {
    /// When to look at the gap again; `None` when it is over.
    fn end(&self, gap: &Gap) -> Option<Instant> {
        let since = self.progress.map_or(gap.since, |at| at.max(gap.since));
        let hold_end = (since + self.hold).min(gap.since + self.total);
        let resend_end = (since + self.resend).min(hold_end);
        if self.now < resend_end {
            return Some(resend_end);
        }
        if self.now >= hold_end || self.proof.is_lost(gap) {
            return None;
        }
        // The proof may come with a packet of any flow.
        Some(hold_end.min(self.now + LOOK_AGAIN))
    }
}

/// Whether a flow sends many packets.
struct Pace {
    since: Instant,
    packets: u32,
    is_bulk: bool,
}

impl Pace {
    fn on_packet(&mut self, now: Instant) {
        self.packets += 1;
        let time = now.saturating_duration_since(self.since);
        if time >= PACE_WINDOW {
            let per_second = u128::from(self.packets) * 1_000_000 / time.as_micros().max(1);
            self.is_bulk = per_second > if self.is_bulk { BULK_LEAVE } else { BULK_ENTER };
            self.since = now;
            self.packets = 0;
        }
    }
}

/// Waits of delivered packets: this second's, and those of the last full one.
struct Waits {
    since: Instant,
    this: WaitSum,
    last: WaitSum,
}

#[derive(Clone, Copy, Default)]
struct WaitSum {
    packets: u64,
    sum_us: u64,
    max_us: u64,
}

impl Waits {
    fn new(now: Instant) -> Waits {
        Waits { since: now, this: WaitSum::default(), last: WaitSum::default() }
    }

    fn on_packet(&mut self, now: Instant, wait: Duration) {
        self.on_time(now);
        let us = wait.as_micros() as u64;
        self.this.packets += 1;
        self.this.sum_us += us;
        self.this.max_us = self.this.max_us.max(us);
    }

    fn on_time(&mut self, now: Instant) {
        let time = now.saturating_duration_since(self.since);
        if time >= Duration::from_secs(1) {
            let this = std::mem::take(&mut self.this);
            self.last = if time < Duration::from_secs(2) { this } else { WaitSum::default() };
            self.since = now;
        }
    }

    fn max_and_mean(&self) -> (u64, u64) {
        let packets = (self.this.packets + self.last.packets).max(1);
        (self.this.max_us.max(self.last.max_us), (self.this.sum_us + self.last.sum_us) / packets)
    }
}

/// Longest hold of other flows: calls suffer more from waiting than from order. Source: a guess.
const HOLD_OTHER_MAX: Duration = Duration::from_millis(100);
/// Flows known at a time.
const FLOWS_MAX: usize = 4096;
/// Silence after which a flow is forgotten.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// More than one, so that forgotten flows become fewer while new ones come.
const EXPIRED_PER_FLOW: usize = 2;
/// Gaps known at a time in all flows, 48 bytes each, before each flow may keep only few; and in one flow.
const GAPS_MAX: usize = 32_768;
const FLOW_GAPS_MAX: usize = 512;
const FLOW_GAPS_FEW: usize = 4;
/// Bytes of memory that a waiting packet takes beside its own.
const PACKET_COST: u64 = 128;
/// How often to look whether a loss is proven.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Packets a second above which a flow counts as bulk, and below which it no longer does.
/// Source: voice and games send 50 to 128.
const BULK_ENTER: u128 = 200;
const BULK_LEAVE: u128 = 100;
const PACE_WINDOW: Duration = Duration::from_millis(250);

/// What a packet sent again may take beyond five quarters of the longest round trip. Source: random sets of links, 5.6
/// Mbit/s at 600 ms beside 0.3 Mbit/s: 0.46 of the first alone with the hold of 600 ms, 0.92 with this.
const AGAIN_MARGIN: Duration = Duration::from_millis(100);
/// Flows that wait for the peer to be told; the others are told of with their next packet.
const FORGOTTEN_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::classify::tests as make;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_hole_is_waited_for_until_it_is_filled() {
        let mut bench = Bench::new();
        assert_eq!(bench.tcp(0, 1, 0), [0]);
        assert!(bench.tcp(5, 1, 2).is_empty());
        assert_eq!(bench.inbound.poll_timeout(), Some((bench.at(605), "gap")));
        assert_eq!(bench.tcp(50, 1, 1), [1, 2]);
        assert_eq!(bench.inbound.poll_timeout(), None);
        let stats = bench.inbound.stats();
        assert_eq!((stats.packets, stats.gaps, stats.late, stats.wait_max_us), (3, 0, 0, 45_000));
        assert_eq!((stats.waiting_packets, stats.waiting_bytes), (0, 0));
    }

    #[test]
    fn halves_take_their_turn_as_one_packet() {
        let mut bench = Bench::new();
        bench.tcp(0, 1, 0);
        let half = |piece: Piece, bytes: &[u8], channel: u8, at: Instant| Arrival {
            channel: ChannelId(channel),
            flow: FlowTag(1),
            seq: FlowSeq(1),
            sent: Ticks::at(at, at),
            form: Form::Whole,
            piece,
            packet: Packet::complete(bytes),
        };
        let mut whole = make::tcp4(1, 2, 16, 0, &[], 20);
        let end = whole.len() - 6;
        whole[end..].copy_from_slice(&[0, 1, 0, 0, 0, 1]);
        let (head, tail) = whole.split_at(30);
        bench.inbound.handle_arrival(bench.at(1), half(Piece::Tail, tail, 1, bench.at(1)));
        assert!(bench.tcp(2, 1, 2).is_empty());
        bench.inbound.handle_arrival(bench.at(3), half(Piece::Head, head, 0, bench.at(3)));
        assert_eq!(bench.drain(), [1, 2]);
        assert_eq!(bench.inbound.stats().packets, 3);
    }

    #[test]
    fn without_proof_the_hold_ends_the_wait_and_a_late_packet_leaves_once() {
        let mut bench = Bench::new();
        bench.inbound.set_live(bench.at(0), &[ChannelId(0), ChannelId(1)]);
        bench.tcp_on(0, 0, 1, 0);
        bench.tcp_on(0, 1, 1, 1);
        bench.tcp_on(0, 0, 1, 3);
        assert!((1..50).all(|i| bench.tcp_on(i * 10, 0, 1, 3 + i as u32).is_empty()), "channel 1 owes proof");
        assert!(bench.run_until(599).is_empty());
        assert_eq!(bench.run_until(600).len(), 50);
        assert_eq!(bench.tcp(650, 1, 2), [2]);
        assert!(bench.tcp(651, 1, 2).is_empty());
        let stats = bench.inbound.stats();
        assert_eq!((stats.gaps, stats.late, stats.duplicates), (1, 1, 1));
    }

    #[test]
    fn proof_of_loss_ends_no_wait_of_tcp_because_the_sender_sends_again() {
        let mut bench = Bench::new();
        bench.inbound.set_live(bench.at(0), &[ChannelId(0), ChannelId(1)]);
        bench.tcp_on(0, 0, 1, 0);
        bench.tcp_on(0, 1, 1, 1);
        bench.tcp_on(1, 0, 1, 3);
        bench.tcp_on(30, 0, 1, 4);
        assert!(bench.tcp_on(31, 1, 2, 0) == [0], "another flow brings proof from channel 1");
        assert!(bench.run_until(600).is_empty());
        assert_eq!(bench.run_until(601), [3, 4]);
    }

    #[test]
    fn what_the_sender_gave_up_is_not_waited_for() {
        let mut bench = Bench::new();
        bench.tcp(0, 1, 0);
        assert!(bench.tcp(1, 1, 2).is_empty());
        bench.inbound.handle_abandon(bench.at(2), FlowTag(1), FlowSeq(1));
        assert_eq!(bench.drain(), [2]);
    }

    #[test]
    fn a_hole_is_waited_for_while_earlier_ones_are_filled_but_not_for_ever() {
        let mut bench = Bench::new();
        (0..20).for_each(|seq| _ = bench.tcp(0, 1, seq * 2));
        // A slow channel sends again, one packet each half second.
        for n in 0..5 {
            assert_eq!(bench.tcp(500 * (u64::from(n) + 1), 1, n * 2 + 1), [n * 2 + 1, n * 2 + 2]);
        }
        assert_eq!(bench.inbound.stats().gaps, 0);
        assert!(bench.run_until(2_999).is_empty());
        assert_eq!(bench.run_until(3_000).len(), 14);
    }

    #[test]
    fn on_a_long_path_a_hole_is_waited_for_until_it_can_be_filled() {
        let mut bench = Bench::new();
        bench.inbound.set_longest_rtt(Duration::from_millis(1_200));
        bench.tcp(0, 1, 0);
        assert!(bench.tcp(1, 1, 2).is_empty());
        assert!(bench.run_until(1_600).is_empty());
        assert_eq!(bench.run_until(1_601), [2]);
        // But not where the owner has set a time.
        let hold_max = Duration::from_millis(200);
        let settings = InboundSettings { hold_max, follows_rtt: false, ..InboundSettings::default() };
        let mut bench = Bench::with(settings);
        bench.inbound.set_longest_rtt(Duration::from_millis(1_200));
        bench.tcp(0, 1, 0);
        assert!(bench.tcp(1, 1, 2).is_empty());
        assert!(bench.run_until(200).is_empty());
        assert_eq!(bench.run_until(201), [2]);
    }

    #[test]
    fn few_udp_packets_leave_as_they_come_but_once() {
        let mut bench = Bench::new();
        let order: Vec<u32> = [0, 2, 2, 1, 1, 5].iter().flat_map(|&seq| bench.udp(0, 1, seq)).collect();
        assert_eq!(order, [0, 2, 1, 5]);
    }

    #[test]
    fn bulk_udp_is_ordered_for_a_short_while() {
        let mut bench = Bench::new();
        (0..600).for_each(|i| _ = bench.udp(i, 1, i as u32));
        assert!(bench.udp(600, 1, 601).is_empty());
        assert!(bench.run_until(699).is_empty());
        assert_eq!(bench.run_until(700), [601]);
    }

    #[test]
    fn bulk_quic_waits_as_long_as_tcp() {
        let mut bench = Bench::new();
        let packet = || make::udp4(443, 2, 20);
        (0..600).for_each(|n| _ = bench.arrive((1, n as u32, 0, n, n), packet()));
        assert!(bench.arrive((1, 601, 0, 600, 600), packet()).is_empty());
        assert!(bench.run_until(1_199).is_empty());
        assert_eq!(bench.run_until(1_200), [601]);
    }

    #[test]
    fn a_full_buffer_gives_up_the_oldest_holes() {
        let settings = InboundSettings { buffer_bytes_max: 10_000, ..InboundSettings::default() };
        let mut bench = Bench::with(settings);
        for flow in 0..100 {
            bench.tcp(u64::from(flow), flow, 0);
            bench.tcp(u64::from(flow), flow, 2);
            let stats = bench.inbound.stats();
            assert!(stats.waiting_bytes + stats.waiting_packets * PACKET_COST <= 10_000);
        }
        assert!(!bench.tcp(100, 99, 3).contains(&3), "the newest still waits");
        assert!(bench.inbound.stats().gaps > 30);
    }

    #[test]
    fn a_flow_that_begins_anew_is_taken_up() {
        let mut bench = Bench::new();
        bench.tcp(0, 1, 5_000_000);
        bench.tcp(0, 1, 5_000_002);
        assert!(bench.tcp(1, 1, 0).is_empty());
        assert_eq!(bench.tcp(1, 1, 1), [5_000_002, 1]);
        assert_eq!(bench.tcp(1, 1, 2), [2]);
    }

    #[test]
    fn ten_thousand_flows_with_holes_stay_within_bounds() {
        let mut bench = Bench::new();
        for seq in (0..40).step_by(2) {
            (0..10_000).for_each(|flow| _ = bench.tcp(u64::from(seq), flow, seq));
        }
        let stats = bench.inbound.stats();
        assert!(bench.inbound.flows.len() <= FLOWS_MAX);
        assert!(stats.waiting_bytes + stats.waiting_packets * PACKET_COST <= 32 << 20);
        assert!(bench.inbound.gaps <= GAPS_MAX + FLOWS_MAX * FLOW_GAPS_FEW);
        bench.run_until(1_000);
        assert_eq!(bench.inbound.stats().waiting_packets, 0);
        assert_eq!(bench.inbound.stats().packets, 200_000);
    }

    /// A packet on its way: flow, sequence, channel, when sent, and when it comes.
    type Way = (u16, u32, u8, u64, u64);

    /// Packets of some flows spread over three channels, some of them twice; each takes up to `spread` ms.
    fn ways(spread: u64) -> impl Strategy<Value = Vec<Way>> {
        let step = (0u16..4, 0u8..3, 0u64..4, 0..=spread, 0u8..10);
        proptest::collection::vec(step, 1..300).prop_map(|steps| {
            let (mut next, mut sent) = ([0u32; 4], 0);
            let mut ways = Vec::new();
            for (flow, channel, gap, delay, copies) in steps {
                sent += gap;
                let seq = next[usize::from(flow)];
                next[usize::from(flow)] += 1;
                // The first packet sets the start, so it comes at once.
                let delay = if seq == 0 { 0 } else { delay };
                ways.push((flow, seq, channel, sent, sent + delay));
                if copies == 0 {
                    ways.push((flow, seq, (channel + 1) % 3, sent, sent + delay * 2));
                }
            }
            ways.sort_by_key(|w| w.4);
            ways
        })
    }

    proptest! {
        #[test]
        fn order_is_kept_when_everything_comes_within_the_hold(ways in ways(440)) {
            let mut bench = Bench::new();
            let mut out: BTreeMap<u16, Vec<u32>> = BTreeMap::new();
            let all: BTreeMap<(u16, u32), ()> = ways.iter().map(|w| ((w.0, w.1), ())).collect();
            for way in &ways {
                bench.way(way).into_iter().for_each(|(flow, seq)| out.entry(flow).or_default().push(seq));
            }
            prop_assert_eq!(out.values().map(Vec::len).sum::<usize>(), all.len());
            for seqs in out.values() {
                prop_assert!(seqs.windows(2).all(|w| w[0] < w[1]), "{:?}", seqs);
            }
        }

        #[test]
        fn no_packet_leaves_twice_and_none_waits_past_the_total_hold(
            ways in ways(900),
            lost in proptest::collection::vec(any::<bool>(), 600),
            live in 0u8..4,
        ) {
            let mut bench = Bench::new();
            let channels: Vec<ChannelId> = (0..live).map(ChannelId).collect();
            bench.inbound.set_live(bench.at(0), &channels);
            let mut came: BTreeMap<(u16, u32), u64> = BTreeMap::new();
            let mut left: BTreeMap<(u16, u32), u64> = BTreeMap::new();
            let heard: Vec<&Way> = ways.iter().zip(lost).filter(|(w, l)| w.1 == 0 || !l).map(|(w, _)| w).collect();
            let end = heard.last().map_or(0, |w| w.4) + 3_100;
            let mut heard = heard.into_iter().peekable();
            for t in 0..=end {
                let mut out = bench.run(t);
                while let Some(way) = heard.next_if(|w| w.4 == t) {
                    came.entry((way.0, way.1)).or_insert(t);
                    out.extend(bench.way(way));
                }
                for key in out {
                    prop_assert!(left.insert(key, t).is_none(), "twice: {:?}", key);
                }
            }
            for (key, t) in &came {
                let gone = left.get(key).copied();
                prop_assert!(gone.is_some_and(|gone| gone - t <= 3_000), "{:?} came {} left {:?}", key, t, gone);
            }
            prop_assert_eq!(bench.inbound.stats().waiting_packets, 0);
            prop_assert_eq!(bench.inbound.stats().waiting_bytes, 0);
        }

        #[test]
        fn one_flows_hole_never_delays_another(holes in proptest::collection::vec(1u32..50, 1..10)) {
            let mut bench = Bench::new();
            for seq in 0..50 {
                if !holes.contains(&seq) {
                    bench.tcp(u64::from(seq), 1, seq);
                }
                prop_assert_eq!(bench.tcp(u64::from(seq), 2, seq), [seq]);
            }
        }
    }

    /// An inbound whose packets carry flow and sequence in their last six bytes.
    struct Bench {
        inbound: Inbound,
        start: Instant,
    }

    #[test]
    fn a_packet_whose_context_is_missing_is_lost_and_told_of_unless_it_had_come() {
        let mut b = Bench::new();
        b.tcp(0, 7, 1);
        b.tcp(1, 7, 2);
        let unreadable = |seq: u32, at: Instant| Arrival {
            channel: ChannelId(0),
            flow: FlowTag(7),
            seq: FlowSeq(seq),
            sent: Ticks::at(at, at),
            form: Form::Compressed,
            piece: Piece::All,
            packet: Packet::complete(&[5, 0, 1, 2, 3]),
        };
        let now = b.at(2);
        b.inbound.handle_arrival(now, unreadable(2, now));
        assert_eq!((b.inbound.poll_forgotten(), b.inbound.stats().duplicates), (None, 1));
        for seq in [3, 4] {
            b.inbound.handle_arrival(now, unreadable(seq, now));
        }
        assert_eq!((b.inbound.poll_forgotten(), b.inbound.poll_forgotten()), (Some(FlowTag(7)), None));
        assert_eq!(b.inbound.stats().unreadable, 2);
        assert_eq!(b.tcp(3, 7, 5), [5], "nobody waits for them");
    }

    impl Bench {
        fn new() -> Bench {
            Bench::with(InboundSettings::default())
        }

        fn with(settings: InboundSettings) -> Bench {
            let start = Instant::now();
            Bench { inbound: Inbound::new(start, settings), start }
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        fn tcp(&mut self, ms: u64, flow: u16, seq: u32) -> Vec<u32> {
            self.tcp_on(ms, 0, flow, seq)
        }

        fn tcp_on(&mut self, ms: u64, channel: u8, flow: u16, seq: u32) -> Vec<u32> {
            let all = self.arrive((flow, seq, channel, ms, ms), make::tcp4(1, 2, 16, 0, &[], 20));
            all.into_iter().map(|(_, seq)| seq).collect()
        }

        fn udp(&mut self, ms: u64, flow: u16, seq: u32) -> Vec<u32> {
            let all = self.arrive((flow, seq, 0, ms, ms), make::udp4(1, 2, 20));
            all.into_iter().map(|(_, seq)| seq).collect()
        }

        fn way(&mut self, way: &Way) -> Vec<(u16, u32)> {
            self.arrive(*way, make::tcp4(1, 2, 16, 0, &[], 20))
        }

        fn arrive(&mut self, (flow, seq, channel, sent, came): Way, mut bytes: Vec<u8>) -> Vec<(u16, u32)> {
            let mut out = self.run(came);
            let end = bytes.len() - 6;
            bytes[end..end + 2].copy_from_slice(&flow.to_be_bytes());
            bytes[end + 2..].copy_from_slice(&seq.to_be_bytes());
            let arrival = Arrival {
                channel: ChannelId(channel),
                flow: FlowTag(flow),
                seq: FlowSeq(seq),
                sent: Ticks::at(self.at(sent), self.start),
                form: Form::Whole,
                piece: Piece::All,
                packet: Packet::complete(&bytes),
            };
            self.inbound.handle_arrival(self.at(came), arrival);
            out.extend(self.drain_all());
            out
        }

        /// Lets time pass, with each deadline kept.
        fn run(&mut self, ms: u64) -> Vec<(u16, u32)> {
            while let Some((at, _)) = self.inbound.poll_timeout().filter(|&(at, _)| at <= self.at(ms)) {
                self.inbound.handle_timeout(at);
            }
            self.drain_all()
        }

        fn run_until(&mut self, ms: u64) -> Vec<u32> {
            self.run(ms).into_iter().map(|(_, seq)| seq).collect()
        }

        fn drain(&mut self) -> Vec<u32> {
            self.drain_all().into_iter().map(|(_, seq)| seq).collect()
        }

        fn drain_all(&mut self) -> Vec<(u16, u32)> {
            std::iter::from_fn(|| self.inbound.poll_deliver())
                .map(|p| {
                    let end = p.len() - 6;
                    let flow = u16::from_be_bytes(p.bytes[end..end + 2].try_into().unwrap());
                    (flow, u32::from_be_bytes(p.bytes[end + 2..].try_into().unwrap()))
                })
                .collect()
        }
    }
}
