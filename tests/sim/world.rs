//! The event loop: links, endpoints and inner flows in virtual time.
//!
//! A packet's way: 1. a flow's end sends it on its side. 2. The side's endpoint takes it from TUN (or,
//! without a tunnel, link 0 takes it). 3. A link carries the datagram. 4. The other endpoint delivers it.
//! 5. The flow's other end reads it. Direction 0 is up, router to proxy; side 0 is the router.

use super::endpoint::{Datagram, Endpoint, Output, IDLE};
use super::knobs::Knobs;
use super::link::{Dir, MS, SECOND};
use super::measure::Outcome;
use super::packet;
use super::rng::Rng;
use super::scenario::Scenario;
use super::tcp::NEVER;
use super::traffic::{Algorithm, Flow, Tcp, Udp, OBJECT};
use super::workload::Workload;
use gobonding::tunnel::outbound::Balancer;
use gobonding::units::Packet;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Virtual time before the scenario's time zero: the tunnel is up and idle, as in the rig.
pub const WARM_UP: u64 = 2 * SECOND;
/// Without traffic between what went before and the workload.
const REST: u64 = 2 * SECOND;
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

/// One run's conditions.
#[derive(Clone, Debug)]
pub struct Run {
    pub scenario: Scenario,
    pub path: Path,
    pub workload: Workload,
    pub seconds: f64,
    /// What went before: a CUBIC download or upload for so long, nanoseconds, and `REST`; zero: nothing. The links go on meanwhile.
    pub before: u64,
    pub seed: u64,
    /// Time that a thread takes to wake up, nanoseconds.
    pub latency: u64,
    pub knobs: Knobs,
}

impl Run {
    /// When the workload begins and what is measured.
    pub(super) fn zero(&self) -> u64 {
        WARM_UP + self.before_all()
    }

    /// Of the scenario's time, until then.
    pub(super) fn before_all(&self) -> u64 {
        if self.before > 0 {
            self.before + REST
        } else {
            0
        }
    }

    /// How many flows there were before.
    pub(super) fn flows_before(&self) -> usize {
        usize::from(self.before > 0)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    Link(u8, u8),
    Side(u8),
    Flow(u16),
    Sample,
    StopBefore,
    Stop,
}

/// Payload of a full segment in the tunnel: what the clamped SYN leaves beside the time stamps (`tunnel/mss.rs`).
const TUNNEL_MSS: u32 = 1430;

/// The running world.
pub struct World {
    pub(super) run: Run,
    pub(super) now: u64,
    pub(super) order: u64,
    pub(super) heap: BinaryHeap<Reverse<(u64, u64, Event)>>,
    pub(super) links: Vec<[Dir<(u32, Datagram)>; 2]>,
    pub(super) link_at: Vec<[u64; 2]>,
    pub(super) sides: Vec<Endpoint>,
    pub(super) side_at: [u64; 2],
    pub(super) flows: Vec<Flow>,
    pub(super) flow_at: Vec<u64>,
    pub(super) sent: Vec<(usize, Packet)>,
    pub(super) outputs: Vec<Output>,
    pub(super) end: u64,
    pub(super) mss: u32,
    pub(super) step_bytes: u64,
    pub(super) flow_bytes: Vec<u64>,
    pub(super) last_counts: Vec<(u64, u64, u64)>,
    pub(super) outcome: Outcome,
}

impl World {
    pub fn new(run: Run) -> World {
        let (links, sides, mss) = match run.path {
            Path::Direct => (1, Vec::new(), 1448),
            Path::Tunnel(b) => {
                let (n, base) = (run.scenario.links.len(), Instant::now());
                (n, (0..2).map(|_| Endpoint::new(base, n, b, &run.knobs)).collect(), TUNNEL_MSS)
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
            end: run.zero() + (run.seconds * SECOND as f64) as u64,
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
            Event::StopBefore => self.stop(0),
            Event::Stop => (0..self.flows.len()).for_each(|f| self.stop(f)),
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
        let zero = self.run.zero() + Rng::new(self.run.seed).bits() % (30 * MS);
        if self.run.before > 0 {
            self.open(Tcp::new(WARM_UP, 0, self.mss, w.from, Algorithm::Cubic, u64::MAX / 4));
            self.push(WARM_UP + self.run.before, Event::StopBefore);
        }
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
        self.push(self.run.zero(), Event::Sample);
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

    pub(super) fn push(&mut self, at: u64, e: Event) {
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
            let is_measured = f >= self.run.flows_before();
            self.step_bytes += if is_measured { bytes } else { 0 };
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

    fn stop(&mut self, f: usize) {
        if let Flow::Tcp(t) = &mut self.flows[f] {
            t.stop();
        }
    }
}
