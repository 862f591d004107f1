//! When a link may send: rates in steps, a sine, or a recorded Mahimahi trace, with its outages.
//!
//! Pure: nanoseconds since time zero come in, nanoseconds go out.
//! Not for: queues, loss and delay (`model`).

/// A moment in nanoseconds since time zero.
pub type Ns = u64;

/// Nanoseconds of a second.
pub const SECOND: Ns = 1_000_000_000;
/// Nanoseconds of a millisecond.
pub const MS: Ns = 1_000_000;

/// What one opportunity of a Mahimahi trace carries, in bytes.
const OPPORTUNITY: u64 = 1504;
/// What Mahimahi adds to the IP length of each packet (the header of its TUN device), in bytes.
const TRACE_HEADER: u64 = 4;

/// A capacity that changes with time.
#[derive(Clone, Debug, PartialEq)]
pub enum Capacity {
    /// Bits per second from each start on; starts rise from 0. Loops where there is a period.
    Steps { steps: Vec<(Ns, u64)>, period: Option<Ns> },
    /// A sine between two rates (bits per second), constant within each step.
    Sine { min: u64, max: u64, period: Ns, step: Ns, phase: f64 },
    /// Opportunities of 1504 bytes at these milliseconds, looping when the last is reached.
    Trace { times_ms: Vec<u64>, scale: f64, offset_ms: u64 },
}

impl Capacity {
    /// The same rate at all times.
    pub fn constant(bits_per_s: u64) -> Capacity {
        Capacity::Steps { steps: vec![(0, bits_per_s)], period: None }
    }

    /// Mean rate over one loop (or from the last step on where there is no loop), bits per second.
    pub fn mean_bits_per_s(&self) -> u64 {
        match self {
            Capacity::Steps { steps, period: None } => steps.last().map_or(0, |s| s.1),
            Capacity::Steps { period: Some(p), .. } => {
                (Schedule::new(self.clone(), Vec::new()).offered(0, *p) * 8 * SECOND)
                    .checked_div(*p)
                    .unwrap_or(0)
            }
            Capacity::Sine { min, max, .. } => (min + max) / 2,
            Capacity::Trace { times_ms, scale, .. } => {
                let bits = times_ms.len() as f64 * scale * (OPPORTUNITY - TRACE_HEADER) as f64 * 8.0;
                (bits * 1000.0 / trace_period(times_ms) as f64) as u64
            }
        }
    }

    /// The rate at `t`, bits per second, and until when it holds. Traces have no rate.
    fn segment(&self, t: Ns) -> (u64, Ns) {
        match self {
            Capacity::Steps { steps, period } => {
                let lap = period.map_or(0, |p| t / p * p);
                let i = steps.partition_point(|s| s.0 <= t - lap).saturating_sub(1);
                let end = match (steps.get(i + 1), period) {
                    (Some(next), Some(p)) => lap + next.0.min(*p),
                    (Some(next), None) => next.0,
                    (None, Some(p)) => lap + p,
                    (None, None) => Ns::MAX,
                };
                (steps[i].1, end)
            }
            Capacity::Sine { min, max, period, step, phase } => {
                let n = t / step;
                let turns = (n * step) as f64 / *period as f64 + phase;
                let (mid, swing) = ((max + min) as f64 / 2.0, (max - min) as f64 / 2.0);
                ((mid + swing * (turns * std::f64::consts::TAU).sin()).max(0.0) as u64, (n + 1) * step)
            }
            Capacity::Trace { .. } => (0, Ns::MAX),
        }
    }
}

/// What an outage does to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutageKind {
    /// What the link sends in that time is lost.
    Drop,
    /// The link sends nothing, its queue holds.
    Stall,
}

/// A time in which a direction carries nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    pub from: Ns,
    pub to: Ns,
    pub kind: OutageKind,
}

impl Outage {
    fn covers(&self, t: Ns) -> bool {
        self.from <= t && t < self.to
    }
}

/// One direction's service: gives each packet in turn the moment when its last byte has left.
#[derive(Clone, Debug)]
pub struct Schedule {
    capacity: Capacity,
    outages: Vec<Outage>,
    /// When the packet served last has left.
    last_finish: Ns,
    /// Traces only: opportunity under way (counted over all laps), and the bytes it has left.
    opportunity: u64,
    left: u64,
}

