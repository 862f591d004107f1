//! One channel, always with something to send, over one link in virtual time: the window rule alone.
//!
//! Not for: several channels or inner TCP (tests/sim). Prints its series with `ONE_LINK=1`.

use gobonding::channel::receiving::Receiving;
use gobonding::channel::row::Others;
use gobonding::channel::sending::{Sending, SendingSettings, Transmit};
use gobonding::units::{
    Bound, ChannelId, Class, FlowSeq, FlowTag, Form, Packet, PacketNumber, Piece, Reason,
};
use gobonding::wire::frame::{Ack, Frame};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_micros(100);
const MS: Duration = Duration::from_millis(1);

/// What a link is like at a moment: bytes per second and one-way delay.
type Law<'a> = dyn Fn(Duration) -> (f64, Duration) + 'a;

#[derive(Default, Clone, Copy)]
struct Second {
    used: f64,
    offered: f64,
    queue_ms_max: f64,
}

struct Bed {
    sending: Sending,
    receiving: Receiving,
    packet: Packet,
    bound: u64,
    queue: VecDeque<(Instant, PacketNumber, u32, bool)>,
    queue_bytes: u64,
    limit: u64,
    credit: f64,
    flying: VecDeque<(Instant, PacketNumber, u32, bool)>,
    acks: VecDeque<(Instant, Ack)>,
    /// Every so many-th datagram is lost; none with 0.
    lose_every: u64,
    served: u64,
    lost: u64,
}

/// Runs the link for `seconds` with a droptail queue of `limit` bytes; one entry per second.
fn run(seconds: u64, limit: u64, law: &Law) -> Vec<Second> {
    run_lossy(seconds, limit, 0, law).0
}

/// The same with every `lose_every`-th datagram lost; also how many were lost, and how many the sender says.
fn run_lossy(seconds: u64, limit: u64, lose_every: u64, law: &Law) -> (Vec<Second>, u64, u64) {
    let t0 = Instant::now();
    let settings = SendingSettings::new(ChannelId(0), t0, 60);
    let mut bed = Bed {
        sending: Sending::new(t0, settings),
        receiving: Receiving::new(t0, ChannelId(0), t0),
        packet: Packet::complete(&[0; 1_440]),
        bound: 0,
        queue: VecDeque::new(),
        queue_bytes: 0,
        limit,
        credit: 0.0,
        flying: VecDeque::new(),
        acks: VecDeque::new(),
        lose_every,
        served: 0,
        lost: 0,
    };
    let mut out = vec![Second::default(); seconds as usize];
    let ticks = seconds * 10_000;
    for i in 0..ticks {
        let now = t0 + TICK * i as u32;
        let (rate, delay) = law(now - t0);
        let second = &mut out[(i / 10_000) as usize];
        second.offered += rate * TICK.as_secs_f64();
        second.used += bed.serve(now, rate, delay);
        let waits = if rate > 0.0 { bed.queue_bytes as f64 / rate * 1e3 } else { 0.0 };
        second.queue_ms_max = second.queue_ms_max.max(waits);
        bed.receive(now, delay);
        bed.send(now);
        if i % 1_000 == 0 && std::env::var_os("ONE_LINK").is_some() {
            let r = bed.sending.row(now);
            println!(
                "{:6.1} s offers {:6.0} kB/s rate {:6} cwnd {:7} flight {:7} queue {:4.0} ms seen {:4} ms rtt {:4} ms {:?}",
                (now - t0).as_secs_f64(), rate / 1e3, r.rate.0 / 1000, r.cwnd, r.bytes_in_flight, waits,
                r.queue_delay.as_millis(), r.smoothed_rtt.as_millis(), r.state
            );
        }
    }
    let told = bed.sending.row(t0 + TICK * ticks as u32).lost_packets;
    (out, bed.lost, told)
}

impl Bed {
    fn serve(&mut self, now: Instant, rate: f64, delay: Duration) -> f64 {
        self.credit = (self.credit + rate * TICK.as_secs_f64()).min(if self.queue.is_empty() {
            1_500.0
        } else {
            f64::MAX
        });
        let mut used = 0.0;
        while self.queue.front().is_some_and(|p| f64::from(p.2) <= self.credit) {
            let p = self.queue.pop_front().expect("there is one");
            self.queue_bytes -= u64::from(p.2);
            self.credit -= f64::from(p.2);
            used += f64::from(p.2);
            self.served += 1;
            if self.lose_every > 0 && self.served.is_multiple_of(self.lose_every) {
                self.lost += 1;
                continue;
            }
            let at = self.flying.back().map_or(now + delay, |l| l.0.max(now + delay));
            self.flying.push_back((at, p.1, p.2, p.3));
        }
        used
    }

    fn receive(&mut self, now: Instant, delay: Duration) {
        while self.flying.front().is_some_and(|p| p.0 <= now) {
            let p = self.flying.pop_front().expect("there is one");
            self.receiving.handle_datagram(now, p.1, p.2, p.3);
        }
        if let Some(ack) = self.receiving.poll_ack(now) {
            self.acks.push_back((now + delay, ack));
        }
        while self.acks.front().is_some_and(|a| a.0 <= now) {
            let (_, ack) = self.acks.pop_front().expect("there is one");
            self.sending.handle_ack(now, &ack);
        }
    }

