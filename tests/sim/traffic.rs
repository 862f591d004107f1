//! The inner traffic of a run: TCP connections opened by the router, UDP streams, objects in a row.

use super::link::{MS, SECOND};
use super::packet::{self, Inner, Segment, ACK, PSH, SYN};
use super::tcp::{Control, Receiver, Sender, NEVER};
use gobonding::units::Packet;

/// Bytes of an object of the workload `web`.
pub const OBJECT: u64 = 100_000;
const REQUEST: u16 = 60;
const HANDSHAKE_RETRY: u64 = SECOND;
const REQUEST_RETRY: u64 = 250 * MS;

/// Which congestion control a flow's sender runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Cubic,
    Bbr,
}

/// One TCP connection, both ends. Side 0, the router, opens it.
#[derive(Debug)]
pub struct Tcp {
    id: u16,
    mss: u32,
    /// The side that sends data.
    pub from: usize,
    algorithm: Algorithm,
    total: u64,
    pub opened_at: u64,
    syn_ack_at: u64,
    retry_at: u64,
    connected: bool,
    pub sender: Option<Sender>,
    pub receiver: Option<Receiver>,
    /// When the last segment of `total` was read.
    pub finished_at: Option<u64>,
}

impl Tcp {
    /// Opens a connection; the first packet waits for `on_timer`.
    pub fn new(now: u64, id: u16, mss: u32, from: usize, algorithm: Algorithm, bytes: u64) -> Tcp {
        Tcp {
            id,
            mss,
            from,
            algorithm,
            total: bytes.div_ceil(u64::from(mss)),
            opened_at: now,
            syn_ack_at: now,
            retry_at: now,
            connected: false,
            sender: None,
            receiver: None,
            finished_at: None,
        }
    }

    /// No more data: what is in flight is the last.
    pub fn stop(&mut self) {
        if let Some(s) = &mut self.sender {
            s.total = s.next;
        }
        self.retry_at = NEVER;
    }

    pub fn deadline(&self) -> u64 {
        let s = self.sender.as_ref().map_or(NEVER, Sender::deadline);
        let r = self.receiver.as_ref().map_or(NEVER, Receiver::deadline);
        self.retry_at.min(s).min(r)
    }

    /// Timers of both ends; what they send goes into `out` with the sending side.
    pub fn on_timer(&mut self, now: u64, out: &mut Vec<(usize, Packet)>) {
        if self.retry_at <= now {
            let s = if self.connected {
                self.retry_at = now + REQUEST_RETRY;
                self.request(now)
            } else {
                self.retry_at = now + HANDSHAKE_RETRY;
                self.opened_at = self.opened_at.min(now);
                self.bare(now, SYN)
            };
            out.push((0, s.packet(0)));
        }
        if let Some(s) = self.sender.as_mut().filter(|s| s.deadline() <= now) {
            s.on_timeout(now);
        }
        self.pump(now, out);
    }

    /// A segment reached `side`. Returns the segments that became readable there.
    pub fn on_segment(&mut self, now: u64, side: usize, s: &Segment, out: &mut Vec<(usize, Packet)>) -> u64 {
        let mut read = 0;
        if s.flags & SYN != 0 {
            self.on_syn(now, side, s);
            if side == 1 {
                out.push((1, self.bare(now, SYN | ACK).packet(1)));
            } else if self.retry_at == now {
                return {
                    self.on_timer(now, out);
                    0
                };
            }
        } else if s.flags & PSH != 0 {
            if self.sender.is_none() && self.from == 1 {
                self.start(now, now.saturating_sub(self.syn_ack_at));
            }
        } else if s.payload > 0 {
            let (id, mss) = (self.id, self.mss);
            let r = self.receiver.get_or_insert_with(|| Receiver::new(id, mss));
            read = r.on_segment(now, s);
            if side == 0 {
                self.retry_at = NEVER;
            }
            if r.next >= self.total && self.finished_at.is_none() {
                self.finished_at = Some(now);
            }
        } else if let Some(t) = self.sender.as_mut().filter(|_| side == self.from) {
            t.on_ack(now, s);
        }
        self.pump(now, out);
        read
    }

    fn on_syn(&mut self, now: u64, side: usize, s: &Segment) {
        if side == 1 {
            self.syn_ack_at = now;
        } else if !self.connected {
            self.connected = true;
            let sent = (now / MS) as u32;
            let rtt = (u64::from(sent.wrapping_sub(s.ts_ecr)) * MS).max(MS);
            if self.from == 0 {
                self.retry_at = NEVER;
                self.start(now, rtt);
            } else {
                self.retry_at = now;
            }
        }
    }

    fn start(&mut self, now: u64, rtt: u64) {
        let control = match self.algorithm {
            Algorithm::Cubic => Control::cubic(),
            Algorithm::Bbr => Control::bbr(),
        };
        self.sender = Some(Sender::new(now, self.id, self.mss, self.total, control, rtt));
    }