impl Schedule {
    /// A service that begins at time zero.
    pub fn new(capacity: Capacity, outages: Vec<Outage>) -> Schedule {
        let mut s = Schedule { capacity, outages, last_finish: 0, opportunity: 0, left: 0 };
        if let Capacity::Trace { times_ms, scale, offset_ms } = &s.capacity {
            s.opportunity = first_at_or_after(times_ms, *offset_ms);
            s.left = carried(s.opportunity, *scale);
        }
        s
    }

    /// Serves a packet of `len` bytes that is there from `arrived` on, after all served before it.
    ///
    /// Gives when it has left; `Ns::MAX` when that will never be.
    pub fn serve(&mut self, arrived: Ns, len: usize) -> Ns {
        let start = arrived.max(self.last_finish);
        self.last_finish = match self.capacity {
            Capacity::Trace { .. } => self.serve_trace(arrived, len as u64 + TRACE_HEADER),
            _ => self.serve_rate(start, len as u64),
        };
        self.last_finish
    }

    fn serve_rate(&self, start: Ns, len: u64) -> Ns {
        let mut work = u128::from(len) * 8 * u128::from(SECOND);
        let mut t = start;
        while t < Ns::MAX {
            let (rate, end) = self.running(t);
            let room = u128::from(rate) * u128::from(end - t);
            if room >= work {
                return t + work.div_ceil(u128::from(rate)) as Ns;
            }
            work -= room;
            t = end;
        }
        Ns::MAX
    }

    /// The rate at `t` with stalls taken out, and until when it holds.
    fn running(&self, t: Ns) -> (u64, Ns) {
        let (rate, end) = self.capacity.segment(t);
        let mut stalls = self.outages.iter().filter(|o| o.kind == OutageKind::Stall);
        if let Some(o) = stalls.clone().find(|o| o.covers(t)) {
            return (0, o.to);
        }
        let next = stalls.by_ref().map(|o| o.from).filter(|from| *from > t).min();
        (rate, end.min(next.unwrap_or(Ns::MAX)))
    }

    fn serve_trace(&mut self, arrived: Ns, mut need: u64) -> Ns {
        let Capacity::Trace { times_ms, scale, offset_ms } = &self.capacity else { return Ns::MAX };
        let time = |k: u64| (trace_ms(times_ms, k) - offset_ms) * MS;
        if time(self.opportunity) < arrived {
            // What an opportunity has left when nothing waits is lost.
            self.opportunity = first_at_or_after(times_ms, arrived.div_ceil(MS) + offset_ms);
            self.left = carried(self.opportunity, *scale);
        }
        loop {
            let t = time(self.opportunity);
            if !self.outages.iter().any(|o| o.kind == OutageKind::Stall && o.covers(t)) {
                let take = self.left.min(need);
                need -= take;
                self.left -= take;
                if need == 0 {
                    return t;
                }
            }
            self.opportunity += 1;
            self.left = carried(self.opportunity, *scale);
        }
    }

    /// Bytes of IP packets that could have left in `from..to`; none during an outage.
    pub fn offered(&self, from: Ns, to: Ns) -> u64 {
        let out = |t: Ns| self.outages.iter().find(|o| o.covers(t));
        if let Capacity::Trace { times_ms, scale, offset_ms } = &self.capacity {
            let mut k = first_at_or_after(times_ms, from.div_ceil(MS) + offset_ms);
            let mut bytes = 0;
            while (trace_ms(times_ms, k) - offset_ms) * MS < to {
                if out((trace_ms(times_ms, k) - offset_ms) * MS).is_none() {
                    bytes += carried(k, *scale) / OPPORTUNITY * (OPPORTUNITY - TRACE_HEADER);
                }
                k += 1;
            }
            return bytes;
        }
        let (mut t, mut work) = (from, 0u128);
        while t < to {
            if let Some(o) = out(t) {
                t = o.to;
                continue;
            }
            let (rate, end) = self.capacity.segment(t);
            let next = self.outages.iter().map(|o| o.from).filter(|f| *f > t).min().unwrap_or(Ns::MAX);
            let end = end.min(next).min(to);
            work += u128::from(rate) * u128::from(end - t);
            t = end;
        }
        (work / 8 / u128::from(SECOND)) as u64
    }

