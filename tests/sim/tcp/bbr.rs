//! BBR version 1 (net/ipv4/tcp_bbr.c): rate by the highest delivery rate of ten round trips, paced.
//!
//! Not for: its policer detection.

use super::super::link::{MS, SECOND};
use std::collections::VecDeque;

const HIGH_GAIN: f64 = 2.885;
const CYCLE: [f64; 8] = [1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
const MIN_RTT_WINDOW: u64 = 10 * SECOND;
const PROBE_RTT: u64 = 200 * MS;

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Mode {
    Startup,
    Drain,
    ProbeBandwidth,
    ProbeRtt,
}

/// A delivery rate sample of one acknowledgement.
#[derive(Debug, Clone, Copy)]
pub struct RateSample {
    /// Segments a nanosecond; `None` when the samples are closer than a round trip can be (tcp_rate.c).
    pub rate: Option<f64>,
    pub app_limited: bool,
    /// Value of `delivered` when the newest acknowledged segment was sent.
    pub prior_delivered: u64,
    pub acked: u64,
}

#[derive(Debug)]
pub struct Bbr {
    mode: Mode,
    rounds: u64,
    round_end: u64,
    rates: VecDeque<(u64, f64)>,
    pub min_rtt: u64,
    min_rtt_at: u64,
    full_rate: f64,
    full_count: u32,
    full: bool,
    cycle: usize,
    cycle_at: u64,
    probe_done: Option<u64>,
    saved_cwnd: u32,
    extra: [u64; 2],
    extra_round: u64,
    epoch: u64,
    epoch_acked: u64,
    /// Segments a nanosecond.
    pub pacing: f64,
    pub cwnd: u32,
}

impl Bbr {
    pub fn new(now: u64, rtt: u64) -> Bbr {
        Bbr {
            mode: Mode::Startup,
            rounds: 0,
            round_end: 0,
            rates: VecDeque::new(),
            min_rtt: rtt,
            min_rtt_at: now,
            full_rate: 0.0,
            full_count: 0,
            full: false,
            cycle: 2,
            cycle_at: now,
            probe_done: None,
            saved_cwnd: 0,
            extra: [0, 0],
            extra_round: 0,
            epoch: now,
            epoch_acked: 0,
            pacing: HIGH_GAIN * 10.0 / rtt.max(MS) as f64,
            cwnd: 10,
        }
    }

    fn rate(&self) -> f64 {
        self.rates.front().map_or(0.0, |r| r.1)
    }

    fn bdp(&self, gain: f64) -> f64 {
        gain * self.rate() * self.min_rtt as f64
    }

    /// An acknowledgement; `in_flight` after it, `lost` whether the window must fall to what flies.
    pub fn on_ack(&mut self, now: u64, s: RateSample, rtt: Option<u64>, delivered: u64, in_flight: u32) {
        let new_round = s.rate.is_some() && s.prior_delivered >= self.round_end;
        if new_round {
            self.round_end = delivered;
            self.rounds += 1;
        }
        if let Some(rate) = s.rate.filter(|&rate| !s.app_limited || rate >= self.rate()) {
            while self.rates.back().is_some_and(|r| r.1 <= rate) {
                self.rates.pop_back();
            }
            self.rates.push_back((self.rounds, rate));
        }
        while self.rates.len() > 1 && self.rates.front().is_some_and(|r| r.0 + 10 < self.rounds) {
            self.rates.pop_front();
        }
        self.track_extra(now, s.acked);
        self.advance_cycle(now, in_flight);
        self.check_full(new_round, s.app_limited);
        self.check_drain(now, in_flight);
        self.track_min_rtt(now, rtt, in_flight);
        let gain = match self.mode {
            Mode::Startup => HIGH_GAIN,
            Mode::Drain => 1.0 / HIGH_GAIN,
            Mode::ProbeBandwidth => CYCLE[self.cycle],
            Mode::ProbeRtt => 1.0,
        };
        if self.rate() > 0.0 {
            let pace = 0.99 * gain * self.rate();
            if self.full || pace > self.pacing {
                self.pacing = pace;
            }
        }
        self.set_cwnd(s.acked, delivered);
    }

    fn set_cwnd(&mut self, acked: u64, delivered: u64) {
        let gain = if matches!(self.mode, Mode::Startup | Mode::Drain) { HIGH_GAIN } else { 2.0 };
        let extra = if self.full { self.extra[0].max(self.extra[1]) as f64 } else { 0.0 };
        let target = (self.bdp(gain) + extra + 3.0) as u32;
        let grown = self.cwnd + acked as u32;
        if self.full {
            self.cwnd = grown.min(target);
        } else if self.cwnd < target || delivered < 10 {
            self.cwnd = grown;
        }
        self.cwnd = self.cwnd.max(4);
        if self.mode == Mode::ProbeRtt {
            self.cwnd = self.cwnd.min(4);
        }
    }

    fn track_extra(&mut self, now: u64, acked: u64) {
        let expected = self.rate() * now.saturating_sub(self.epoch) as f64;
        if self.epoch_acked as f64 <= expected {
            self.epoch = now;
            self.epoch_acked = 0;
        }
        if self.rounds >= self.extra_round + 5 {
            self.extra_round = self.rounds;
            self.extra = [0, self.extra[0]];
        }
        self.epoch_acked += acked;
        let expected = self.rate() * now.saturating_sub(self.epoch) as f64;
        let extra = (self.epoch_acked as f64 - expected).max(0.0).min(f64::from(self.cwnd));
        self.extra[0] = self.extra[0].max(extra as u64);
    }

    fn advance_cycle(&mut self, now: u64, in_flight: u32) {
        if self.mode != Mode::ProbeBandwidth {
            return;
        }
        let long = now.saturating_sub(self.cycle_at) > self.min_rtt;
        let gain = CYCLE[self.cycle];
        let over = if gain > 1.0 {
            long && f64::from(in_flight) >= self.bdp(gain)
        } else if gain < 1.0 {
            long || f64::from(in_flight) <= self.bdp(1.0)
        } else {
            long
        };
        if over {
            self.cycle = (self.cycle + 1) % CYCLE.len();
            self.cycle_at = now;
        }
    }

    fn check_full(&mut self, new_round: bool, app_limited: bool) {
        if self.full || !new_round || app_limited {
            return;
        }
        if self.rate() >= self.full_rate * 1.25 {
            self.full_rate = self.rate();
            self.full_count = 0;
            return;
        }
        self.full_count += 1;
        self.full = self.full_count >= 3;
    }

    fn check_drain(&mut self, now: u64, in_flight: u32) {
        if self.mode == Mode::Startup && self.full {
            self.mode = Mode::Drain;
        }
        if self.mode == Mode::Drain && f64::from(in_flight) <= self.bdp(1.0) {
            self.probe_bandwidth(now);
        }
    }

    fn probe_bandwidth(&mut self, now: u64) {
        self.mode = Mode::ProbeBandwidth;
        self.cycle = 2;
        self.cycle_at = now;
    }

    fn track_min_rtt(&mut self, now: u64, rtt: Option<u64>, in_flight: u32) {
        let expired = now > self.min_rtt_at + MIN_RTT_WINDOW;
        if let Some(r) = rtt.filter(|&r| r <= self.min_rtt || expired) {
            self.min_rtt = r;
            self.min_rtt_at = now;
        }
        if expired && self.mode != Mode::ProbeRtt {
            self.mode = Mode::ProbeRtt;
            self.saved_cwnd = self.cwnd;
            self.probe_done = None;
        }
        if self.mode == Mode::ProbeRtt {
            match self.probe_done {
                None if in_flight <= 4 => self.probe_done = Some(now + PROBE_RTT),
                Some(t) if now > t => {
                    self.min_rtt_at = now;
                    self.cwnd = self.cwnd.max(self.saved_cwnd);
                    if self.full {
                        self.probe_bandwidth(now)
                    } else {
                        self.mode = Mode::Startup
                    }
                }
                _ => {}
            }
        }
    }
}
