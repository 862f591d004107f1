//! One side of the tunnel: the real core, driven as the threads drive it.
//!
//! 1. Datagrams that arrived: acknowledgements to `Sending`, packets to `Receiving` and `Inbound`.
//! 2. Timers that are due. 3. TUN into the flow queues while there is room. 4. Until nothing moves:
//!    acknowledgements, lost packets, rows, runs, datagrams. 5. What `Inbound` delivers.

use super::knobs::Knobs;
use super::link::MS;
use gobonding::channel::receiving::Receiving;
use gobonding::channel::row::{others, SendRow, State};
use gobonding::channel::sending::{Sending, SendingSettings, Transmit};
use gobonding::tunnel::ack_floor::AckFloor;
use gobonding::tunnel::ack_windows::AckWindows;
use gobonding::tunnel::inbound::{Arrival, Inbound};
use gobonding::tunnel::outbound::{Balancer, Outbound, OutboundSettings};
use gobonding::units::{ChannelId, Form, Packet, PacketNumber, Piece, Returned, Ticks};
use gobonding::wire::frame::Frame;
use gobonding::wire::header::DataHeader;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Wire bytes beside an inner packet, over IPv4.
pub const OVERHEAD: u32 = 60;
/// Wire bytes beside the frames of a control datagram: IPv4, UDP, clear header, tag.
const CONTROL_OVERHEAD: u32 = 28 + 8 + 16;
/// Packets that the TUN device holds while the core does not read.
const TUN_QUEUE: usize = 20_000;

/// What travels over a link.
#[derive(Clone, Debug)]
pub enum Datagram {
    Data {
        number: PacketNumber,
        header: DataHeader,
        form: Form,
        piece: Piece,
        packet: Packet,
    },
    Control {
        number: PacketNumber,
        frames: Vec<Frame>,
    },
    /// Without a tunnel.
    Inner(Packet),
}

/// What the endpoint wants done.
pub enum Output {
    Link { link: usize, bytes: u32, datagram: Datagram },
    Deliver(Packet),
}

/// Counters of the glue.
#[derive(Clone, Debug, Default)]
pub struct EndpointCounters {
    pub data_packets: u64,
    pub data_bytes: u64,
    pub control_packets: u64,
    pub control_bytes: u64,
    pub tun_dropped: u64,
    pub rounds: u64,
}

pub struct Endpoint {
    base: Instant,
    pub outbound: Outbound,
    pub inbound: Inbound,
    ack_windows: AckWindows,
    ack_floor: AckFloor,
    edges: BTreeMap<u64, u32>,
    pub sending: Vec<Sending>,
    pub receiving: Vec<Receiving>,
    pub rows: Vec<SendRow>,
    inbox: VecDeque<(usize, u32, Datagram)>,
    tun: VecDeque<Packet>,
    live: Vec<ChannelId>,
    scratch: Vec<u8>,
    pub counters: EndpointCounters,
}

impl Endpoint {
    pub fn new(base: Instant, links: usize, balancer: Balancer, knobs: &Knobs) -> Endpoint {
        let id = |i: usize| ChannelId(i as u8);
        let settings = |i| SendingSettings {
            control: knobs.control.clone(),
            late: knobs.late.unwrap_or(SendingSettings::new(id(i), base, OVERHEAD).late),
            late_busy: knobs.late_busy.unwrap_or(SendingSettings::new(id(i), base, OVERHEAD).late_busy),
            ..SendingSettings::new(id(i), base, OVERHEAD)
        };
        let mut outbound = OutboundSettings::new(balancer, knobs.queues.clone());
        outbound.acks_per_rtt = knobs.acks_per_rtt.unwrap_or(outbound.acks_per_rtt);
        Endpoint {
            base,
            outbound: Outbound::new(base, outbound, [1, 2]),
            inbound: Inbound::new(base, knobs.inbound.clone()),
            ack_windows: AckWindows::new([1, 2]),
            ack_floor: AckFloor::new([1, 2]),
            edges: BTreeMap::new(),
            sending: (0..links).map(|i| Sending::new(base, settings(i))).collect(),
            receiving: (0..links).map(|i| Receiving::new(base, id(i), base)).collect(),
            rows: Vec::new(),
            inbox: VecDeque::new(),
            tun: VecDeque::new(),
            live: Vec::new(),
            scratch: Vec::new(),
            counters: EndpointCounters::default(),
        }
    }

