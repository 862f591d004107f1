//! What the sending half makes of losses: RACK, PRR, F-RTO, undo (net/ipv4/tcp_input.c, tcp_recovery.c).
//!
//! ```text
//!   Open <-> Disorder --lost--> Recovery --all of its time acked--> Open
//!     any --timeout--> Loss --all of its time acked, or undone--> Open
//! ```

use super::super::packet::Segment;
use super::sender::{Control, News, Sender, State};
use super::{expand, NEVER};

impl Sender {
    /// Selective acknowledgements, a duplicate's block among them.
    pub(super) fn take_sacks(&mut self, now: u64, s: &Segment, ack: u64, news: &mut News) {
        let mut fresh = Vec::new();
        for (i, &(from, to)) in s.sacks.iter().take(usize::from(s.sack_count)).enumerate() {
            let from = expand(from, self.una, self.mss);
            let to = expand(to, self.una, self.mss);
            let inside_next = i == 0 && s.sack_count > 1 && {
                let second =
                    (expand(s.sacks[1].0, self.una, self.mss), expand(s.sacks[1].1, self.una, self.mss));
                second.0 <= from && to <= second.1
            };
            if i == 0 && (to <= ack || inside_next) {
                self.on_duplicate(from, news);
                continue;
            }
            let (from, to) = (from.max(self.una), to.min(self.next));
            if from < to {
                self.sacked.insert(from, to, &mut fresh);
            }
        }
        let mut lowest_original = None;
        let fack = self.fack;
        for (from, to) in fresh {
            for n in from..to {
                self.on_sacked(now, n, news);
                let seg = &self.segs[(n - self.una) as usize];
                if !seg.ever_again && n < fack {
                    lowest_original = Some(lowest_original.map_or(n, |l: u64| l.min(n)));
                }
            }
            self.fack = self.fack.max(to);
        }
        if let Some(low) = lowest_original.filter(|_| self.state != State::Loss) {
            self.on_reordering(low);
        }
    }

    fn on_sacked(&mut self, now: u64, n: u64, news: &mut News) {
        let Some(seg) = self.segs.get_mut((n - self.una) as usize) else { return };
        if seg.sacked {
            return;
        }
        let was = *seg;
        seg.sacked = true;
        seg.lost = false;
        seg.again = false;
        self.lost_out -= u32::from(was.lost);
        self.again_out -= u32::from(was.again);
        self.sacked_out += 1;
        news.sacked = true;
        self.on_delivered(now, n, was, news);
    }

    fn on_duplicate(&mut self, n: u64, news: &mut News) {
        news.duplicate = true;
        // Without reordering seen a duplicate says nothing about RACK's window.
        self.duplicate_seen |= self.reordering_seen;
        if self.undo_marker.is_some_and(|m| n >= m) && self.undo_again > 0 {
            self.undo_again -= 1;
        }
    }

    pub(super) fn on_reordering(&mut self, low: u64) {
        let metric = self.fack.saturating_sub(low).min(300) as u32;
        self.reordering = self.reordering.max(metric);
        self.reordering_seen = true;
    }

    /// The reordering window grows by a quarter RTT a round with duplicates, for 16 recoveries.
    pub(super) fn update_reo_window(&mut self, news: &News) {
        let Some(newest) = news.newest else { return };
        let seen = std::mem::take(&mut self.duplicate_seen) && newest.prior_delivered >= self.reo_round;
        if seen {
            self.reo_steps = (self.reo_steps + 1).min(255);
            self.reo_round = self.delivered;
            self.reo_persist = 16;
        }
    }

    fn reo_window(&self) -> u64 {
        if !self.reordering_seen && (self.state >= State::Recovery || self.sacked_out >= self.reordering) {
            return 0;
        }
        (self.min_rtt / 4 * self.reo_steps).min(self.srtt)
    }

    /// RACK: lost is what was sent long enough before something that has been delivered.
    pub(super) fn detect_loss(&mut self, now: u64, news: &mut News) {
        self.reo_at = NEVER;
        let patience = self.rack_rtt + self.reo_window();
        while let Some(&(sent, n)) = self.order.front() {
            let live = n >= self.una
                && self
                    .segs
                    .get((n - self.una) as usize)
                    .is_some_and(|s| s.sent == sent && !s.sacked && (!s.lost || s.again));
            if !live {
                self.order.pop_front();
                continue;
            }
            if (sent, n) >= self.rack {
                break;
            }
            if sent + patience > now {
                self.reo_at = sent + patience;
                break;
            }
            self.order.pop_front();
            self.mark_lost(n, news);
        }
    }

