//! The event loop: links, endpoints and inner flows in virtual time.
//!
//! A packet's way: 1. a flow's end sends it on its side. 2. The side's endpoint takes it from TUN (or,
//! without a tunnel, link 0 takes it). 3. A link carries the datagram. 4. The other endpoint delivers it.
//! 5. The flow's other end reads it. Direction 0 is up, router to proxy; side 0 is the router.

use super::endpoint::{Datagram, Endpoint, Output, IDLE};
use super::knobs::Knobs;
use super::link::{Dir, MS, SECOND};
use super::packet;
use super::rng::Rng;
use super::scenario::Scenario;
use super::tcp::NEVER;
use super::traffic::{Algorithm, Flow, Tcp, Udp, OBJECT};
use gobonding::tunnel::outbound::Balancer;
use gobonding::units::Packet;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Virtual time before the scenario's time zero: the tunnel is up and idle, as in the rig.
pub const WARM_UP: u64 = 2 * SECOND;
/// Time after the end in which late probes still count.
const TAIL: u64 = 2 * SECOND;
/// Between two points of a series.
pub const STEP: u64 = 100 * MS;

/// What lies between the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// The core over all links.
    Tunnel(Balancer),
    /// Link 0 alone, no tunnel.
    Direct,
}

/// What runs inside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Workload {
    pub name: &'static str,
    /// TCP flows, their sending side and control.
    pub flows: u16,
    pub from: usize,
    pub algorithm: Algorithm,
    pub probes: bool,
    pub web: bool,
    /// UDP at this share of the links' mean capacity, from `from`; none at zero.
    pub blast: f64,
}

/// All workloads by name.
pub fn workloads() -> Vec<Workload> {
    let base = Workload {
        name: "tcp_down",
        flows: 1,
        from: 1,
        algorithm: Algorithm::Cubic,
        probes: false,
        web: false,
        blast: 0.0,
    };
    let bbr = Algorithm::Bbr;
    vec![
        base,
        Workload { name: "tcp_up", from: 0, ..base },
        Workload { name: "tcp_down_bbr", algorithm: bbr, ..base },
        Workload { name: "tcp_up_bbr", from: 0, algorithm: bbr, ..base },
        Workload { name: "tcp_down_8", flows: 8, ..base },
        Workload { name: "tcp_up_8", flows: 8, from: 0, ..base },
        Workload { name: "latency_idle", flows: 0, probes: true, ..base },
        Workload { name: "latency_loaded", probes: true, ..base },
        Workload { name: "failover", probes: true, ..base },
        Workload { name: "web", flows: 0, web: true, ..base },
        Workload { name: "udp_down", flows: 0, blast: 0.9, ..base },
        Workload { name: "udp_up", flows: 0, blast: 0.9, from: 0, ..base },
        Workload { name: "udp_flood_down", flows: 0, blast: 1.6, ..base },
        Workload { name: "udp_flood_up", flows: 0, blast: 1.6, from: 0, ..base },
    ]
}

/// One run's conditions.
#[derive(Clone, Debug)]
pub struct Run {
    pub scenario: Scenario,
    pub path: Path,
    pub workload: Workload,
    pub seconds: f64,
    pub seed: u64,
    /// Time that a thread takes to wake up, nanoseconds.
    pub latency: u64,
    pub knobs: Knobs,
}

/// One point of the series, for the direction of the workload.
#[derive(Clone, Debug, Default)]
pub struct Point {
    pub links: Vec<LinkPoint>,
    /// Inner payload read, bytes in the step.
    pub goodput: u64,
    pub outbound_queue_bytes: u64,
    pub reorder_wait_ms: f64,
    pub inner_cwnd: u32,
}