    /// A datagram of `bytes` IP bytes came out of a link.
    pub fn push_datagram(&mut self, link: usize, bytes: u32, d: Datagram) {
        self.inbox.push_back((link, bytes, d));
    }

    /// The host's kernel routed a packet into TUN.
    pub fn push_tun(&mut self, p: Packet) {
        if self.tun.len() < TUN_QUEUE {
            self.tun.push_back(p);
        } else {
            self.counters.tun_dropped += 1;
        }
    }

    pub fn at(&self, now: u64) -> Instant {
        self.base + Duration::from_nanos(now)
    }

    /// Everything that the threads would do at `now`.
    pub fn run(&mut self, now: u64, out: &mut Vec<Output>) {
        let t = self.at(now);
        self.counters.rounds += 1;
        while let Some((link, bytes, d)) = self.inbox.pop_front() {
            self.receive(t, link, bytes, d);
        }
        self.run_timers(t);
        // Acknowledgements leave and rows are read until nothing moves; a handful of rounds at most.
        for _ in 0..64 {
            let mut moved = self.read_tun(t);
            moved |= self.pass_feedback(t);
            moved |= self.pass_lost(t);
            moved |= self.pass_runs(t);
            moved |= self.transmit(t, out);
            if !moved {
                break;
            }
        }
        while let Some(entry) = self.outbound.poll_entry() {
            self.ack_floor.on_entry(entry);
        }
        while let Some((hash, edge)) = self.outbound.poll_edge(t) {
            match edge {
                Some(edge) => _ = self.edges.insert(hash, edge),
                None => _ = self.edges.remove(&hash),
            }
        }
        while let Some(p) = self.ack_floor.poll_due(t) {
            out.push(Output::Deliver(p));
        }
        while let Some(mut p) = self.inbound.poll_deliver() {
            let edges = &self.edges;
            if let Some(hash) = self.ack_windows.on_packet(&mut p, |hash| edges.get(&hash).copied()) {
                self.outbound.handle_syn(t, hash);
            }
            out.extend(self.ack_floor.on_packet(t, p, |hash| edges.contains_key(&hash)).map(Output::Deliver));
        }
    }

    /// When `run` has to be called again, if nothing else happens.
    pub fn deadline(&self) -> Option<u64> {
        let own = [self.outbound.poll_timeout(), self.inbound.poll_timeout(), self.ack_floor.poll_timeout()];
        let channels = self.sending.iter().map(Sending::poll_timeout);
        let receivers = self.receiving.iter().map(Receiving::poll_timeout);
        let first = own.into_iter().chain(channels).chain(receivers).flatten().map(|d| d.0).min()?;
        Some(first.saturating_duration_since(self.base).as_nanos() as u64)
    }

    fn receive(&mut self, t: Instant, link: usize, bytes: u32, d: Datagram) {
        match d {
            Datagram::Data { number, header, form, piece, packet } => {
                self.receiving[link].handle_datagram(t, number, bytes, true);
                let DataHeader { flow, seq, sent } = header;
                let channel = ChannelId(link as u8);
                self.inbound.handle_arrival(t, Arrival { channel, flow, seq, sent, form, piece, packet });
            }
            Datagram::Control { number, frames } => {
                let eliciting = frames.iter().any(Frame::is_ack_eliciting);
                self.receiving[link].handle_datagram(t, number, bytes, eliciting);
                for f in frames {
                    match f {
                        Frame::Ack(a) => {
                            if let Some(s) = self.sending.get_mut(usize::from(a.channel)) {
                                s.handle_ack(t, &a);
                            }
                        }
                        Frame::Forgotten { flow } => {
                            self.outbound.handle_returned(t, Returned::Forgotten(flow))
                        }
                        Frame::Abandon { flow, seq } => self.inbound.handle_abandon(t, flow, seq),
                        _ => {}
                    }
                }
            }
            Datagram::Inner(_) => {}
        }
    }