    fn mark_lost(&mut self, n: u64, news: &mut News) {
        let seg = &mut self.segs[(n - self.una) as usize];
        if seg.again {
            seg.again = false;
            self.again_out -= 1;
            news.lost_again = true;
        }
        if !seg.lost {
            seg.lost = true;
            self.lost_out += 1;
        }
        news.lost += 1;
        self.lost_queue.push_back(n);
    }

    /// tcp_fastretrans_alert.
    pub(super) fn alert(&mut self, now: u64, news: &mut News) {
        if self.state != State::Open && self.una >= self.high_seq {
            match self.state {
                State::Cwr if self.una > self.high_seq => self.end_reduction(),
                State::Recovery => {
                    if self.try_undo_recovery(news) {
                        return;
                    }
                    self.end_reduction();
                }
                _ => {}
            }
        }
        match self.state {
            State::Recovery => {
                if news.una_advanced && self.undo_marker.is_some() && self.original_was_delayed(news) {
                    // More reordering than known. With retransmissions under way nothing is undone yet.
                    let low = self.una - u64::from(news.acked);
                    if low < self.fack {
                        self.on_reordering(low);
                    }
                    if self.again_out > 0 {
                        return;
                    }
                    self.undo(true);
                    self.try_open();
                } else if self.try_undo_duplicate() {
                    self.try_open();
                }
                self.detect_loss(now, news);
                if self.state != State::Recovery && self.lost_out > 0 {
                    self.enter_recovery(now);
                }
                return;
            }
            State::Loss => {
                self.in_loss(news);
                self.detect_loss(now, news);
                if self.state != State::Open && !news.lost_again {
                    return;
                }
            }
            State::Open | State::Disorder => {
                self.try_undo_duplicate();
                self.detect_loss(now, news);
            }
            State::Cwr => self.detect_loss(now, news),
        }
        if self.lost_out == 0 {
            return self.try_open();
        }
        self.enter_recovery(now);
    }

    fn try_open(&mut self) {
        if self.state != State::Cwr && self.state != State::Loss {
            let head_again = self.segs.front().is_some_and(|s| s.ever_again);
            if self.again_out == 0 && !head_again {
                self.again_stamp = None;
            }
            let disorder = self.sacked_out > 0 || self.lost_out > 0;
            self.state = if disorder { State::Disorder } else { State::Open };
            self.high_seq = self.next;
        }
    }

    pub(super) fn enter_recovery(&mut self, _now: u64) {
        self.begin_undo();
        self.tlp_high = None;
        if self.state != State::Cwr {
            self.begin_reduction();
        }
        self.state = State::Recovery;
    }

    fn begin_undo(&mut self) {
        self.undo_marker = Some(self.una);
        self.undo_again = if self.again_out > 0 { i64::from(self.again_out) } else { -1 };
    }

    fn begin_reduction(&mut self) {
        self.high_seq = self.next;
        self.prr_delivered = 0;
        self.prr_out = 0;
        self.prr_prior_cwnd = self.cwnd.max(1);
        let current = if self.in_slow_start() { self.ssthresh } else { self.ssthresh.max(self.cwnd / 4 * 3) };
        self.prior = (self.cwnd, current);
        match &mut self.control {
            Control::Cubic(c) => self.ssthresh = c.on_loss(self.cwnd),
            Control::Bbr(b) => b.on_reduction(),
        }
    }

    /// Proportional rate reduction (RFC 6937, with slow start at the reduction bound).
    pub(super) fn reduce_by_prr(&mut self, news: &News) {
        if matches!(self.control, Control::Bbr(_)) || (news.delivered == 0 && news.lost == 0) {
            return;
        }
        let in_flight = i64::from(self.in_flight());
        let (target, prior) = (i64::from(self.ssthresh), i64::from(self.prr_prior_cwnd));
        self.prr_delivered += news.delivered as u32;
        let (delivered, out) = (i64::from(self.prr_delivered), i64::from(self.prr_out));
        let room = target - in_flight;
        let mut count = if room < 0 {
            (target * delivered + prior - 1) / prior - out
        } else {
            let safe = i64::from(news.una_advanced && news.lost == 0);
            room.min((delivered - out).max(news.delivered as i64) + safe)
        };
        count = count.max(i64::from(out == 0));
        self.cwnd = (in_flight + count).max(1) as u32;
    }

    fn end_reduction(&mut self) {
        if self.ssthresh < u32::MAX && (self.state == State::Cwr || self.undo_marker.is_some()) {
            if let Control::Cubic(_) = self.control {
                self.cwnd = self.ssthresh;
            }
        }
        self.state = State::Open;
        self.try_open();
    }

