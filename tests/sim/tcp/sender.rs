//! The sending half: window, scoreboard, timers. What a loss does stands in `recovery`.
//!
//! As Linux 6.x with its defaults: initial window 10, RACK and TLP, PRR, F-RTO, undo by DSACK and time
//! stamps, timeout of at least srtt + 200 ms; CUBIC unpaced, BBR paced.

use super::super::link::{MS, SECOND};
use super::super::packet::{Segment, ACK, TCP_HEADERS, WINDOW_UNIT};
use super::autotune::WINDOW_FIRST;
use super::bbr::{Bbr, Phase, RateSample};
use super::cubic::Cubic;
use super::ranges::Ranges;
use super::{expand, wire, NEVER};
use std::collections::VecDeque;

/// Congestion control.
#[derive(Debug)]
pub enum Control {
    Cubic(Cubic),
    Bbr(Box<Bbr>),
}

impl Control {
    pub fn cubic() -> Control {
        Control::Cubic(Cubic::default())
    }

    pub fn bbr() -> Control {
        Control::Bbr(Box::new(Bbr::new(0, 100 * MS)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Open,
    Disorder,
    Cwr,
    Recovery,
    Loss,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Seg {
    pub sent: u64,
    pub sacked: bool,
    pub lost: bool,
    /// A retransmission is under way.
    pub again: bool,
    pub ever_again: bool,
    pub prior_delivered: u64,
    pub delivered_at: u64,
    pub first_sent: u64,
    pub app_limited: bool,
}

/// What one acknowledgement brought.
#[derive(Debug, Default)]
pub(super) struct News {
    pub una_advanced: bool,
    pub sacked: bool,
    /// A segment sent only once, from before the present recovery, was delivered.
    pub original: bool,
    pub duplicate: bool,
    pub lost: u32,
    pub lost_again: bool,
    pub ts_ecr: u32,
    pub prior_in_flight: u32,
    pub delivered: u64,
    pub rtt: Option<u64>,
    pub acked: u32,
    pub newest: Option<Seg>,
}

#[derive(Debug)]
pub struct Sender {
    pub flow: u16,
    pub(super) mss: u32,
    /// Segments there are to send.
    pub total: u64,
    pub una: u64,
    pub next: u64,
    pub(super) segs: VecDeque<Seg>,
    pub cwnd: u32,
    pub ssthresh: u32,
    pub(super) sacked_out: u32,
    pub(super) lost_out: u32,
    pub(super) again_out: u32,
    pub(super) state: State,
    pub(super) high_seq: u64,
    pub(super) undo_marker: Option<u64>,
    pub(super) undo_again: i64,
    pub(super) prior: (u32, u32),
    pub(super) again_stamp: Option<u32>,
    pub(super) prr_delivered: u32,
    pub(super) prr_out: u32,
    pub(super) prr_prior_cwnd: u32,
    pub(super) frto: bool,
    pub(super) prefer_new: bool,
    pub(super) sacked: Ranges,
    pub(super) fack: u64,
    pub(super) reordering: u32,
    pub(super) reordering_seen: bool,
    pub(super) order: VecDeque<(u64, u64)>,
    pub(super) lost_queue: VecDeque<u64>,
    pub(super) rack: (u64, u64),
    pub(super) rack_rtt: u64,
    pub(super) reo_steps: u64,
    pub(super) reo_persist: u32,
    pub(super) reo_round: u64,
    pub(super) duplicate_seen: bool,
    pub srtt: u64,
    rttvar: u64,
    pub min_rtt: u64,
    pub(super) backoff: u32,
    pub(super) rto_at: u64,
    tlp_at: u64,
    pub(super) reo_at: u64,
    pace_at: u64,
    pub(super) tlp_high: Option<(u64, bool)>,
    probe: bool,
    pub delivered: u64,
    delivered_at: u64,
    first_sent: u64,
    app_limited_until: u64,
    limited: bool,
    /// The segment that the receiver's window does not include any more.
    edge: u64,
    pub(super) control: Control,
    ts_recent: u32,
    pub retransmits: u64,
    pub timeouts: u64,
    pub undos: u64,
}

impl Sender {
    /// `rtt` is that of the handshake.
    pub fn new(now: u64, flow: u16, mss: u32, total: u64, mut control: Control, rtt: u64) -> Sender {
        match &mut control {
            Control::Cubic(c) => c.reset(now, 0),
            Control::Bbr(b) => **b = Bbr::new(now, rtt),
        }
        Sender {
            flow,
            mss,
            total,
            una: 0,
            next: 0,
            segs: VecDeque::new(),
            cwnd: 10,
            ssthresh: u32::MAX,
            sacked_out: 0,
            lost_out: 0,
            again_out: 0,
            state: State::Open,
            high_seq: 0,
            undo_marker: None,
            undo_again: -1,
            prior: (0, 0),
            again_stamp: None,
            prr_delivered: 0,
            prr_out: 0,
            prr_prior_cwnd: 1,
            frto: false,
            prefer_new: false,
            sacked: Ranges::default(),
            fack: 0,
            reordering: 3,
            reordering_seen: false,
            order: VecDeque::new(),
            lost_queue: VecDeque::new(),
            rack: (0, 0),
            rack_rtt: rtt,
            reo_steps: 1,
            reo_persist: 0,
            reo_round: 0,
            duplicate_seen: false,
            srtt: rtt,
            rttvar: (rtt / 2).max(200 * MS),
            min_rtt: rtt,
            backoff: 0,
            rto_at: NEVER,
            tlp_at: NEVER,
            reo_at: NEVER,
            pace_at: 0,
            tlp_high: None,
            probe: false,
            delivered: 0,
            delivered_at: now,
            first_sent: now,
            app_limited_until: 0,
            limited: false,
            edge: WINDOW_FIRST / u64::from(mss),
            control,
            ts_recent: (now / MS) as u32,
            retransmits: 0,
            timeouts: 0,
            undos: 0,
        }
    }

    /// Whether everything was acknowledged.
    pub fn is_done(&self) -> bool {
        self.una >= self.total
    }

    pub fn in_flight(&self) -> u32 {
        (self.next - self.una) as u32 + self.again_out - self.sacked_out - self.lost_out
    }

    pub(super) fn in_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }

    pub(super) fn rto(&self) -> u64 {
        let base = (self.srtt + self.rttvar.max(200 * MS)).min(120 * SECOND);
        base.saturating_mul(1 << self.backoff.min(10)).min(120 * SECOND)
    }

    /// An acknowledgement came.
    pub fn on_ack(&mut self, now: u64, s: &Segment) {
        let ack = expand(s.ack, self.una, self.mss);
        if ack > self.next {
            return;
        }
        if ack >= self.una {
            self.edge = ack + u64::from(s.window) * WINDOW_UNIT / u64::from(self.mss);
        }
        self.ts_recent = s.ts_val;
        let mut news = News { ts_ecr: s.ts_ecr, prior_in_flight: self.in_flight(), ..News::default() };
        let (before, prior_fack) = (self.delivered, self.fack);
        self.take_sacks(now, s, ack, &mut news);
        if ack > self.una {
            self.take_cumulative(now, ack, prior_fack, &mut news);
        }
        news.delivered = self.delivered - before;
        if let Some(rtt) = news.rtt {
            self.on_rtt(now, rtt);
        }
        self.update_reo_window(&news);
        self.on_tlp_ack(&news);
        if news.duplicate || news.sacked || self.state != State::Open {
            self.alert(now, &mut news);
        }
        self.adjust_window(now, &news);
        if news.una_advanced {
            self.arm(now);
        }
    }

    /// When `on_timeout` or `poll_send` has something to do.
    pub fn deadline(&self) -> u64 {
        let pace = if self.pace_at != 0 { self.pace_at } else { NEVER };
        self.rto_at.min(self.tlp_at).min(self.reo_at).min(pace)
    }

    /// Timers; `poll_send` after it.
    pub fn on_timeout(&mut self, now: u64) {
        if self.pace_at != 0 && self.pace_at <= now {
            self.pace_at = 0;
        }
        if self.reo_at <= now {
            self.reo_at = NEVER;
            let mut news = News { prior_in_flight: self.in_flight(), ..News::default() };
            self.detect_loss(now, &mut news);
            if news.lost > 0 && self.state < State::Recovery {
                self.enter_recovery(now);
            }
            if news.lost > 0 && self.state == State::Recovery {
                self.reduce_by_prr(&news);
            }
        }
        if self.tlp_at <= now {
            self.tlp_at = NEVER;
            if self.next > self.una && self.tlp_high.is_none() {
                self.probe = true;
            }
            self.rto_at = now + self.rto();
        }
        if self.rto_at <= now {
            self.rto_at = NEVER;
            if self.next > self.una {
                self.enter_loss(now);
                self.backoff += 1;
                self.rto_at = now + self.rto();
            }
        }
    }

    /// The next segment that may leave.
    pub fn poll_send(&mut self, now: u64) -> Option<Segment> {
        if self.probe {
            self.probe = false;
            let fresh = self.next < self.total.min(self.edge);
            self.tlp_high = Some((self.next + u64::from(fresh), !fresh));
            let n = if fresh { self.next } else { self.last_unsacked()? };
            return Some(self.transmit(now, n));
        }
        if matches!(self.control, Control::Bbr(_)) && self.pace_at > now {
            return None;
        }
        if self.in_flight() >= self.cwnd {
            self.limited = true;
            return None;
        }
        if !(self.prefer_new && self.next < self.total) {
            while let Some(n) = self.lost_queue.pop_front() {
                if n >= self.una && self.segs.get((n - self.una) as usize).is_some_and(|g| g.lost && !g.again)
                {
                    return Some(self.transmit(now, n));
                }
            }
        }
        if self.next < self.total.min(self.edge) {
            return Some(self.transmit(now, self.next));
        }
        self.limited = false;
        self.app_limited_until = (self.delivered + u64::from(self.in_flight())).max(1);
        None
    }

    fn last_unsacked(&self) -> Option<u64> {
        let back = self.segs.iter().rev().position(|s| !s.sacked)?;
        Some(self.next - 1 - back as u64)
    }

    fn transmit(&mut self, now: u64, n: u64) -> Segment {
        if self.next == self.una {
            self.first_sent = now;
            self.delivered_at = now;
        }
        let mut seg = Seg {
            sent: now,
            sacked: false,
            lost: false,
            again: false,
            ever_again: false,
            prior_delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent: self.first_sent,
            // As Linux counts: until more than that was delivered, with nothing in flight, too.
            app_limited: self.app_limited_until > 0 && self.app_limited_until >= self.delivered,
        };
        if n == self.next {
            self.next += 1;
            self.segs.push_back(seg);
            self.arm_tlp(now);
        } else {
            let old = &mut self.segs[(n - self.una) as usize];
            seg.lost = old.lost;
            self.again_out += u32::from(!old.again);
            seg.again = true;
            seg.ever_again = true;
            *old = seg;
            self.retransmits += 1;
            self.again_stamp.get_or_insert((now / MS) as u32);
            self.undo_again = self.undo_again.max(0) + 1;
        }
        if matches!(self.state, State::Recovery | State::Cwr) {
            self.prr_out += 1;
        }
        self.order.push_back((now, n));
        if self.rto_at == NEVER {
            self.rto_at = now + self.rto();
        }
        let size = self.mss + u32::from(TCP_HEADERS);
        if let Control::Bbr(b) = &self.control {
            let _ = size;
            // Linux lets a quarter of a millisecond go at once; single packets are close enough.
            self.pace_at = self.pace_at.max(now) + (1.0 / b.pacing.max(1e-12)).min(1e9) as u64;
        }
        Segment {
            flow: self.flow,
            flags: ACK,
            seq: wire(n, self.mss),
            ack: 1,
            ts_val: (now / MS) as u32,
            ts_ecr: self.ts_recent,
            payload: self.mss as u16,
            ..Segment::default()
        }
    }

    fn arm_tlp(&mut self, now: u64) {
        self.tlp_at = NEVER;
        if matches!(self.state, State::Open | State::Cwr) && self.tlp_high.is_none() && self.next > self.una {
            let wait = if self.next - self.una == 1 { 200 * MS } else { 4 * MS };
            self.tlp_at = now + 2 * self.srtt + wait;
        }
    }

    fn arm(&mut self, now: u64) {
        self.backoff = 0;
        self.rto_at = if self.next > self.una { now + self.rto() } else { NEVER };
        self.arm_tlp(now);
    }

    fn on_rtt(&mut self, now: u64, rtt: u64) {
        self.min_rtt = self.min_rtt.min(rtt);
        let error = rtt.abs_diff(self.srtt);
        self.srtt = self.srtt - self.srtt / 8 + rtt / 8;
        self.rttvar = (self.rttvar - self.rttvar / 4 + error).max(200 * MS);
        let (slow_start, cwnd, una, next) = (self.in_slow_start(), self.cwnd, self.una, self.next);
        if let Control::Cubic(c) = &mut self.control {
            if c.on_rtt(now, rtt, slow_start, cwnd, una, next) {
                self.ssthresh = self.ssthresh.min(cwnd);
            }
        }
    }

    /// A segment was delivered, by an acknowledgement of either kind.
    pub(super) fn on_delivered(&mut self, now: u64, n: u64, seg: Seg, news: &mut News) {
        self.delivered += 1;
        self.delivered_at = now;
        if news.newest.is_none_or(|s| seg.prior_delivered >= s.prior_delivered) {
            news.newest = Some(seg);
            self.first_sent = seg.sent;
        }
        let rtt = now.saturating_sub(seg.sent);
        if !seg.ever_again {
            news.rtt = Some(news.rtt.map_or(rtt, |r| r.min(rtt)));
            news.original |= n < self.high_seq;
        } else if rtt < self.min_rtt {
            // Rather the original's acknowledgement than the retransmission's.
            return;
        }
        self.rack_rtt = rtt;
        self.rack = self.rack.max((seg.sent, n));
    }

    fn take_cumulative(&mut self, now: u64, ack: u64, prior_fack: u64, news: &mut News) {
        let mut lowest_original = None;
        while self.una < ack {
            let Some(seg) = self.segs.pop_front() else { break };
            let n = self.una;
            self.una += 1;
            news.acked += 1;
            if seg.sacked {
                self.sacked_out -= 1;
                continue;
            }
            self.lost_out -= u32::from(seg.lost);
            self.again_out -= u32::from(seg.again);
            if !seg.ever_again {
                lowest_original.get_or_insert(n);
            }
            self.on_delivered(now, n, seg, news);
        }
        news.una_advanced = true;
        self.sacked.remove_below(self.una);
        if let Some(low) = lowest_original.filter(|&l| l < prior_fack) {
            self.on_reordering(low);
        }
    }

    fn adjust_window(&mut self, now: u64, news: &News) {
        if let Control::Bbr(_) = self.control {
            return self.adjust_bbr(now, news);
        }
        if matches!(self.state, State::Recovery | State::Cwr) {
            return self.reduce_by_prr(news);
        }
        let may_raise = if self.reordering > 3 { news.delivered > 0 } else { news.una_advanced };
        if !may_raise || !(self.limited || self.in_slow_start()) {
            return;
        }
        let mut acked = news.acked.max(if self.reordering > 3 { news.delivered as u32 } else { 0 });
        if self.in_slow_start() {
            let add = acked.min(self.ssthresh - self.cwnd);
            // As Linux: no growth beyond twice what was really in flight.
            if self.cwnd < 2 * news.prior_in_flight.max(1) + acked {
                self.cwnd += add;
            }
            acked -= add;
        }
        let cwnd = self.cwnd;
        if let (1.., Control::Cubic(c)) = (acked, &mut self.control) {
            self.cwnd += c.avoid(now, cwnd, acked);
        }
    }

    fn adjust_bbr(&mut self, now: u64, news: &News) {
        let (in_flight, delivered) = (self.in_flight(), self.delivered);
        let phase = match self.state {
            State::Loss => Phase::Loss,
            State::Recovery => Phase::Recovery,
            _ => Phase::Open,
        };
        let rate = news.newest.and_then(|seg| {
            let send = seg.sent.saturating_sub(seg.first_sent);
            let interval = send.max(now.saturating_sub(seg.delivered_at));
            let rate = (delivered - seg.prior_delivered) as f64 / interval.max(1) as f64;
            (interval >= self.min_rtt).then_some(rate)
        });
        let Control::Bbr(b) = &mut self.control else { return };
        let sample = RateSample {
            rate,
            app_limited: news.newest.is_some_and(|seg| seg.app_limited),
            prior_delivered: news.newest.map_or(0, |seg| seg.prior_delivered),
            acked: news.delivered,
            lost: news.lost,
            rtt: news.rtt,
            delivered,
            prior_in_flight: news.prior_in_flight,
            in_flight,
            phase,
        };
        b.on_ack(now, sample);
        self.cwnd = b.cwnd;
        if b.hides_rate {
            self.app_limited_until = (delivered + u64::from(in_flight)).max(1);
        }
    }
}