    fn run_timers(&mut self, t: Instant) {
        let due = |d: Option<(Instant, &'static str)>| d.is_some_and(|d| d.0 <= t);
        for s in self.sending.iter_mut().filter(|s| due(s.poll_timeout())) {
            s.handle_timeout(t);
        }
        if due(self.outbound.poll_timeout()) {
            self.outbound.handle_timeout(t);
        }
        if due(self.inbound.poll_timeout()) {
            self.inbound.handle_timeout(t);
        }
    }

    fn read_tun(&mut self, t: Instant) -> bool {
        let mut moved = false;
        while self.outbound.has_room() {
            let Some(p) = self.tun.pop_front() else { break };
            self.outbound.handle_packet(t, p);
            moved = true;
        }
        moved
    }

    fn pass_feedback(&mut self, t: Instant) -> bool {
        let mut moved = false;
        for i in 0..self.receiving.len() {
            if let Some(row) = self.rows.get(i) {
                self.receiving[i].set_budget(row.feedback_budget);
            }
            while let Some(a) = self.receiving[i].poll_ack(t) {
                self.sending[i].handle_frame(Frame::Ack(a));
                moved = true;
            }
            if let Some(best) = self.best_other(i) {
                if let Some(a) = self.receiving[i].poll_detour(t) {
                    self.sending[best].handle_frame(Frame::Ack(a));
                    moved = true;
                }
            }
        }
        moved
    }

    /// The channel that is up and answers fastest, beside channel `not`.
    fn best_other(&self, not: usize) -> Option<usize> {
        let up = self.rows.iter().enumerate().filter(|(i, r)| *i != not && r.state == State::Up);
        up.min_by_key(|(i, r)| (r.smoothed_rtt, *i)).map(|(i, _)| i)
    }

    fn pass_lost(&mut self, t: Instant) -> bool {
        let mut moved = false;
        for s in &mut self.sending {
            while let Some(b) = s.poll_returned() {
                self.outbound.handle_returned(t, b);
                moved = true;
            }
        }
        moved
    }

    fn pass_runs(&mut self, t: Instant) -> bool {
        self.rows.clear();
        self.rows.extend(self.sending.iter().map(|s| s.row(t)));
        for i in 0..self.sending.len() {
            let others = others(self.rows.iter(), ChannelId(i as u8), self.outbound.is_waiting());
            self.sending[i].set_others(others);
        }
        self.outbound.set_rows(t, &self.rows);
        let live = self.rows.iter().filter(|r| r.state == State::Up).map(|r| r.id);
        if !live.clone().eq(self.live.iter().copied()) {
            self.live = live.collect();
            self.inbound.set_live(t, &self.live);
        }
        let longest = self.rows.iter().filter(|r| r.state == State::Up).map(|r| r.smoothed_rtt).max();
        self.inbound.set_longest_rtt(longest.unwrap_or_default());
        let mut moved = false;
        while let Some(flow) = self.inbound.poll_forgotten() {
            if let Some(best) = self.best_other(usize::MAX) {
                self.sending[best].handle_frame(Frame::Forgotten { flow });
                moved = true;
            }
        }
        while let Some((id, run)) = self.outbound.poll_run(t) {
            self.sending[usize::from(id.0)].handle_run(t, run);
            moved = true;
        }
        while let Some((flow, seq)) = self.outbound.poll_abandoned() {
            if let Some(best) = self.best_other(usize::MAX) {
                self.sending[best].handle_frame(Frame::Abandon { flow, seq });
                moved = true;
            }
        }
        moved
    }

    fn transmit(&mut self, t: Instant, out: &mut Vec<Output>) -> bool {
        let mut moved = false;
        for (link, s) in self.sending.iter_mut().enumerate() {
            while let Some(x) = s.poll_transmit(t) {
                moved = true;
                let (bytes, datagram) = match x {
                    Transmit::Data { number, header, form, piece, packet } => {
                        let bytes = packet.len() as u32 + OVERHEAD;
                        self.counters.data_packets += 1;
                        self.counters.data_bytes += u64::from(bytes);
                        (bytes, Datagram::Data { number, header, form, piece, packet })
                    }
                    Transmit::Control { number, frames } => {
                        self.scratch.clear();
                        frames.iter().for_each(|f| f.encode(&mut self.scratch));
                        let bytes = self.scratch.len() as u32 + CONTROL_OVERHEAD;
                        self.counters.control_packets += 1;
                        self.counters.control_bytes += u64::from(bytes);
                        (bytes, Datagram::Control { number, frames })
                    }
                };
                out.push(Output::Link { link, bytes, datagram });
            }
        }
        moved
    }

    /// The ticks that the core would write at `now`.
    pub fn ticks(&self, now: u64) -> Ticks {
        Ticks::at(self.at(now), self.base)
    }
}

/// Longest that a side sleeps without being asked: nothing in the core waits longer.
pub const IDLE: u64 = 1000 * MS;