    /// The acknowledged segment's time stamp is older than the first retransmission.
    fn original_was_delayed(&self, news: &News) -> bool {
        self.again_stamp.is_some_and(|t| (news.ts_ecr.wrapping_sub(t) as i32) < 0)
    }

    fn may_undo(&self, news: &News) -> bool {
        self.undo_marker.is_some() && (self.undo_again == 0 || self.original_was_delayed(news))
    }

    fn undo(&mut self, unmark: bool) {
        if unmark {
            for s in &mut self.segs {
                s.lost = false;
            }
            self.lost_out = 0;
            self.lost_queue.clear();
            // What is in the air again may be judged again.
            let una = self.una;
            let live = self.segs.iter().enumerate().filter(|(_, s)| !s.sacked);
            let mut order: Vec<(u64, u64)> = live.map(|(i, s)| (s.sent, una + i as u64)).collect();
            order.sort_unstable();
            self.order = order.into();
        }
        match &mut self.control {
            Control::Cubic(_) => {
                self.cwnd = self.cwnd.max(self.prior.0);
                self.ssthresh = self.ssthresh.max(self.prior.1);
            }
            Control::Bbr(b) => b.on_undo(),
        }
        self.undo_marker = None;
        self.undos += 1;
    }

    fn try_undo_duplicate(&mut self) -> bool {
        let all = self.undo_marker.is_some() && self.undo_again == 0;
        if all {
            self.reo_persist = (self.reo_persist + 1).min(16);
            self.undo(false);
        }
        all
    }

    fn try_undo_recovery(&mut self, news: &News) -> bool {
        if self.may_undo(news) {
            self.undo(false);
            self.state = State::Open;
            self.try_open();
            return true;
        }
        if self.reo_persist > 0 {
            self.reo_persist -= 1;
        }
        if self.reo_persist == 0 {
            self.reo_steps = 1;
        }
        false
    }

    /// The retransmission timer has fired.
    pub(super) fn enter_loss(&mut self, now: u64) {
        self.timeouts += 1;
        let repeated = self.state == State::Loss && self.backoff > 0;
        let frto = self.state < State::Recovery || repeated;
        if self.state <= State::Disorder || (self.una >= self.high_seq && !repeated) {
            self.begin_reduction();
            self.begin_undo();
        }
        self.lost_queue.clear();
        self.lost_out = 0;
        self.again_out = 0;
        for (i, s) in self.segs.iter_mut().enumerate().filter(|(_, s)| !s.sacked) {
            s.lost = true;
            s.again = false;
            self.lost_out += 1;
            self.lost_queue.push_back(self.una + i as u64);
        }
        self.cwnd = self.in_flight() + 1;
        self.state = State::Loss;
        self.high_seq = self.next;
        self.frto = frto;
        self.prefer_new = false;
        self.tlp_high = None;
        let in_flight = self.in_flight();
        match &mut self.control {
            Control::Cubic(c) => c.reset(now, self.next),
            Control::Bbr(b) => b.on_timeout(in_flight),
        }
    }

    fn in_loss(&mut self, news: &News) {
        let recovered = self.una >= self.high_seq;
        if news.una_advanced && self.may_undo(news) {
            self.undo(true);
            self.state = State::Open;
            return;
        }
        if self.frto {
            if news.original {
                self.undo(true);
                self.state = State::Open;
                self.frto = false;
                return;
            }
            if self.next > self.high_seq {
                self.frto &= !news.sacked && news.una_advanced;
            } else if news.una_advanced && !recovered {
                self.high_seq = self.next;
                self.prefer_new = self.next < self.total;
                return;
            } else {
                self.frto = false;
            }
        }
        self.prefer_new &= self.frto;
        if recovered && !self.try_undo_recovery(news) {
            self.undo_marker = None;
            self.state = State::Open;
            self.try_open();
        }
    }

    pub(super) fn on_tlp_ack(&mut self, news: &News) {
        let Some((high, again)) = self.tlp_high else { return };
        if !again && self.una >= high {
            self.tlp_high = None;
        } else if news.duplicate && self.una >= high {
            // The probe was not needed.
            self.tlp_high = None;
        } else if self.una > high {
            // The probe repaired a loss: one reduction. At `high` itself nobody knows yet: where the original was
            // merely late, its duplicate is reported next.
            self.tlp_high = None;
            if self.state < State::Cwr {
                self.begin_reduction();
                self.state = State::Cwr;
                self.end_reduction();
            }
        }
    }
}
