//! One direction of one link: droptail queue, service, loss, propagation delay.
//!
//! A packet's way: 1. `push`: into the queue, or dropped when it is full. 2. `serve`: out at the rate of
//! the moment, or with the trace's opportunities. 3. Lost by an outage or by chance. 4. Delayed, in
//! order. 5. `poll`: out at the far end. Times are virtual nanoseconds; the scenario begins at `t0`
//! (before that the rates of time zero hold, and traces run backwards).

use super::rng::Rng;
use super::trace::{Trace, OPPORTUNITY, TRACE_OVERHEAD};
use std::collections::VecDeque;

pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1_000_000_000;

/// What a link carries in the course of time.
#[derive(Clone, Debug)]
pub enum Service {
    /// Bytes per nanosecond from each time on, and the loop's length if it loops.
    Steps { steps: Vec<(u64, f64)>, period: Option<u64> },
    /// Opportunities, and how far into the trace time zero is.
    Trace { trace: Trace, offset_ms: u32 },
}

/// What happens to packets while a link is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// What the link sends is lost.
    Drop,
    /// It sends nothing; the queue holds.
    Stall,
}

/// Gilbert and Elliott's two-state loss, a step for each packet.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    pub p_gb: f64,
    pub p_bg: f64,
    pub loss_bad: f64,
    pub loss_good: f64,
}

/// One direction of a link.
#[derive(Clone, Debug)]
pub struct DirSpec {
    pub service: Service,
    pub queue_bytes: u64,
    pub delay: u64,
    /// Delay added from each time on, and the loop's length.
    pub delay_steps: Vec<(u64, u64)>,
    pub delay_steps_period: Option<u64>,
    pub jitter: u64,
    pub loss: f64,
    pub burst: Option<Burst>,
    pub reorder: f64,
    pub reorder_by: u64,
    pub outages: Vec<(u64, u64, Outage)>,
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    pub arrived_bytes: u64,
    pub delivered_bytes: u64,
    pub delivered_packets: u64,
    pub drop_queue: u64,
    pub drop_loss: u64,
    pub drop_outage: u64,
    /// Waiting and serving time of the served packets, summed.
    pub wait: u64,
    pub served: u64,
}

/// The running link.
pub struct Dir<T> {
    pub spec: DirSpec,
    pub counters: Counters,
    t0: u64,
    rng: Rng,
    queue: VecDeque<Waiting<T>>,
    pub queued_bytes: u64,
    busy_until: u64,
    /// When the service has to look again.
    service_at: u64,
    /// Bytes of the packet at the head that earlier opportunities left over.
    head_left: u32,
    bad: bool,
    flying: VecDeque<(u64, T)>,
    last_out: u64,
}

struct Waiting<T> {
    since: u64,
    bytes: u32,
    item: T,
}

impl DirSpec {
    /// Constant rate in Mbit/s, one-way delay in ms, everything else as the rig's defaults.
    pub fn constant(mbit: f64, delay_ms: f64) -> DirSpec {
        DirSpec {
            service: Service::Steps { steps: vec![(0, mbit / 8000.0)], period: None },
            queue_bytes: 300_000,
            delay: (delay_ms * MS as f64) as u64,
            delay_steps: Vec::new(),
            delay_steps_period: None,
            jitter: 0,
            loss: 0.0,
            burst: None,
            reorder: 0.0,
            reorder_by: 0,
            outages: Vec::new(),
        }
    }

    /// Mean capacity in bytes a second.
    pub fn mean_rate(&self) -> f64 {
        match &self.service {
            Service::Trace { trace, .. } => trace.mean_rate(),
            Service::Steps { steps, period } => {
                let span = period.unwrap_or(steps.last().map_or(0, |s| s.0)).max(1);
                if steps.len() == 1 {
                    steps[0].1 * 1e9
                } else {
                    self.steps_between(0, span) * 1e9 / span as f64
                }
            }
        }
    }

    /// Bytes that the service could carry between two times after time zero, outages left out.
    pub fn offered(&self, from: u64, to: u64) -> f64 {
        let mut cuts: Vec<(u64, u64)> = self.outages.iter().map(|o| (o.0.max(from), o.1.min(to))).collect();
        cuts.retain(|c| c.0 < c.1);
        self.carried(from, to) - cuts.iter().map(|c| self.carried(c.0, c.1)).sum::<f64>()
    }