#[derive(Clone, Debug, Default)]
pub struct LinkPoint {
    pub offered_mbit: f64,
    pub used_mbit: f64,
    pub queue_ms: f64,
    pub cwnd: u64,
    pub in_flight: u64,
    pub rate_mbit: f64,
    pub estimated_queue_ms: f64,
    pub state: Option<gobonding::channel::row::State>,
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub goodput80_mbit: f64,
    pub goodput_mbit: f64,
    pub offered80_mbit: f64,
    /// Inner payload read per 100 ms.
    pub bins: Vec<u64>,
    pub per_flow_mbit: Vec<f64>,
    pub retransmits: u64,
    pub timeouts: u64,
    pub undos: u64,
    /// Sorted one-way delays of probes, by direction; lost and longest gap beside.
    pub probe_delays: [Vec<u64>; 2],
    pub probes_lost: [u64; 2],
    pub probes_sent: [u64; 2],
    pub longest_gap: [u64; 2],
    pub objects: Vec<u64>,
    pub udp_lost: f64,
    pub udp_reordered: u64,
    /// UDP packets that were delivered a second time.
    pub doubles: u64,
    /// Share of the data direction's wire bytes that the other direction spent on control.
    pub feedback_share: f64,
    /// Data packets beyond the first copy, as a share.
    pub again_share: f64,
    pub duplicates: u64,
    pub aqm_dropped: u64,
    pub tun_dropped: u64,
    pub reorder_wait_max_ms: f64,
    pub series: Vec<Point>,
    pub events: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Link(u8, u8),
    Side(u8),
    Flow(u16),
    Sample,
    Stop,
}

/// The running world.
pub struct World {
    run: Run,
    now: u64,
    order: u64,
    heap: BinaryHeap<Reverse<(u64, u64, Event)>>,
    links: Vec<[Dir<(u32, Datagram)>; 2]>,
    link_at: Vec<[u64; 2]>,
    sides: Vec<Endpoint>,
    side_at: [u64; 2],
    flows: Vec<Flow>,
    flow_at: Vec<u64>,
    sent: Vec<(usize, Packet)>,
    outputs: Vec<Output>,
    end: u64,
    mss: u32,
    step_bytes: u64,
    flow_bytes: Vec<u64>,
    last_counts: Vec<(u64, u64, u64)>,
    outcome: Outcome,
}

impl World {
    pub fn new(run: Run) -> World {
        let (links, sides, mss) = match run.path {
            Path::Direct => (1, Vec::new(), 1448),
            Path::Tunnel(b) => {
                let (n, base) = (run.scenario.links.len(), Instant::now());
                (n, (0..2).map(|_| Endpoint::new(base, n, b, &run.knobs)).collect(), 1388)
            }
        };
        let seed = run.seed.wrapping_mul(1_000_003) ^ run.scenario.seed;
        let dir = |i: usize, d: usize| {
            let spec = run.scenario.links[i].dirs[d].clone();
            Dir::new(spec, seed.wrapping_add((i * 2 + d) as u64 * 7_777_777), WARM_UP)
        };
        let mut w = World {
            now: 0,
            order: 0,
            heap: BinaryHeap::new(),
            links: (0..links).map(|i| [dir(i, 0), dir(i, 1)]).collect(),
            link_at: vec![[NEVER; 2]; links],
            sides,
            side_at: [NEVER; 2],
            flows: Vec::new(),
            flow_at: Vec::new(),
            sent: Vec::new(),
            outputs: Vec::new(),
            end: WARM_UP + (run.seconds * SECOND as f64) as u64,
            mss,
            step_bytes: 0,
            flow_bytes: Vec::new(),
            last_counts: vec![(0, 0, 0); links],
            outcome: Outcome::default(),
            run,
        };
        w.begin();
        w
    }

    /// Runs to the end.
    pub fn finish(mut self) -> Outcome {
        while self.step() {}
        self.sum_up();
        self.outcome
    }

