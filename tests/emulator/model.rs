//! One direction of one link in virtual time: queue, service, loss, delay.
//!
//! For: whoever can say what time it is (`run` says real time, tests say any).
//! Not for: sockets, threads, clocks.
//!
//! 1. `push`: the packet joins a droptail queue, and the schedule says when it will have left.
//! 2. At that moment loss and outages decide whether it goes on.
//! 3. It travels: delay, delay steps, jitter (which keeps the order), or it is one that others overtake.
//! 4. `pop` gives it out when it has arrived.

use super::schedule::{Capacity, Ns, Outage, Schedule};
use std::collections::{BTreeMap, VecDeque};

/// What one direction of a link is like.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    pub capacity: Capacity,
    pub outages: Vec<Outage>,
    /// Droptail limit in bytes, the packet in service included.
    pub queue_bytes: u64,
    /// One way, without queue and service.
    pub delay: Ns,
    /// Up to so much more, uniform; never overtaking.
    pub jitter: Ns,
    /// Delay added from each moment on; loops where there is a period.
    pub delay_steps: Vec<(Ns, Ns)>,
    pub delay_steps_period: Option<Ns>,
    /// Probability that a packet is lost, of itself.
    pub loss: f64,
    /// Loss in bursts.
    pub bursts: Option<Bursts>,
    /// Share of packets that arrive late, and how late.
    pub reorder: f64,
    pub reorder_delay: Ns,
    pub seed: u64,
}

impl Profile {
    /// A clean link: this rate in bits per second, this delay, 300,000 bytes of queue.
    pub fn new(bits_per_s: u64, delay: Ns) -> Profile {
        Profile {
            capacity: Capacity::constant(bits_per_s),
            outages: Vec::new(),
            queue_bytes: 300_000,
            delay,
            jitter: 0,
            delay_steps: Vec::new(),
            delay_steps_period: None,
            loss: 0.0,
            bursts: None,
            reorder: 0.0,
            reorder_delay: 0,
            seed: 1,
        }
    }
}

/// Gilbert-Elliott: a good and a bad state, one step for each packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bursts {
    pub good_to_bad: f64,
    pub bad_to_good: f64,
    pub loss_bad: f64,
    pub loss_good: f64,
}

/// Totals since the last reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets that came in.
    pub arrived: u64,
    /// Bytes and packets that left the service and were not lost.
    pub delivered: u64,
    pub packets: u64,
    pub drop_queue: u64,
    pub drop_loss: u64,
    pub drop_outage: u64,
    /// Bytes that wait.
    pub queue_bytes: u64,
    /// Sum of waiting and serving times of `served` packets.
    pub queue_time: Ns,
    pub served: u64,
}

struct Waiting<P> {
    packet: P,
    len: usize,
    arrived: Ns,
    finish: Ns,
}

/// One direction of a link, carrying packets of any kind.
pub struct Direction<P> {
    profile: Profile,
    schedule: Schedule,
    queue: VecDeque<Waiting<P>>,
    /// Under way, by arrival and order of leaving.
    flight: BTreeMap<(Ns, u64), P>,
    left: u64,
    last_arrival: Ns,
    random: Random,
    in_burst: Burst,
    counters: Counters,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Burst {
    Good,
    Bad,
}

impl<P> Direction<P> {
    /// An empty direction at time zero.
    pub fn new(profile: Profile) -> Direction<P> {
        Direction {
            schedule: Schedule::new(profile.capacity.clone(), profile.outages.clone()),
            random: Random(profile.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            profile,
            queue: VecDeque::new(),
            flight: BTreeMap::new(),
            left: 0,
            last_arrival: 0,
            in_burst: Burst::Good,
            counters: Counters::default(),
        }
    }

    /// A packet of `len` bytes enters at `now`; it may be dropped because the queue is full.
    pub fn push(&mut self, now: Ns, len: usize, packet: P) {
        self.advance(now);
        self.counters.arrived += 1;
        if self.counters.queue_bytes + len as u64 > self.profile.queue_bytes {
            self.counters.drop_queue += 1;
            return;
        }
        let finish = self.schedule.serve(now, len);
        self.counters.queue_bytes += len as u64;
        self.queue.push_back(Waiting { packet, len, arrived: now, finish });
    }

    /// The next packet that has arrived by `now`.
    pub fn pop(&mut self, now: Ns) -> Option<P> {
        self.advance(now);
        let (&key, _) = self.flight.first_key_value()?;
        if key.0 > now {
            return None;
        }
        self.flight.remove(&key)
    }

    /// When something happens next, if nothing enters.
    pub fn next_event(&self) -> Option<Ns> {
        let leaves = self.queue.front().map(|w| w.finish);
        let arrives = self.flight.first_key_value().map(|(k, _)| k.0);
        [leaves, arrives].into_iter().flatten().min().filter(|t| *t < Ns::MAX)
    }

    /// Totals so far; complete up to the last `push` or `pop`.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn advance(&mut self, now: Ns) {
        while self.queue.front().is_some_and(|w| w.finish <= now) {
            if let Some(w) = self.queue.pop_front() {
                self.leave(w);
            }
        }
    }