    /// Whether what leaves at `t` is lost in an outage.
    pub fn drops_at(&self, t: Ns) -> bool {
        self.outages.iter().any(|o| o.kind == OutageKind::Drop && o.covers(t))
    }
}

/// Length of one lap of a trace in milliseconds.
fn trace_period(times_ms: &[u64]) -> u64 {
    times_ms.last().copied().unwrap_or(0).max(1)
}

/// Millisecond of opportunity `k`, counted over all laps.
fn trace_ms(times_ms: &[u64], k: u64) -> u64 {
    let n = times_ms.len() as u64;
    k / n * trace_period(times_ms) + times_ms[(k % n) as usize]
}

/// First opportunity not before `ms`.
fn first_at_or_after(times_ms: &[u64], ms: u64) -> u64 {
    let (period, n) = (trace_period(times_ms), times_ms.len() as u64);
    // The last opportunity of a lap falls on the same millisecond as the begin of the next one.
    let lap = (ms / period).saturating_sub(1);
    let mut k = lap * n + times_ms.partition_point(|t| lap * period + t < ms) as u64;
    while trace_ms(times_ms, k) < ms {
        k += 1;
    }
    k
}

/// Bytes that line `k` of a scaled trace carries: whole opportunities, spread evenly.
fn carried(k: u64, scale: f64) -> u64 {
    let upto = |k: u64| (k as f64 * scale) as u64;
    (upto(k + 1) - upto(k)) * OPPORTUNITY
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constant(mbit: u64) -> Schedule {
        Schedule::new(Capacity::constant(mbit * 1_000_000), Vec::new())
    }

    fn trace(times_ms: &[u64], scale: f64, offset_ms: u64) -> Schedule {
        Schedule::new(Capacity::Trace { times_ms: times_ms.to_vec(), scale, offset_ms }, Vec::new())
    }

    #[test]
    fn packets_leave_one_after_another_at_the_rate() {
        let mut s = constant(12);
        assert_eq!(s.serve(0, 1500), MS);
        assert_eq!(s.serve(0, 1500), 2 * MS);
        assert_eq!(s.serve(10 * MS, 750), 10 * MS + MS / 2);
    }

    #[test]
    fn a_packet_across_a_step_takes_part_of_both_rates() {
        let steps = vec![(0, 12_000_000), (MS / 2, 6_000_000)];
        let mut s = Schedule::new(Capacity::Steps { steps, period: None }, Vec::new());
        assert_eq!(s.serve(0, 1500), MS / 2 + MS);
    }

    #[test]
    fn steps_loop_with_their_period() {
        let steps = vec![(0, 30_000_000), (2 * SECOND, 5_000_000)];
        let s = Schedule::new(Capacity::Steps { steps, period: Some(4 * SECOND) }, Vec::new());
        for second in 0..12 {
            let want = if second % 4 < 2 { 30_000_000 } else { 5_000_000 } / 8;
            assert_eq!(s.offered(second * SECOND, (second + 1) * SECOND), want, "second {second}");
        }
    }

    #[test]
    fn a_sine_stays_between_its_rates_and_has_their_mean() {
        let c = Capacity::Sine {
            min: 5_000_000,
            max: 30_000_000,
            period: 4 * SECOND,
            step: SECOND / 5,
            phase: 0.0,
        };
        let s = Schedule::new(c, Vec::new());
        let mean = s.offered(0, 40 * SECOND) * 8 / 40;
        assert!(mean.abs_diff(17_500_000) < 10_000, "{mean}");
        for i in 0..40 {
            let mbit = s.offered(i * SECOND / 5, (i + 1) * SECOND / 5) * 40 / 1_000_000;
            assert!((5..=30).contains(&mbit), "{mbit}");
        }
    }

    #[test]
    fn a_link_without_rate_never_finishes() {
        assert_eq!(constant(0).serve(5, 100), Ns::MAX);
    }

    #[test]
    fn a_stall_holds_and_then_goes_on() {
        let stall = Outage { from: MS, to: 5 * MS, kind: OutageKind::Stall };
        let mut s = Schedule::new(Capacity::constant(12_000_000), vec![stall]);
        assert_eq!(s.serve(MS / 2, 1500), 5 * MS + MS / 2);
        assert_eq!(s.offered(0, 10 * MS), 6 * 1500);
        assert!(!s.drops_at(2 * MS));
    }

    #[test]
    fn a_drop_outage_serves_on_and_offers_nothing() {
        let cut = Outage { from: 0, to: 5 * MS, kind: OutageKind::Drop };
        let mut s = Schedule::new(Capacity::constant(12_000_000), vec![cut]);
        assert_eq!(s.serve(0, 1500), MS);
        assert!(s.drops_at(MS) && !s.drops_at(5 * MS));
        assert_eq!(s.offered(0, 10 * MS), 5 * 1500);
    }

    #[test]
    fn an_opportunity_carries_one_full_packet_or_several_small_ones() {
        let mut s = trace(&[1, 2, 3], 1.0, 0);
        assert_eq!(s.serve(0, 1500), MS);
        assert_eq!(s.serve(0, 748), 2 * MS);
        assert_eq!(s.serve(0, 748), 2 * MS);
        assert_eq!(s.serve(0, 100), 3 * MS);
    }

    #[test]
    fn a_packet_may_span_two_opportunities() {
        let mut s = trace(&[1, 7, 9], 1.0, 0);
        assert_eq!(s.serve(0, 1000), MS);
        assert_eq!(s.serve(0, 1000), 7 * MS);
    }

    #[test]
    fn an_opportunity_that_nobody_waits_for_is_lost() {
        let mut s = trace(&[1, 2, 10], 1.0, 0);
        assert_eq!(s.serve(0, 100), MS);
        assert_eq!(s.serve(MS + 1, 100), 2 * MS);
        assert_eq!(s.serve(3 * MS, 100), 10 * MS);
    }

    #[test]
    fn a_trace_loops_after_its_last_line() {
        let mut s = trace(&[2, 5], 1.0, 0);
        let left: Vec<Ns> = (0..5).map(|_| s.serve(0, 1500) / MS).collect();
        assert_eq!(left, [2, 5, 7, 10, 12]);
        assert_eq!(s.serve(1001 * MS, 1500) / MS, 1002);
    }

    #[test]
    fn an_offset_starts_in_the_middle_of_the_trace() {
        let mut s = trace(&[2, 5, 9], 1.0, 4);
        let left: Vec<Ns> = (0..4).map(|_| s.serve(0, 1500) / MS).collect();
        assert_eq!(left, [1, 5, 7, 10]);
    }

    #[test]
    fn a_scale_changes_the_number_of_opportunities() {
        let times: Vec<u64> = (1..=1000).collect();
        for scale in [0.25, 0.4, 1.0, 2.5] {
            let s = trace(&times, scale, 0);
            let want = (10_000.0 * scale * 1500.0) as u64;
            let got = s.offered(0, 10 * SECOND);
            assert!(got.abs_diff(want) <= 3 * 1500, "scale {scale}: {got} instead of {want}");
        }
        let mut s = trace(&times, 0.5, 0);
        assert_eq!([s.serve(0, 1500), s.serve(0, 1500)], [2 * MS, 4 * MS]);
    }

    #[test]
    fn a_trace_stall_skips_its_opportunities() {
        let stall = Outage { from: 2 * MS, to: 6 * MS, kind: OutageKind::Stall };
        let times_ms = (1..=100).collect();
        let mut s = Schedule::new(Capacity::Trace { times_ms, scale: 1.0, offset_ms: 0 }, vec![stall]);
        let left: Vec<Ns> = (0..3).map(|_| s.serve(0, 1500) / MS).collect();
        assert_eq!(left, [1, 6, 7]);
        assert_eq!(s.offered(0, 10 * MS), 5 * 1500);
    }

    #[test]
    fn a_flood_takes_exactly_what_is_offered() {
        let lines = [0, 0, 3, 4, 4, 4, 9, 20, 21, 33, 33, 40];
        for scale in [0.7, 1.0, 3.0] {
            let mut s = trace(&lines, scale, 7);
            let offered = s.offered(0, 10 * SECOND) / 1500;
            let mut sent = 0;
            while s.serve(0, 1500) < 10 * SECOND {
                sent += 1;
            }
            assert!(sent - 1 <= offered && offered <= sent + 1, "scale {scale}: sent {sent} of {offered}");
        }
    }
}