    /// One event; false at the end.
    pub fn step(&mut self) -> bool {
        let Some(Reverse((at, _, event))) = self.heap.pop() else { return false };
        if at > self.end + TAIL {
            return false;
        }
        self.now = self.now.max(at);
        self.outcome.events += 1;
        match event {
            Event::Link(i, d) => self.on_link(usize::from(i), usize::from(d), at),
            Event::Side(s) => self.on_side(usize::from(s), at),
            Event::Flow(f) => self.on_flow(usize::from(f), at),
            Event::Sample => self.sample(),
            Event::Stop => self.stop(),
        }
        self.send_pending();
        true
    }

    pub fn now(&self) -> u64 {
        self.now
    }

    /// The two ends of the tunnel; none in a direct run.
    pub fn sides(&self) -> &[Endpoint] {
        &self.sides
    }

    pub fn links(&self) -> &[[Dir<(u32, Datagram)>; 2]] {
        &self.links
    }

    pub fn flows(&self) -> &[Flow] {
        &self.flows
    }

    fn begin(&mut self) {
        let w = self.run.workload;
        let end = self.end;
        // Not two seeds begin at the same place of a round.
        let zero = WARM_UP + Rng::new(self.run.seed).bits() % (30 * MS);
        for _ in 0..w.flows {
            self.open(Tcp::new(zero, self.flows.len() as u16, self.mss, w.from, w.algorithm, u64::MAX / 4));
        }
        if w.web {
            self.open(Tcp::new(zero, self.flows.len() as u16, self.mss, 1, w.algorithm, OBJECT));
        }
        if w.probes {
            for from in [1, 0] {
                let id = self.flows.len() as u16;
                self.add(Flow::Udp(Udp::new(id, from, 200, 100.0, zero + SECOND, end)));
            }
        }
        if w.blast > 0.0 {
            let rate: f64 = self.run.scenario.links.iter().map(|l| l.dirs[w.from].mean_rate()).sum();
            let id = self.flows.len() as u16;
            self.add(Flow::Udp(Udp::new(id, w.from, 1300, w.blast * rate / 1328.0, zero, end)));
        }
        for side in 0..self.sides.len() {
            self.wake(side, 0);
        }
        self.push(WARM_UP + STEP, Event::Sample);
        self.push(end, Event::Stop);
    }

    fn open(&mut self, t: Tcp) {
        self.add(Flow::Tcp(Box::new(t)));
    }

    fn add(&mut self, f: Flow) {
        let at = f.deadline().max(self.now);
        let id = self.flows.len();
        self.flows.push(f);
        self.flow_bytes.push(0);
        self.flow_at.push(at);
        self.push(at, Event::Flow(id as u16));
    }

    fn push(&mut self, at: u64, e: Event) {
        self.order += 1;
        self.heap.push(Reverse((at, self.order, e)));
    }

    fn wake(&mut self, side: usize, at: u64) {
        if at < self.side_at[side] {
            self.side_at[side] = at;
            self.push(at, Event::Side(side as u8));
        }
    }

    fn plan_link(&mut self, i: usize, d: usize) {
        let at = self.links[i][d].next_event();
        if at < self.link_at[i][d] {
            self.link_at[i][d] = at;
            self.push(at, Event::Link(i as u8, d as u8));
        }
    }

    fn plan_flow(&mut self, f: usize) {
        let at = self.flows[f].deadline().max(self.now);
        if at < self.flow_at[f] {
            self.flow_at[f] = at;
            self.push(at, Event::Flow(f as u16));
        }
    }

    fn on_link(&mut self, i: usize, d: usize, at: u64) {
        if self.link_at[i][d] != at {
            return;
        }
        self.link_at[i][d] = NEVER;
        while let Some((bytes, datagram)) = self.links[i][d].poll(at) {
            let side = 1 - d;
            match datagram {
                Datagram::Inner(p) => self.deliver(side, &p),
                other => {
                    self.sides[side].push_datagram(i, bytes, other);
                    self.wake(side, at + self.run.latency);
                }
            }
        }
        self.plan_link(i, d);
    }