    fn leave(&mut self, w: Waiting<P>) {
        self.counters.queue_bytes -= w.len as u64;
        self.counters.queue_time += w.finish - w.arrived;
        self.counters.served += 1;
        let lost = self.random.chance(self.profile.loss) | self.lost_in_burst();
        if self.schedule.drops_at(w.finish) {
            self.counters.drop_outage += 1;
        } else if lost {
            self.counters.drop_loss += 1;
        } else {
            self.counters.delivered += w.len as u64;
            self.counters.packets += 1;
            let arrival = self.arrival(w.finish);
            self.flight.insert((arrival, self.left), w.packet);
            self.left += 1;
        }
    }

    fn lost_in_burst(&mut self) -> bool {
        let Some(b) = self.profile.bursts else { return false };
        self.in_burst = match self.in_burst {
            Burst::Good if self.random.chance(b.good_to_bad) => Burst::Bad,
            Burst::Bad if self.random.chance(b.bad_to_good) => Burst::Good,
            same => same,
        };
        self.random.chance(if self.in_burst == Burst::Bad { b.loss_bad } else { b.loss_good })
    }

    fn arrival(&mut self, finish: Ns) -> Ns {
        let jitter = (self.random.unit() * self.profile.jitter as f64) as Ns;
        let t = (finish + self.profile.delay + self.delay_step(finish) + jitter).max(self.last_arrival);
        if self.random.chance(self.profile.reorder) {
            return t + self.profile.reorder_delay;
        }
        self.last_arrival = t;
        t
    }

    fn delay_step(&self, t: Ns) -> Ns {
        let t = self.profile.delay_steps_period.map_or(t, |p| t % p);
        let steps = &self.profile.delay_steps;
        steps.partition_point(|s| s.0 <= t).checked_sub(1).map_or(0, |i| steps[i].1)
    }
}

/// SplitMix64: the same numbers for the same seed on every machine.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn chance(&mut self, p: f64) -> bool {
        p > 0.0 && self.unit() < p
    }
}

#[cfg(test)]
mod tests {
    use super::super::schedule::{OutageKind, MS, SECOND};
    use super::*;

    /// Pushes a packet of 1500 bytes every `gap`, and gives (number, arrival) of all that come out.
    fn flood(profile: Profile, gap: Ns, packets: u64) -> (Vec<(u64, Ns)>, Counters) {
        let mut d = Direction::new(profile);
        let mut out = Vec::new();
        for i in 0..packets {
            while let Some(t) = d.next_event().filter(|t| *t <= i * gap) {
                out.extend(std::iter::from_fn(|| d.pop(t)).map(|p| (p, t)));
            }
            d.push(i * gap, 1500, i);
        }
        while let Some(t) = d.next_event() {
            out.extend(std::iter::from_fn(|| d.pop(t)).map(|p| (p, t)));
        }
        (out, d.counters())
    }

    #[test]
    fn a_lone_packet_takes_its_service_time_and_the_delay() {
        let (out, _) = flood(Profile::new(12_000_000, 20 * MS), MS, 1);
        assert_eq!(out, [(0, 21 * MS)]);
    }

