//! BBR version 1 (net/ipv4/tcp_bbr.c): rate by the highest delivery rate of ten round trips, paced.
//!
//! Not for: its policer detection, bursts (single packets leave where Linux sends a millisecond at once).

use super::super::link::{MS, SECOND};
use std::collections::VecDeque;

const HIGH_GAIN: f64 = 2.885;
const CYCLE: [f64; 8] = [1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
const RATE_ROUNDS: u64 = 10;
const MIN_RTT_WINDOW: u64 = 10 * SECOND;
const PROBE_RTT: u64 = 200 * MS;
const CWND_MIN: u32 = 4;
/// The window grows for acknowledgements that come in lumps by what this time carries, at most.
const EXTRA_MAX: u64 = 100 * MS;
const EXTRA_ROUNDS: u32 = 5;

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Mode {
    Startup,
    Drain,
    ProbeBandwidth,
    ProbeRtt,
}

/// What an acknowledgement says.
#[derive(Debug, Clone, Copy)]
pub struct RateSample {
    /// Segments a nanosecond; `None` when the samples are closer than a round trip can be (tcp_rate.c).
    pub rate: Option<f64>,
    pub app_limited: bool,
    /// Value of `delivered` when the newest acknowledged segment was sent.
    pub prior_delivered: u64,
    /// Segments delivered by it, and found lost.
    pub acked: u64,
    pub lost: u32,
    pub rtt: Option<u64>,
    /// Segments delivered in all.
    pub delivered: u64,
    /// In flight before and after it.
    pub prior_in_flight: u32,
    pub in_flight: u32,
    /// The connection is in recovery, or was timed out.
    pub phase: Phase,
}

/// What the connection's state means here.
#[derive(Debug, PartialEq, Eq, Clone, Copy, PartialOrd, Ord)]
pub enum Phase {
    Open,
    Recovery,
    Loss,
}

#[derive(Debug)]
pub struct Bbr {
    mode: Mode,
    rounds: u64,
    round_start: bool,
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
    probe_round: bool,
    saved_cwnd: u32,
    phase: Phase,
    conserves: bool,
    extra: [u64; 2],
    extra_rounds: u32,
    epoch: u64,
    epoch_acked: u64,
    /// Segments a nanosecond.
    pub pacing: f64,
    pub cwnd: u32,
    /// What is sent now says nothing of the path.
    pub hides_rate: bool,
}

impl Bbr {
    pub fn new(now: u64, rtt: u64) -> Bbr {
        Bbr {
            mode: Mode::Startup,
            rounds: 0,
            round_start: false,
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
            probe_round: false,
            saved_cwnd: 0,
            phase: Phase::Open,
            conserves: false,
            extra: [0, 0],
            extra_rounds: 0,
            epoch: now,
            epoch_acked: 0,
            pacing: HIGH_GAIN * 10.0 / rtt.max(MS) as f64,
            cwnd: 10,
            hides_rate: false,
        }
    }

    fn rate(&self) -> f64 {
        self.rates.front().map_or(0.0, |r| r.1)
    }

    fn bdp(&self, gain: f64) -> f64 {
        gain * self.rate() * self.min_rtt as f64
    }

    /// Segments that Linux would send at once.
    fn burst(&self) -> f64 {
        (self.pacing * MS as f64).floor().clamp(2.0, 44.0)
    }

    /// Segments in flight that the model wants, with what the sender's own bursts need.
    fn wanted(&self, gain: f64) -> f64 {
        let more = if self.mode == Mode::ProbeBandwidth && self.cycle == 0 { 2.0 } else { 0.0 };
        self.bdp(gain) + 3.0 * self.burst() + more
    }

    fn gain(&self) -> f64 {
        match self.mode {
            Mode::Startup => HIGH_GAIN,
            Mode::Drain => 1.0 / HIGH_GAIN,
            Mode::ProbeBandwidth => CYCLE[self.cycle],
            Mode::ProbeRtt => 1.0,
        }
    }

    pub fn on_ack(&mut self, now: u64, s: RateSample) {
        self.track_rate(s);
        if s.rate.is_some() && s.acked > 0 {
            self.track_extra(now, s.acked);
        }
        self.advance_cycle(now, s);
        self.check_full(s.app_limited);
        self.check_drain(now, s.in_flight);
        self.track_min_rtt(now, s);
        if self.rate() > 0.0 {
            let pace = 0.99 * self.gain() * self.rate();
            if self.full || pace > self.pacing {
                self.pacing = pace;
            }
        }
        self.set_cwnd(s);
    }

    /// Recovery or a timeout begins: the window is kept for its end.
    pub fn on_reduction(&mut self) {
        let cut = self.phase >= Phase::Recovery || self.mode == Mode::ProbeRtt;
        self.saved_cwnd = if cut { self.saved_cwnd.max(self.cwnd) } else { self.cwnd };
    }

    /// The retransmission timer has fired.
    pub fn on_timeout(&mut self, in_flight: u32) {
        self.phase = Phase::Loss;
        self.full_rate = 0.0;
        self.round_start = true;
        self.cwnd = in_flight + 1;
    }

    /// A reduction was a mistake.
    pub fn on_undo(&mut self) {
        self.full_rate = 0.0;
        self.full_count = 0;
    }

    fn track_rate(&mut self, s: RateSample) {
        self.round_start = false;
        let Some(rate) = s.rate else { return };
        if s.prior_delivered >= self.round_end {
            self.round_end = s.delivered;
            self.rounds += 1;
            self.round_start = true;
            self.conserves = false;
        }
        if s.app_limited && rate < self.rate() {
            return;
        }
        while self.rates.back().is_some_and(|r| r.1 <= rate) {
            self.rates.pop_back();
        }
        self.rates.push_back((self.rounds, rate));
        while self.rates.front().is_some_and(|r| r.0 + RATE_ROUNDS < self.rounds) {
            self.rates.pop_front();
        }
    }

    fn set_cwnd(&mut self, s: RateSample) {
        let acked = s.acked as u32;
        if acked > 0 && !self.follow_recovery(s) {
            let gain = match self.mode {
                Mode::Startup | Mode::Drain => HIGH_GAIN,
                Mode::ProbeBandwidth => 2.0,
                Mode::ProbeRtt => 1.0,
            };
            let extra = self.extra[0].max(self.extra[1]) as f64;
            let extra = if self.full { extra.min(self.rate() * EXTRA_MAX as f64) } else { 0.0 };
            let target = (self.wanted(gain) + extra) as u32;
            if self.full {
                self.cwnd = (self.cwnd + acked).min(target);
            } else if self.cwnd < target || s.delivered < 10 {
                self.cwnd += acked;
            }
            self.cwnd = self.cwnd.max(CWND_MIN);
        }
        if self.mode == Mode::ProbeRtt {
            self.cwnd = self.cwnd.min(CWND_MIN);
        }
    }

    /// In the first round of a recovery as much leaves as arrives; after it the old window is back.
    fn follow_recovery(&mut self, s: RateSample) -> bool {
        let arrives = s.in_flight + s.acked as u32;
        self.cwnd = self.cwnd.saturating_sub(s.lost).max(1);
        if s.phase == Phase::Recovery && self.phase != Phase::Recovery {
            self.conserves = true;
            self.round_end = s.delivered;
            self.cwnd = arrives;
        } else if self.phase >= Phase::Recovery && s.phase < Phase::Recovery {
            self.cwnd = self.cwnd.max(self.saved_cwnd);
            self.conserves = false;
        }
        self.phase = s.phase;
        if self.conserves {
            self.cwnd = self.cwnd.max(arrives);
        }
        self.conserves
    }

    fn track_extra(&mut self, now: u64, acked: u64) {
        if self.round_start {
            self.extra_rounds += 1;
            if self.extra_rounds >= EXTRA_ROUNDS {
                self.extra_rounds = 0;
                self.extra = [0, self.extra[0]];
            }
        }
        let mut expected = self.rate() * now.saturating_sub(self.epoch) as f64;
        if self.epoch_acked as f64 <= expected {
            self.epoch = now;
            self.epoch_acked = 0;
            expected = 0.0;
        }
        self.epoch_acked += acked;
        let extra = (self.epoch_acked as f64 - expected).max(0.0).min(f64::from(self.cwnd));
        self.extra[0] = self.extra[0].max(extra as u64);
    }

    fn advance_cycle(&mut self, now: u64, s: RateSample) {
        if self.mode != Mode::ProbeBandwidth {
            return;
        }
        let long = now.saturating_sub(self.cycle_at) > self.min_rtt;
        let gain = CYCLE[self.cycle];
        let in_flight = f64::from(s.prior_in_flight);
        let over = if gain > 1.0 {
            long && (s.lost > 0 || in_flight + self.burst() >= self.wanted(gain))
        } else if gain < 1.0 {
            long || in_flight <= self.wanted(1.0)
        } else {
            long
        };
        if over {
            self.cycle = (self.cycle + 1) % CYCLE.len();
            self.cycle_at = now;
        }
    }

    fn check_full(&mut self, app_limited: bool) {
        if self.full || !self.round_start || app_limited {
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
        if self.mode == Mode::Drain && f64::from(in_flight) <= self.wanted(1.0) {
            self.probe_bandwidth(now);
        }
    }

    /// Any phase of the cycle but the draining one; Linux draws it by lot.
    fn probe_bandwidth(&mut self, now: u64) {
        self.mode = Mode::ProbeBandwidth;
        let lot = (now / 1_000 % 7) as usize;
        self.cycle = (CYCLE.len() - lot) % CYCLE.len();
        self.cycle_at = now;
    }

    fn track_min_rtt(&mut self, now: u64, s: RateSample) {
        let expired = now > self.min_rtt_at + MIN_RTT_WINDOW;
        if let Some(r) = s.rtt.filter(|&r| r < self.min_rtt || expired) {
            self.min_rtt = r;
            self.min_rtt_at = now;
        }
        if expired && self.mode != Mode::ProbeRtt {
            self.mode = Mode::ProbeRtt;
            self.on_reduction();
            self.probe_done = None;
        }
        self.hides_rate = self.mode == Mode::ProbeRtt;
        if !self.hides_rate {
            return;
        }
        match self.probe_done {
            None if s.in_flight <= CWND_MIN => {
                self.probe_done = Some(now + PROBE_RTT);
                self.probe_round = false;
                self.round_end = s.delivered;
            }
            None => {}
            Some(at) => {
                self.probe_round |= self.round_start;
                if self.probe_round && now > at {
                    self.min_rtt_at = now;
                    self.cwnd = self.cwnd.max(self.saved_cwnd);
                    match self.full {
                        true => self.probe_bandwidth(now),
                        false => self.mode = Mode::Startup,
                    }
                }
            }
        }
    }
}