    fn carried(&self, from: u64, to: u64) -> f64 {
        match &self.service {
            Service::Steps { .. } => self.steps_between(from, to),
            Service::Trace { trace, offset_ms } => {
                let at = |t: u64| trace.count_before(t.div_ceil(MS) as i64 + i64::from(*offset_ms));
                (at(to) - at(from)) as f64 * f64::from(OPPORTUNITY)
            }
        }
    }

    fn steps_between(&self, from: u64, to: u64) -> f64 {
        let (mut t, mut sum) = (from, 0.0);
        while t < to {
            let (rate, end) = self.rate_at(t);
            let end = end.min(to);
            sum += rate * (end - t) as f64;
            t = end;
        }
        sum
    }

    /// The rate of a stepped service at `t`, and until when it holds.
    pub fn rate_at(&self, t: u64) -> (f64, u64) {
        let Service::Steps { steps, period } = &self.service else { return (0.0, u64::MAX) };
        let (base, x) = period.map_or((0, t), |p| (t / p * p, t % p));
        let i = steps.partition_point(|s| s.0 <= x);
        let rate = if i == 0 { 0.0 } else { steps[i - 1].1 };
        let end = match (steps.get(i), period) {
            (Some(s), Some(p)) => base + s.0.min(*p),
            (Some(s), None) => s.0,
            (None, Some(p)) => base + p,
            (None, None) => u64::MAX,
        };
        (rate, end)
    }

    fn outage_at(&self, t: u64) -> Option<Outage> {
        self.outages.iter().find(|o| o.0 <= t && t < o.1).map(|o| o.2)
    }

    /// Propagation delay of what is sent at `t` after time zero, without jitter.
    pub fn delay_at(&self, t: u64) -> u64 {
        let x = self.delay_steps_period.map_or(t, |p| t % p);
        self.delay + self.delay_steps.iter().take_while(|s| s.0 <= x).last().map_or(0, |s| s.1)
    }
}

impl<T> Dir<T> {
    /// `t0` is the virtual time of the scenario's time zero.
    pub fn new(spec: DirSpec, seed: u64, t0: u64) -> Dir<T> {
        Dir {
            spec,
            counters: Counters::default(),
            t0,
            rng: Rng::new(seed),
            queue: VecDeque::new(),
            queued_bytes: 0,
            busy_until: 0,
            service_at: u64::MAX,
            head_left: 0,
            bad: false,
            flying: VecDeque::new(),
            last_out: 0,
        }
    }

    /// A packet of `bytes` IP bytes reaches the queue.
    pub fn push(&mut self, now: u64, bytes: u32, item: T) {
        self.serve(now);
        self.counters.arrived_bytes += u64::from(bytes);
        if self.queued_bytes + u64::from(bytes) > self.spec.queue_bytes {
            self.counters.drop_queue += 1;
            return;
        }
        self.queued_bytes += u64::from(bytes);
        self.queue.push_back(Waiting { since: now, bytes, item });
        if self.queue.len() == 1 {
            self.plan(now);
        }
    }

    /// The next packet that has come out at the far end by `now`.
    pub fn poll(&mut self, now: u64) -> Option<T> {
        self.serve(now);
        if self.flying.front().is_some_and(|f| f.0 <= now) {
            return self.flying.pop_front().map(|f| f.1);
        }
        None
    }

    /// When to call `poll` again; `u64::MAX` for never.
    pub fn next_event(&self) -> u64 {
        self.service_at.min(self.flying.front().map_or(u64::MAX, |f| f.0))
    }

    fn serve(&mut self, now: u64) {
        while self.service_at <= now {
            let at = self.service_at;
            if matches!(self.spec.service, Service::Steps { .. }) {
                self.busy_until = at;
                self.leave(at);
            } else {
                self.use_opportunities(at);
            }
            self.plan(at);
        }
    }

    /// Finds out when the head of the queue will have been sent, or has its next opportunity.
    fn plan(&mut self, now: u64) {
        self.service_at = match (self.queue.front(), &self.spec.service) {
            (None, _) => u64::MAX,
            (Some(head), Service::Steps { .. }) => self.sent_at(self.busy_until.max(now), head.bytes),
            (Some(_), Service::Trace { .. }) => self.next_opportunity(now),
        };
    }