    fn send(&mut self, now: Instant) {
        if self.sending.poll_timeout().is_some_and(|t| t.0 <= now) {
            self.sending.handle_timeout(now);
        }
        self.sending.set_others(Others::default());
        while self.sending.row(now).granted_bytes >= self.bound + 1_500 {
            self.bound += 1_500;
            let seq = FlowSeq((self.bound / 1_500) as u32 & 0xff_ffff);
            let packet = self.packet.clone();
            let (flow, class, reason) = (FlowTag(0), Class::Bulk, Reason::First);
            self.sending.handle_run(
                now,
                vec![Bound {
                    packet,
                    form: Form::Whole,
                    piece: Piece::All,
                    flow,
                    seq,
                    class,
                    bound_at: now,
                    reason,
                    avoid: None,
                }],
            );
        }
        while self.sending.poll_returned().is_some() {}
        while let Some(t) = self.sending.poll_transmit(now) {
            let (number, bytes, eliciting) = match t {
                Transmit::Data { number, packet, .. } => (number, packet.len() as u32 + 60, true),
                Transmit::Control { number, frames } => {
                    (number, 90, frames.iter().any(Frame::is_ack_eliciting))
                }
            };
            if self.queue_bytes + u64::from(bytes) <= self.limit {
                self.queue_bytes += u64::from(bytes);
                self.queue.push_back((now, number, bytes, eliciting));
            }
        }
    }
}

fn used(s: &[Second]) -> f64 {
    s.iter().map(|s| s.used).sum::<f64>() / s.iter().map(|s| s.offered).sum::<f64>()
}

fn worst_queue(s: &[Second]) -> f64 {
    s.iter().map(|s| s.queue_ms_max).fold(0.0, f64::max)
}

#[test]
fn a_steady_link_is_full_with_a_small_queue() {
    for (mbit, ms) in [(0.3, 20), (1.0, 5), (5.0, 80), (20.0, 20), (50.0, 10), (100.0, 10), (20.0, 300)] {
        let r = run(30, 4_000_000, &|_| (mbit * 125_000.0, MS * ms));
        let (u, q) = (used(&r[5..]), worst_queue(&r[5..]));
        println!("{mbit} Mbit/s {ms} ms: used {u:.3}, queue at most {q:.0} ms");
        assert!(u > 0.97, "{mbit} Mbit/s {ms} ms: {u}");
        // After a drain the window refills at the pacer's pace: a moment of queue on a long path.
        assert!(q < (65.0 + 60.0 / mbit).max(f64::from(ms) * 0.6), "{mbit} Mbit/s {ms} ms: queue {q} ms");
    }
}

#[test]
fn a_fivefold_rise_is_used_within_half_a_second() {
    let r = run(21, 4_000_000, &|t| (if t.as_secs() % 4 < 2 { 5.0 } else { 30.0 } * 125_000.0, MS * 30));
    println!(
        "all: {:.3}; by second: {:?}",
        used(&r[4..]),
        r.iter().map(|s| (s.used / s.offered * 100.0) as i32).collect::<Vec<_>>()
    );
    assert!(used(&r[4..]) > 0.90);
}

#[test]
fn after_a_fall_the_queue_is_back_within_a_second() {
    let r = run(12, 4_000_000, &|t| (if t.as_secs() < 6 { 50.0 } else { 5.0 } * 125_000.0, MS * 20));
    println!("{:?}", r.iter().map(|s| s.queue_ms_max as i32).collect::<Vec<_>>());
    assert!(worst_queue(&r[8..]) < 40.0);
    assert!(used(&r[8..]) > 0.95);
}

#[test]
fn a_step_of_the_base_delay_does_not_collapse_the_window() {
    for step in [8u32, 20, 40, 80] {
        let r = run(24, 4_000_000, &|t| {
            (5_000_000.0, MS * if t.as_secs() < 8 || t.as_secs() >= 16 { 20 } else { 20 + step })
        });
        println!(
            "+{step} ms: {:?} queues {:?}",
            r.iter().map(|s| (s.used / s.offered * 100.0) as i32).collect::<Vec<_>>(),
            r.iter().map(|s| s.queue_ms_max as i32).collect::<Vec<_>>()
        );
        // 80 ms more each way stall the channel first, and a starved one looks lumpy: it takes six seconds to believe.
        let settled = if step < 80 { 10 } else { 15 };
        assert!(used(&r[settled..16]) > 0.95, "+{step} ms");
        assert!(used(&r[18..]) > 0.95, "-{step} ms");
        assert!(worst_queue(&r[18..]) < 60.0);
    }
}

#[test]
fn a_shallow_buffer_and_a_policer_are_used_with_little_loss() {
    for limit in [15_000, 30_000, 90_000] {
        let r = run(20, limit, &|_| (25.0 * 125_000.0, MS * 25));
        println!("{limit} bytes: used {:.3}", used(&r[5..]));
        assert!(used(&r[5..]) > 0.85, "{limit}");
    }
}

#[test]
fn random_loss_is_found_and_nothing_else_is_called_lost() {
    let (r, lost, told) = run_lossy(20, 4_000_000, 97, &|_| (20.0 * 125_000.0, MS * 30));
    println!("used {:.3}, lost {lost}, told {told}", used(&r[5..]));
    assert!(used(&r[5..]) > 0.95);
    assert!(told.abs_diff(lost) <= lost / 20 + 3, "lost {lost}, told {told}");
}