    fn pump(&mut self, now: u64, out: &mut Vec<(usize, Packet)>) {
        if let Some(a) = self.receiver.as_mut().and_then(|r| r.poll_ack(now)) {
            out.push((1 - self.from, a.packet(1 - self.from)));
        }
        if let Some(s) = &mut self.sender {
            while let Some(p) = s.poll_send(now) {
                out.push((self.from, p.packet(self.from)));
            }
        }
    }

    fn bare(&self, now: u64, flags: u8) -> Segment {
        let t = (now / MS) as u32;
        let echo = if flags & ACK != 0 { (self.opened_at / MS) as u32 } else { 0 };
        Segment { flow: self.id, flags, ts_val: t, ts_ecr: echo, ..Segment::default() }
    }

    fn request(&self, now: u64) -> Segment {
        Segment { payload: REQUEST, seq: 1, ack: 1, ..self.bare(now, ACK | PSH) }
    }
}

/// A stream of UDP packets with even spacing, and what became of each.
#[derive(Debug)]
pub struct Udp {
    id: u16,
    pub from: usize,
    payload: u16,
    spacing: f64,
    began: u64,
    until: u64,
    pub sent: Vec<u64>,
    /// Time of arrival by number, `NEVER` where it did not come.
    pub arrived: Vec<u64>,
    last_arrival: u64,
    pub longest_gap: u64,
    pub reordered: u64,
    highest: u32,
    /// Packets that had come before.
    pub doubles: u64,
}

impl Udp {
    /// `per_second` packets of `payload` bytes from side `from`, between two times.
    pub fn new(id: u16, from: usize, payload: u16, per_second: f64, began: u64, until: u64) -> Udp {
        Udp {
            id,
            from,
            payload,
            spacing: 1e9 / per_second,
            began,
            until,
            sent: Vec::new(),
            arrived: Vec::new(),
            last_arrival: 0,
            longest_gap: 0,
            reordered: 0,
            highest: 0,
            doubles: 0,
        }
    }

    pub fn deadline(&self) -> u64 {
        let at = self.began + (self.sent.len() as f64 * self.spacing) as u64;
        if at < self.until {
            at
        } else {
            NEVER
        }
    }

    pub fn on_timer(&mut self, now: u64, out: &mut Vec<(usize, Packet)>) {
        while self.deadline() <= now {
            let number = self.sent.len() as u32;
            self.sent.push(now);
            self.arrived.push(NEVER);
            out.push((self.from, packet::udp(self.from, self.id, number, self.payload)));
        }
    }

    /// Packet `number` reached the other side. Returns false when it had come before.
    pub fn on_packet(&mut self, now: u64, number: u32) -> bool {
        let Some(a) = self.arrived.get_mut(number as usize) else { return false };
        if *a != NEVER {
            self.doubles += 1;
            return false;
        }
        *a = now;
        if self.last_arrival > 0 {
            self.longest_gap = self.longest_gap.max(now - self.last_arrival);
        }
        self.last_arrival = now;
        self.reordered += u64::from(number < self.highest);
        self.highest = self.highest.max(number);
        true
    }

    /// One-way delays of what arrived, sorted.
    pub fn delays(&self) -> Vec<u64> {
        let pairs = self.sent.iter().zip(&self.arrived);
        let mut d: Vec<u64> = pairs.filter(|p| *p.1 != NEVER).map(|(s, a)| a - s).collect();
        d.sort_unstable();
        d
    }

    pub fn lost(&self) -> u64 {
        self.arrived.iter().filter(|a| **a == NEVER).count() as u64
    }
}

/// One inner flow.
#[derive(Debug)]
pub enum Flow {
    Tcp(Box<Tcp>),
    Udp(Udp),
}

impl Flow {
    pub fn deadline(&self) -> u64 {
        match self {
            Flow::Tcp(t) => t.deadline(),
            Flow::Udp(u) => u.deadline(),
        }
    }

    pub fn on_timer(&mut self, now: u64, out: &mut Vec<(usize, Packet)>) {
        match self {
            Flow::Tcp(t) => t.on_timer(now, out),
            Flow::Udp(u) => u.on_timer(now, out),
        }
    }

    /// A packet of the flow reached `side`. Returns the segments or packets that became readable.
    pub fn on_packet(&mut self, now: u64, side: usize, inner: &Inner, out: &mut Vec<(usize, Packet)>) -> u64 {
        match (self, inner) {
            (Flow::Tcp(t), Inner::Tcp(s)) => t.on_segment(now, side, s, out),
            (Flow::Udp(u), Inner::Udp { number, .. }) => u64::from(u.on_packet(now, *number)),
            _ => 0,
        }
    }
}
