//! What is measured while the world runs: a point each 100 ms, and the sums at the end.

use super::link::SECOND;
use super::traffic::Flow;
use super::world::{Event, World, STEP, WARM_UP};

/// One point of the series, for the direction of the workload.
#[derive(Clone, Debug, Default)]
pub struct Point {
    pub links: Vec<LinkPoint>,
    /// Inner payload read, bytes in the step.
    pub goodput: u64,
    pub outbound_queue_bytes: u64,
    /// Packets that wait to be sent again, and running counts: sent again, lost by channels, dropped or marked
    /// by queue management, holes given up.
    pub again_packets: u64,
    pub counts: [u64; 4],
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
    /// Holes that the receiver gave up while later packets waited.
    pub holes: u64,
    pub tun_dropped: u64,
    /// Packets into the tunnel at the data's end, and bytes of their headers that did not travel.
    pub inner_packets: u64,
    pub header_bytes_saved: u64,
    /// Compressed packets that the other end could not read.
    pub unreadable: u64,
    pub reorder_wait_max_ms: f64,
    pub series: Vec<Point>,
    pub events: u64,
}

impl World {
    pub(super) fn sample(&mut self) {
        let d = self.run.workload.from;
        let is_zero = self.now <= self.run.zero();
        let (from, to) = (self.now - STEP.min(self.now - WARM_UP) - WARM_UP, self.now - WARM_UP);
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
            let out = sender.outbound.stats();
            p.outbound_queue_bytes = out.queue_bytes;
            p.again_packets = out.again_packets;
            let wait = receiver.inbound.stats();
            let lost = sender.rows.iter().map(|r| r.lost_packets).sum();
            p.counts = [out.resent, lost, out.aqm_dropped + out.aqm_marked + out.overflow_dropped, wait.gaps];
            p.reorder_wait_ms = wait.wait_max_us as f64 / 1e3;
            if !is_zero {
                let most = self.outcome.reorder_wait_max_ms;
                self.outcome.reorder_wait_max_ms = most.max(p.reorder_wait_ms);
            }
        }
        if let Some(Flow::Tcp(t)) = self.flows.get(self.run.flows_before()) {
            p.inner_cwnd = t.sender.as_ref().map_or(0, |s| s.cwnd);
        }
        // The first one only sets the counts to zero.
        if is_zero {
            self.flow_bytes.fill(0);
        } else {
            self.outcome.bins.push(p.goodput);
            self.outcome.series.push(p);
        }
        if self.now < self.end {
            self.push(self.now + STEP, Event::Sample);
        }
    }

    pub(super) fn sum_up(&mut self) {
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
        for (f, bytes) in self.flows.iter().zip(&self.flow_bytes).skip(self.run.flows_before()) {
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
            (o.inner_packets, o.header_bytes_saved) = (stats.packets, stats.header_bytes_saved);
            o.unreadable = receiver.inbound.stats().unreadable + sender.inbound.stats().unreadable;
            o.aqm_dropped = stats.aqm_dropped + stats.overflow_dropped;
            o.duplicates = receiver.inbound.stats().duplicates;
            o.holes = receiver.inbound.stats().gaps;
            o.tun_dropped = a.counters.tun_dropped + b.counters.tun_dropped;
        }
    }
}