    #[test]
    fn a_full_queue_drops_what_comes() {
        let mut p = Profile::new(12_000_000, 0);
        p.queue_bytes = 4500;
        let (out, c) = flood(p, 0, 10);
        assert_eq!(out.iter().map(|o| o.0).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!((c.arrived, c.drop_queue, c.delivered), (10, 7, 4500));
    }

    #[test]
    fn twice_the_rate_is_delivered_at_the_rate() {
        let (_, c) = flood(Profile::new(12_000_000, 0), MS / 2, 20_000);
        let want = 10_000 + 200;
        assert!(c.packets.abs_diff(want) <= 1, "{}", c.packets);
        assert_eq!(c.arrived, c.packets + c.drop_queue);
    }

    #[test]
    fn random_loss_has_its_rate() {
        let mut p = Profile::new(1_000_000_000, 0);
        p.loss = 0.01;
        let (_, c) = flood(p, MS, 100_000);
        assert!(c.drop_loss.abs_diff(1000) < 100, "{}", c.drop_loss);
    }

    #[test]
    fn bursts_lose_their_mean_and_come_together() {
        let mut p = Profile::new(1_000_000_000, 0);
        p.bursts = Some(Bursts { good_to_bad: 0.002, bad_to_good: 0.2, loss_bad: 1.0, loss_good: 0.0 });
        let (out, c) = flood(p, MS, 200_000);
        let mean = 200_000.0 * 0.002 / 0.202;
        assert!((c.drop_loss as f64 - mean).abs() < mean * 0.15, "{} of {mean}", c.drop_loss);
        let bursts = out.windows(2).filter(|w| w[1].0 > w[0].0 + 1).count();
        let length = c.drop_loss as f64 / bursts as f64;
        assert!((4.0..6.0).contains(&length), "{length}");
    }

    #[test]
    fn jitter_keeps_the_order() {
        let mut p = Profile::new(1_000_000_000, 10 * MS);
        p.jitter = 5 * MS;
        let (out, _) = flood(p, MS, 5_000);
        assert!(out.windows(2).all(|w| w[0].0 < w[1].0));
        let late: Vec<Ns> = out.iter().map(|(i, t)| t - i * MS).collect();
        assert!(late.iter().all(|l| (10 * MS..=16 * MS).contains(l)));
        assert!(late.iter().any(|l| *l > 14 * MS) && late.iter().any(|l| *l < 11 * MS));
    }

    #[test]
    fn reordered_packets_are_overtaken() {
        let mut p = Profile::new(1_000_000_000, MS);
        (p.reorder, p.reorder_delay) = (0.1, 5 * MS);
        let (out, _) = flood(p, MS, 1_000);
        assert_eq!(out.len(), 1_000);
        assert!(out.windows(2).any(|w| w[0].0 > w[1].0));
    }

    #[test]
    fn delay_steps_move_the_delay_and_loop() {
        let mut p = Profile::new(1_000_000_000, 10 * MS);
        p.delay_steps = vec![(0, 0), (SECOND, 20 * MS)];
        p.delay_steps_period = Some(2 * SECOND);
        let (out, _) = flood(p, 100 * MS, 40);
        for (i, t) in out {
            let want = if i % 20 < 10 { 10 } else { 30 };
            let delay = t - i * 100 * MS;
            assert!(delay.abs_diff(want * MS) < MS, "packet {i}: {delay}");
        }
    }

    #[test]
    fn a_drop_outage_loses_and_a_stall_holds() {
        for kind in [OutageKind::Drop, OutageKind::Stall] {
            let mut p = Profile::new(12_000_000, 0);
            p.outages = vec![Outage { from: 100 * MS, to: 200 * MS, kind }];
            let (out, c) = flood(p, 2 * MS, 200);
            let during = out.iter().filter(|o| (100 * MS..200 * MS).contains(&o.1)).count();
            assert_eq!(during, 0);
            match kind {
                OutageKind::Drop => assert_eq!(c.drop_outage, 50),
                OutageKind::Stall => assert_eq!((c.drop_outage, out.len()), (0, 200)),
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_losses() {
        let mut p = Profile::new(1_000_000_000, MS);
        (p.loss, p.jitter) = (0.1, 3 * MS);
        assert_eq!(flood(p.clone(), MS, 1_000), flood(p.clone(), MS, 1_000));
        let mut other = p.clone();
        other.seed = 2;
        assert_ne!(flood(p, MS, 1_000), flood(other, MS, 1_000));
    }
}