    fn on_side(&mut self, side: usize, at: u64) {
        if self.side_at[side] != at {
            return;
        }
        self.side_at[side] = NEVER;
        let mut outputs = std::mem::take(&mut self.outputs);
        self.sides[side].run(at, &mut outputs);
        for o in outputs.drain(..) {
            match o {
                Output::Link { link, bytes, datagram } => {
                    self.links[link][side].push(at, bytes, (bytes, datagram));
                    self.plan_link(link, side);
                }
                Output::Deliver(p) => self.deliver(side, &p),
            }
        }
        self.outputs = outputs;
        // A deadline that has passed and was not served would stop time: a microsecond more.
        let next = self.sides[side].deadline().unwrap_or(NEVER).max(at + 1000).min(at + IDLE);
        self.wake(side, next);
    }

    fn on_flow(&mut self, f: usize, at: u64) {
        if self.flow_at[f] != at {
            return;
        }
        self.flow_at[f] = NEVER;
        let mut sent = std::mem::take(&mut self.sent);
        self.flows[f].on_timer(at, &mut sent);
        self.sent = sent;
        self.plan_flow(f);
    }

    /// A packet reached the host of `side`.
    fn deliver(&mut self, side: usize, p: &Packet) {
        let inner = packet::read(side, p);
        let (packet::Inner::Udp { flow, .. } | packet::Inner::Tcp(packet::Segment { flow, .. })) = inner;
        let f = usize::from(flow);
        let mut sent = std::mem::take(&mut self.sent);
        let read = self.flows[f].on_packet(self.now, side, &inner, &mut sent);
        self.sent = sent;
        if read > 0 {
            let bytes = match &self.flows[f] {
                Flow::Tcp(_) => read * u64::from(self.mss),
                Flow::Udp(_) if self.run.workload.blast > 0.0 => read * 1300,
                Flow::Udp(_) => 0,
            };
            self.step_bytes += bytes;
            self.flow_bytes[f] += bytes;
        }
        if self.run.workload.web {
            self.next_object(f);
        }
        self.plan_flow(f);
    }

    fn next_object(&mut self, f: usize) {
        let Flow::Tcp(t) = &self.flows[f] else { return };
        let Some(done) = t.finished_at.filter(|_| f + 1 == self.flows.len() && self.now < self.end) else {
            return;
        };
        self.outcome.objects.push(done - t.opened_at);
        if self.flows.len() < 40_000 {
            let id = self.flows.len() as u16;
            self.open(Tcp::new(self.now, id, self.mss, 1, self.run.workload.algorithm, OBJECT));
        }
    }

    /// What the flows sent goes to TUN, or to the link.
    fn send_pending(&mut self) {
        let mut sent = std::mem::take(&mut self.sent);
        for (side, p) in sent.drain(..) {
            if self.sides.is_empty() {
                let bytes = p.len() as u32;
                self.links[0][side].push(self.now, bytes, (bytes, Datagram::Inner(p)));
                self.plan_link(0, side);
            } else {
                self.sides[side].push_tun(p);
                self.wake(side, self.now + self.run.latency);
            }
        }
        self.sent = sent;
    }

    fn stop(&mut self) {
        for f in &mut self.flows {
            if let Flow::Tcp(t) = f {
                t.stop();
            }
        }
    }