    fn sent_at(&self, from: u64, bytes: u32) -> u64 {
        let mut left = f64::from(bytes);
        let mut t = from.saturating_sub(self.t0);
        let early = self.t0.saturating_sub(from);
        while t < u64::MAX {
            let (mut rate, mut end) = self.spec.rate_at(t);
            for o in self.spec.outages.iter().filter(|o| o.2 == Outage::Stall && t < o.1) {
                if o.0 <= t {
                    rate = 0.0;
                    end = end.min(o.1);
                } else {
                    end = end.min(o.0);
                }
            }
            let need = if rate > 0.0 { left / rate } else { f64::INFINITY };
            if need <= (end - t) as f64 {
                return self.t0 + t + need.round() as u64 - early;
            }
            left -= rate * (end - t) as f64;
            t = end;
        }
        u64::MAX
    }

    fn next_opportunity(&self, now: u64) -> u64 {
        let Service::Trace { trace, offset_ms } = &self.spec.service else { return u64::MAX };
        let lap = i64::from(trace.lap_ms);
        let shift = (self.t0 / MS) as i64 - i64::from(*offset_ms);
        // Strictly later than now: what was offered by now is used or lost.
        let x = (now / MS) as i64 + 1 - shift;
        let (base, within) = (x.div_euclid(lap) * lap, x.rem_euclid(lap) as u32);
        let i = trace.ms.partition_point(|&m| m < within);
        let ms = trace.ms.get(i).map_or(lap + i64::from(trace.ms[0]), |&m| i64::from(m));
        ((base + ms + shift).max(0) as u64) * MS
    }

    fn opportunities_at(&self, at: u64) -> u32 {
        let Service::Trace { trace, offset_ms } = &self.spec.service else { return 0 };
        let x = (at / MS) as i64 - (self.t0 / MS) as i64 + i64::from(*offset_ms);
        let lap = i64::from(trace.lap_ms);
        let count = |m: u32| {
            let from = trace.ms.partition_point(|&v| v < m);
            trace.ms[from..].iter().take_while(|&&v| v == m).count() as u32
        };
        let within = x.rem_euclid(lap) as u32;
        count(within) + if within == 0 { count(trace.lap_ms) } else { 0 }
    }

    fn use_opportunities(&mut self, at: u64) {
        if self.spec.outage_at(at.saturating_sub(self.t0)) == Some(Outage::Stall) {
            return;
        }
        for _ in 0..self.opportunities_at(at) {
            let mut left = OPPORTUNITY;
            while left > 0 {
                let Some(head) = self.queue.front() else { return };
                if self.head_left == 0 {
                    self.head_left = head.bytes + TRACE_OVERHEAD;
                }
                let take = left.min(self.head_left);
                left -= take;
                self.head_left -= take;
                if self.head_left == 0 {
                    self.leave(at);
                }
            }
        }
    }

    /// The head of the queue has been sent at `at`.
    fn leave(&mut self, at: u64) {
        let Some(p) = self.queue.pop_front() else { return };
        self.queued_bytes -= u64::from(p.bytes);
        self.counters.served += 1;
        self.counters.wait += at.saturating_sub(p.since);
        let t = at.saturating_sub(self.t0);
        if self.spec.outage_at(t) == Some(Outage::Drop) && at >= self.t0 {
            self.counters.drop_outage += 1;
            return;
        }
        if self.is_lost() {
            self.counters.drop_loss += 1;
            return;
        }
        self.counters.delivered_bytes += u64::from(p.bytes);
        self.counters.delivered_packets += 1;
        let jitter = (self.rng.unit() * self.spec.jitter as f64) as u64;
        let mut out = (at + self.spec.delay_at(t) + jitter).max(self.last_out);
        if self.rng.hit(self.spec.reorder) {
            out += self.spec.reorder_by;
        } else {
            self.last_out = out;
        }
        let place = self.flying.partition_point(|f| f.0 <= out);
        self.flying.insert(place, (out, p.item));
    }

    fn is_lost(&mut self) -> bool {
        let mut lost = self.rng.hit(self.spec.loss);
        if let Some(b) = self.spec.burst {
            if self.rng.unit() < if self.bad { b.p_bg } else { b.p_gb } {
                self.bad = !self.bad;
            }
            lost |= self.rng.hit(if self.bad { b.loss_bad } else { b.loss_good });
        }
        lost
    }
}
