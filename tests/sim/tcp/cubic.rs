//! CUBIC with HyStart, as net/ipv4/tcp_cubic.c runs it (C = 0.4, beta = 717/1024, fast convergence).

use super::super::link::{MS, SECOND};

const BETA: f64 = 717.0 / 1024.0;
const C: f64 = 0.4;
/// Segments that a Reno flow would gain, for the friendly region.
const FRIENDLY: f64 = 15.0 / 8.0;
const HYSTART_LOW: u32 = 16;
const ACK_TRAIN_GAP: u64 = 2 * MS;

#[derive(Debug, Default)]
pub struct Cubic {
    last_max: f64,
    epoch: Option<u64>,
    origin: f64,
    k: f64,
    ack_count: f64,
    reno: f64,
    counted: f64,
    /// Segments to be acknowledged for one more.
    per_segment: f64,
    last_cwnd: u32,
    last_time: u64,
    delay_min: u64,
    found: bool,
    round_start: u64,
    round_end: u64,
    last_ack: u64,
    round_rtt: u64,
    samples: u32,
}

impl Cubic {
    /// A connection begins, or starts over after a timeout.
    pub fn reset(&mut self, now: u64, next: u64) {
        *self = Cubic::default();
        self.begin_round(now, next);
    }

    fn begin_round(&mut self, now: u64, next: u64) {
        self.round_start = now;
        self.last_ack = now;
        self.round_end = next;
        self.round_rtt = u64::MAX;
        self.samples = 0;
    }

    /// An RTT sample; returns true when slow start has to end at the present window.
    pub fn on_rtt(&mut self, now: u64, rtt: u64, slow_start: bool, cwnd: u32, una: u64, next: u64) -> bool {
        if self.epoch.is_some_and(|e| now.saturating_sub(e) < SECOND) {
            return false;
        }
        if self.delay_min == 0 || self.delay_min > rtt {
            self.delay_min = rtt;
        }
        if self.found || !slow_start {
            return false;
        }
        // Rounds are counted below the threshold, too, since Linux 6.14.
        if una > self.round_end {
            self.begin_round(now, next);
        }
        if cwnd < HYSTART_LOW {
            return false;
        }
        if now.saturating_sub(self.last_ack) <= ACK_TRAIN_GAP {
            self.last_ack = now;
            // Without pacing the train may last half the smallest RTT.
            self.found |= now.saturating_sub(self.round_start) > self.delay_min / 2;
        }
        self.round_rtt = self.round_rtt.min(rtt);
        if self.samples < 8 {
            self.samples += 1;
        } else {
            let eta = (self.delay_min / 8).clamp(4 * MS, 16 * MS);
            self.found |= self.round_rtt > self.delay_min + eta;
        }
        self.found
    }

    /// Growth in congestion avoidance for `acked` segments: segments to add.
    pub fn avoid(&mut self, now: u64, cwnd: u32, acked: u32) -> u32 {
        self.update(now, cwnd, acked);
        if self.counted >= self.per_segment {
            self.counted = 0.0;
            return 1;
        }
        self.counted += f64::from(acked);
        let add = (self.counted / self.per_segment).floor();
        self.counted -= add * self.per_segment;
        add as u32
    }

    fn update(&mut self, now: u64, cwnd: u32, acked: u32) {
        self.ack_count += f64::from(acked);
        if self.last_cwnd == cwnd && now.saturating_sub(self.last_time) <= SECOND / 32 {
            return;
        }
        self.last_cwnd = cwnd;
        self.last_time = now;
        let w = f64::from(cwnd);
        let epoch = *self.epoch.get_or_insert_with(|| {
            self.ack_count = f64::from(acked);
            self.reno = w;
            self.k = if self.last_max <= w { 0.0 } else { ((self.last_max - w) / C).cbrt() };
            self.origin = w.max(self.last_max);
            now
        });
        let t = (now + self.delay_min - epoch) as f64 / SECOND as f64;
        let target = self.origin + C * (t - self.k).powi(3);
        self.per_segment = if target > w { w / (target - w) } else { 100.0 * w };
        if self.last_max == 0.0 {
            self.per_segment = self.per_segment.min(20.0);
        }
        let delta = w * FRIENDLY;
        while self.ack_count > delta {
            self.ack_count -= delta;
            self.reno += 1.0;
        }
        if self.reno > w {
            self.per_segment = self.per_segment.min(w / (self.reno - w));
        }
        self.per_segment = self.per_segment.max(2.0);
    }

    /// A loss: the slow start threshold from here on.
    pub fn on_loss(&mut self, cwnd: u32) -> u32 {
        let w = f64::from(cwnd);
        self.epoch = None;
        self.last_max = if w < self.last_max { w * (1.0 + BETA) / 2.0 } else { w };
        ((w * BETA) as u32).max(2)
    }
}