    fn sample(&mut self) {
        let d = self.run.workload.from;
        let (from, to) = (self.now - STEP - WARM_UP, self.now - WARM_UP);
        let mut p = Point { goodput: std::mem::take(&mut self.step_bytes), ..Point::default() };
        for i in 0..self.links.len() {
            let dir = &self.links[i][d];
            let c = dir.counters;
            let last = self.last_counts[i];
            self.last_counts[i] = (c.delivered_bytes, c.wait, c.served);
            let mbit = |bytes: f64| bytes * 8.0 / 1e6 / (STEP as f64 / SECOND as f64);
            let mut l = LinkPoint {
                offered_mbit: mbit(dir.spec.offered(from, to)),
                used_mbit: mbit((c.delivered_bytes - last.0) as f64),
                queue_ms: (c.wait - last.1) as f64 / 1e6 / (c.served - last.2).max(1) as f64,
                ..LinkPoint::default()
            };
            if let Some(row) = self.sides.get(d).and_then(|s| s.rows.get(i)) {
                l.cwnd = row.cwnd;
                l.in_flight = row.bytes_in_flight;
                l.rate_mbit = row.rate.0 as f64 * 8.0 / 1e6;
                l.estimated_queue_ms = row.queue_delay.as_secs_f64() * 1e3;
                l.state = Some(row.state);
            }
            p.links.push(l);
        }
        if let [a, b] = self.sides.as_slice() {
            let (sender, receiver) = if d == 0 { (a, b) } else { (b, a) };
            p.outbound_queue_bytes = sender.outbound.stats().queue_bytes;
            let wait = receiver.inbound.stats();
            p.reorder_wait_ms = wait.wait_max_us as f64 / 1e3;
            self.outcome.reorder_wait_max_ms = self.outcome.reorder_wait_max_ms.max(p.reorder_wait_ms);
        }
        if let Some(Flow::Tcp(t)) = self.flows.first() {
            p.inner_cwnd = t.sender.as_ref().map_or(0, |s| s.cwnd);
        }
        self.outcome.bins.push(p.goodput);
        self.outcome.series.push(p);
        if self.now < self.end {
            self.push(self.now + STEP, Event::Sample);
        }
    }

    fn sum_up(&mut self) {
        let d = self.run.workload.from;
        let o = &mut self.outcome;
        let n = o.bins.len();
        let mbit = |bytes: u64, bins: usize| bytes as f64 * 8.0 / 1e6 / (bins.max(1) as f64 * 0.1);
        let skip = n / 5;
        o.goodput_mbit = mbit(o.bins.iter().sum(), n);
        o.goodput80_mbit = mbit(o.bins[skip..].iter().sum(), n - skip);
        let offered = |p: &Point| p.links.iter().map(|l| l.offered_mbit).sum::<f64>();
        o.offered80_mbit = o.series[skip..].iter().map(offered).sum::<f64>() / (n - skip).max(1) as f64;
        o.doubles = self.flows.iter().map(|f| if let Flow::Udp(u) = f { u.doubles } else { 0 }).sum();
        for (f, bytes) in self.flows.iter().zip(&self.flow_bytes) {
            match f {
                Flow::Tcp(t) => {
                    o.per_flow_mbit.push(mbit(*bytes, n));
                    if let Some(s) = &t.sender {
                        o.retransmits += s.retransmits;
                        o.timeouts += s.timeouts;
                        o.undos += s.undos;
                    }
                }
                Flow::Udp(u) if self.run.workload.blast > 0.0 => {
                    o.udp_lost = u.lost() as f64 / u.sent.len().max(1) as f64;
                    o.udp_reordered = u.reordered;
                }
                Flow::Udp(u) => {
                    o.probe_delays[u.from] = u.delays();
                    o.probes_lost[u.from] = u.lost();
                    o.probes_sent[u.from] = u.sent.len() as u64;
                    o.longest_gap[u.from] = u.longest_gap;
                }
            }
        }
        if let [a, b] = self.sides.as_slice() {
            let (sender, receiver) = if d == 0 { (a, b) } else { (b, a) };
            let data = sender.counters.data_bytes.max(1) as f64;
            o.feedback_share = receiver.counters.control_bytes as f64 / data;
            let stats = sender.outbound.stats();
            o.again_share = (stats.resent + stats.copies) as f64 / sender.counters.data_packets.max(1) as f64;
            o.aqm_dropped = stats.aqm_dropped + stats.overflow_dropped;
            o.duplicates = receiver.inbound.stats().duplicates;
            o.tun_dropped = a.counters.tun_dropped + b.counters.tun_dropped;
        }
    }
}
