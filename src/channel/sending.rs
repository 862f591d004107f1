//! The sending half of one channel: numbers, window, pacing, loss, liveness.
//!
//! The way of a packet:
//! 1. `handle_run`: the balancer has bound it here, within the credit that `row` granted.
//! 2. `poll_transmit`: the pacer lets it go, an urgent one before the others; it gets its packet number and lies in the ring.
//! 3. `handle_ack`: it arrived; or later ones did and it did not, or nothing did: `poll_returned`.
//!
//! Not for: choosing channels (tunnel/outbound.rs), sealing and sockets (threads).

use super::calls::may_be_call;
use super::congestion::{AckSample, Congestion, NewlyLost};
use super::control_frames::ControlFrames;
use super::liveness::Liveness;
use super::loss::Loss;
use super::meter::Meter;
use super::overflow::Silence;
use super::pacer::Pacer;
use super::restart::Restart;
use super::row::{Others, SendRow, State};
use super::rtt::Rtt;
pub use super::sending_settings::SendingSettings;
use super::sent::{give_back, Fate, News, SentPacket, SentRing};
use super::unwrap::Unwrap;
use crate::units::{Bound, Class, Form, Packet, PacketNumber, Piece, Reason, Returned, Run, Ticks};
use crate::wire::frame::{Ack, Frame};
use crate::wire::header::DataHeader;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A datagram to seal and send.
#[derive(Debug)]
pub enum Transmit {
    Data { number: PacketNumber, header: DataHeader, form: Form, piece: Piece, packet: Packet },
    Control { number: PacketNumber, frames: Vec<Frame> },
}

/// The sender of one channel.
#[derive(Debug)]
pub struct Sending {
    settings: SendingSettings,
    ring: SentRing,
    rtt: Rtt,
    congestion: Congestion,
    pacer: Pacer,
    liveness: Liveness,
    unwrap: Unwrap,
    queue: VecDeque<Bound>,
    queued_bytes: u64,
    frames: ControlFrames,
    returned: VecDeque<Returned>,
    others: Others,
    taken_bytes: u64,
    last_sent: Instant,
    restart: Restart,
    silence: Silence,
    loss: Loss,
    goodput: Meter,
    sent: Meter,
    counters: Counters,
}

#[derive(Clone, Debug, Default)]
struct Counters {
    sent: u64,
    lost: u64,
    resent: u64,
}

impl Sending {
    pub fn new(now: Instant, settings: SendingSettings) -> Sending {
        Sending {
            ring: SentRing::default(),
            rtt: Rtt::default(),
            congestion: Congestion::new(now, settings.control.clone()),
            pacer: Pacer::new(now),
            liveness: Liveness::new(now),
            unwrap: Unwrap::default(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            frames: ControlFrames::default(),
            returned: VecDeque::new(),
            others: Others::default(),
            taken_bytes: 0,
            last_sent: now,
            restart: Restart::default(),
            silence: Silence::default(),
            loss: Loss::default(),
            goodput: Meter::new(now),
            sent: Meter::new(now),
            counters: Counters::default(),
            settings,
        }
    }

    /// Packets that the balancer bound to this channel.
    pub fn handle_run(&mut self, now: Instant, run: Run) {
        for bound in run {
            let wire = self.wire_bytes(bound.packet.len());
            self.taken_bytes += wire;
            if matches!(self.liveness.state(), State::Down) && bound.reason != Reason::Copy {
                self.returned.push_back(Returned::Again(bound));
                continue;
            }
            self.queued_bytes += wire;
            if bound.class == Class::Sparse && may_be_call(&bound) {
                self.congestion.on_urgent(now);
            }
            self.enqueue(bound);
        }
        self.liveness.on_data(now);
    }

    /// An acknowledgement that speaks of this channel, whichever channel carried it.
    pub fn handle_ack(&mut self, now: Instant, ack: &Ack) {
        let Some(&(_, largest)) = ack.ranges.first() else { return };
        if largest >= self.ring.next_number() {
            return;
        }
        let arrived = self.unwrap.arrived(ack.received_at, ack.received_bytes);
        let in_flight = self.ring.bytes_in_flight();
        let Some(news) = self.take_acked(now, ack) else { return };
        match self.liveness.on_progress(now) {
            State::Up => {}
            State::Unknown | State::Down => self.frames.push_train(self.settings.train),
            State::Stalled => self.congestion.on_stall_end(now),
        }
        self.loss.on_acked(largest);
        let newest = news.newest.as_ref().filter(|n| n.0 == ack.about);
        let rtt = newest.map(|(_, packet)| {
            let delay = Duration::from_micros(u64::from(ack.ack_delay_us)).min(ACK_DELAY_BELIEVED);
            self.rtt.on_sample(now.saturating_duration_since(packet.time_sent), delay);
            self.rtt.latest()
        });
        let owd_us = newest.map(|(_, packet)| self.unwrap.delay_us(ack.received_at, packet.ticks));
        if let Some(owd_us) = owd_us {
            self.congestion.on_delay(now, owd_us);
        }
        if newest.is_some_and(|&(number, _)| self.restart.on_acked(number)) {
            self.congestion.on_restart();
        }
        let newly_lost = self.detect_loss(now);
        if let Some(((_, packet), owd_us)) = newest.zip(owd_us) {
            let app_limited = packet.app_limited;
            let newly_acked = news.bytes;
            let sample = AckSample { newly_acked, newly_lost, in_flight, rtt, owd_us, arrived, app_limited };
            self.congestion.on_ack(now, sample, &self.rtt);
            self.set_pace(now);
        }
        self.ring.forget(now, self.rtt.smoothed() * 2 + SHELL_AGE);
    }

    /// A frame to send soon on this channel.
    pub fn handle_frame(&mut self, frame: Frame) {
        self.frames.push(frame);
    }

    /// The link is gone, or may be back (from netlink or a send error).
    pub fn handle_link(&mut self, now: Instant, usable: bool) {
        self.liveness.on_link(now, usable);
        if !usable {
            self.give_everything_back(now);
        }
    }

    /// What the other channels can do at the moment. With none up nothing is handed back while this
    /// one stalls, because nobody else could send it and it may have arrived.
    pub fn set_others(&mut self, others: Others) {
        if !self.others.any() && others.any() && self.liveness.state() == State::Stalled {
            self.strand();
        }
        self.others = others;
        self.congestion.set_company(others.up);
    }

    /// The next datagram that may leave now.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        if !self.frames.is_empty() {
            return Some(self.control(now));
        }
        if now >= self.probe_at() {
            self.liveness.on_probe(now);
            self.forget_probes();
            self.frames.push(Frame::Ping { padding: 0 });
            return Some(self.control(now));
        }
        let urgent = self.queue.front().is_some_and(|b| b.class == Class::Sparse);
        if matches!(self.liveness.state(), State::Down) || !(urgent || self.pacer.may_send(now)) {
            return None;
        }
        let bound = self.queue.pop_front()?;
        Some(self.data(now, bound))
    }

    /// The next packet that was lost or stranded here and should be bound again elsewhere, or what became of one
    /// that was, or a context that arrived.
    pub fn poll_returned(&mut self) -> Option<Returned> {
        let returned = self.returned.pop_front();
        self.counters.resent += u64::from(matches!(returned, Some(Returned::Again(_))));
        returned
    }

    /// When to call `handle_timeout` and `poll_transmit` again, and what for.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let pace = (!self.queue.is_empty() && self.liveness.state() != State::Down)
            .then(|| (self.pacer.next(), "pace"));
        let live = self.liveness.deadline(self.in_flight(), &self.rtt);
        let loss = self.loss.due_at().map(|t| (t, "loss"));
        let probe = Some((self.probe_at(), "probe"));
        let late = self.late_at().map(|t| (t, "late"));
        [pace, live, loss, late, probe].into_iter().flatten().min_by_key(|d| d.0)
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if self.loss.due_at().is_some_and(|t| now >= t) {
            self.detect_loss(now);
        }
        if self.late_at().is_some_and(|t| now >= t) {
            self.hand_back_late(now);
        }
        let before = self.liveness.handle_timeout(now, self.in_flight(), &self.rtt);
        let after = self.liveness.state();
        if before == after {
            return;
        }
        if after == State::Down {
            self.give_everything_back(now);
        } else if after == State::Stalled && self.others.any() {
            self.strand();
        }
    }

    /// The sending half of the stats row.
    pub fn row(&self, now: Instant) -> SendRow {
        let state = self.liveness.state();
        let open = state == State::Up && self.ring.len() < RING_MAX;
        let window = if open { self.congestion.cwnd() } else { 0 };
        let used = self.ring.bytes_in_flight() + self.queued_bytes;
        SendRow {
            id: self.settings.id,
            state,
            since: self.liveness.since(),
            granted_bytes: (self.taken_bytes + window).saturating_sub(used),
            taken_bytes: self.taken_bytes,
            cwnd: self.congestion.cwnd(),
            bytes_in_flight: self.ring.bytes_in_flight(),
            sparse_in_flight: self.ring.sparse_in_flight(),
            queued_bytes: self.queued_bytes,
            rate: self.congestion.rate(),
            capacity: self.congestion.capacity(now),
            feedback_budget: self.congestion.feedback_budget(now),
            burst_rate: self.congestion.burst_rate(),
            goodput: self.goodput.rate(now),
            smoothed_rtt: self.rtt.smoothed(),
            min_rtt: self.congestion.path(),
            latest_rtt: self.rtt.latest(),
            base_owd_us: self.congestion.base_owd_us(),
            queue_delay: self.congestion.queue(),
            loss_ppm: self.congestion.loss_ppm(now),
            overhead: self.settings.overhead,
            sent_packets: self.counters.sent,
            sent_bytes: self.sent.total(),
            lost_packets: self.counters.lost,
            resent_packets: self.counters.resent,
            held_back: None,
        }
    }

    /// Urgent packets pass the others, and the pacer lets them go at once: what they take, the others give back.
    fn enqueue(&mut self, bound: Bound) {
        let urgent = self.queue.iter().take_while(|b| b.class == Class::Sparse).count();
        match bound.class {
            Class::Sparse => self.queue.insert(urgent, bound),
            Class::Bulk => self.queue.push_back(bound),
        }
    }

    /// A silent link is asked for as long as it takes: of the probes the last ones will do.
    fn forget_probes(&mut self) {
        if matches!(self.liveness.state(), State::Unknown | State::Down) && self.ring.len() >= PROBES_MAX {
            self.ring.clear(|id| self.returned.push_back(Returned::Gone(id)));
        }
    }

    fn take_acked(&mut self, now: Instant, ack: &Ack) -> Option<News> {
        let mut news = News::default();
        let mut late = None;
        for &(low, high) in ack.ranges.iter().rev() {
            self.ring.acknowledge(low, high, |number, packet| {
                if let Some(id) = packet.handed_back {
                    self.returned.push_back(Returned::Arrived(id));
                }
                if let Some(b) = packet.bound.as_ref().filter(|b| b.form == Form::Context) {
                    self.returned.push_back(Returned::Context(b.id()));
                }
                self.silence.on_acked(number, packet.time_sent);
                if packet.fate == Fate::Lost {
                    late = Some(now.saturating_duration_since(packet.time_sent));
                }
                news.bytes += u64::from(packet.wire_bytes);
                if news.newest.as_ref().is_none_or(|n| n.0 < number) {
                    news.newest = Some((number, packet));
                }
            });
        }
        if let Some(age) = late {
            self.loss.on_spurious(now, age, &self.rtt);
            self.congestion.on_spurious(now);
        }
        (news.bytes > 0).then(|| {
            self.goodput.add(now, news.bytes);
            news
        })
    }

    fn detect_loss(&mut self, now: Instant) -> NewlyLost {
        let lost = self.loss.detect(now, &self.ring, &self.rtt);
        let queued_at = self.congestion.queued_at();
        let mut news = NewlyLost::default();
        for number in lost {
            let Some(packet) = self.ring.packet(number) else { continue };
            self.counters.lost += 1;
            news.all += u64::from(packet.wire_bytes);
            let is_queued = queued_at.is_some_and(|at| packet.time_sent <= at);
            news.unqueued += if is_queued { 0 } else { u64::from(packet.wire_bytes) };
            let is_fresh = packet.fate == Fate::InFlight && !self.silence.covers(packet.time_sent);
            news.fresh += if is_fresh { u64::from(packet.wire_bytes) } else { 0 };
            if let Some(id) = packet.handed_back {
                self.returned.push_back(Returned::Gone(id));
            }
            if let Some(bound) = self.ring.lose(number) {
                give_back(&mut self.returned, bound);
            }
        }
        news
    }

    /// The link has become slow and packets are stuck in its queue: they go again elsewhere, while the
    /// channel goes on.
    fn hand_back_late(&mut self, now: Instant) {
        let Some(limit) = now.checked_sub(self.late_after()) else { return };
        self.ring.strand_older(limit, |bound| {
            give_back(&mut self.returned, Bound { avoid: Some(self.settings.id), ..bound })
        });
    }

    fn late_at(&self) -> Option<Instant> {
        let may = self.others.any() && self.liveness.state() == State::Up;
        self.ring.oldest_sent().filter(|_| may).map(|sent| sent + self.late_after() + LATE_STEP)
    }

    /// Age at which a packet in flight counts as stuck.
    ///
    /// While packets wait for credit all links are busy, and a second copy takes the place of something
    /// else: only before the far end gives up. When nothing waits, the inner flow is starved by what is
    /// stuck, and the others have room to spare, unless they are much longer.
    fn late_after(&self) -> Duration {
        let gap = self.congestion.typical_gap();
        self.congestion.path() + self.settings.late_after(self.others, gap)
    }

    /// Everything in flight goes again elsewhere; what was queued here as well.
    fn strand(&mut self) {
        let id = self.settings.id;
        let Sending { ring, returned, queue, .. } = self;
        ring.strand(|bound| give_back(returned, Bound { avoid: Some(id), ..bound }));
        queue.drain(..).for_each(|bound| give_back(returned, bound));
        self.queued_bytes = 0;
    }

    fn give_everything_back(&mut self, now: Instant) {
        self.strand();
        self.ring.clear(|id| self.returned.push_back(Returned::Gone(id)));
        self.loss.clear();
        self.congestion.reset(now);
    }

    fn set_pace(&mut self, now: Instant) {
        let in_flight = self.ring.bytes_in_flight();
        let rate = self.congestion.pacing_rate(now, in_flight);
        let rate = self.settings.rate_max.map_or(rate, |max| if rate.0 == 0 { max } else { rate.min(max) });
        self.pacer.set_rate(now, rate);
    }

    fn data(&mut self, now: Instant, bound: Bound) -> Transmit {
        let wire = self.wire_bytes(bound.packet.len());
        self.queued_bytes -= wire;
        let ticks = Ticks::at(now, self.settings.epoch);
        let header = DataHeader { flow: bound.flow, seq: bound.seq, sent: ticks };
        let (form, piece, packet) = (bound.form, bound.piece, bound.packet.clone());
        let number = self.remember(now, wire, Some(bound));
        Transmit::Data { number, header, form, piece, packet }
    }

    fn control(&mut self, now: Instant) -> Transmit {
        let (frames, bytes) = self.frames.take();
        let wire = bytes as u64 + u64::from(self.settings.overhead) - crate::wire::header::OVERHEAD as u64;
        let eliciting = frames.iter().any(Frame::is_ack_eliciting);
        let number = if eliciting { self.remember(now, wire, None) } else { self.ring.push(None) };
        self.pacer.on_sent(wire);
        self.sent.add(now, wire);
        Transmit::Control { number, frames }
    }

    /// Books an ack-eliciting datagram.
    fn remember(&mut self, now: Instant, wire: u64, bound: Option<Bound>) -> PacketNumber {
        if !self.in_flight() {
            self.liveness.on_first_in_flight(now);
        }
        let fills = (self.ring.bytes_in_flight() + wire + 2 * PACKET_BYTES) * 5 / 4 >= self.congestion.cwnd();
        let is_data = bound.is_some();
        self.last_sent = now;
        self.restart.on_sent(now, self.ring.next_number(), wire, self.congestion.pause());
        let packet = SentPacket {
            time_sent: now,
            ticks: Ticks::at(now, self.settings.epoch),
            wire_bytes: wire as u32,
            app_limited: !fills,
            sparse: bound.as_ref().is_some_and(|b| b.class == Class::Sparse),
            fate: Fate::InFlight,
            bound,
            handed_back: None,
        };
        let number = self.ring.push(Some(packet));
        if is_data {
            self.counters.sent += 1;
            self.pacer.on_sent(wire);
            self.sent.add(now, wire);
        }
        number
    }

    fn probe_at(&self) -> Instant {
        self.liveness.probe_at(self.in_flight(), &self.rtt, self.last_sent)
    }

    fn in_flight(&self) -> bool {
        self.ring.bytes_in_flight() > 0
    }

    fn wire_bytes(&self, inner: usize) -> u64 {
        inner as u64 + u64::from(self.settings.overhead)
    }
}

/// Shells of lost packets are kept so long beyond two round trips.
const SHELL_AGE: Duration = Duration::from_millis(100);
/// More than this a peer's acknowledgement delay is not believed.
const ACK_DELAY_BELIEVED: Duration = Duration::from_millis(200);
const PACKET_BYTES: u64 = 1_500;
/// Packets in flight at most: 16,384 full ones are 24 MB.
const RING_MAX: usize = 16_384;
/// Probes of a silent link that are remembered: 13 s of them. A guess.
const PROBES_MAX: usize = 64;
/// Late packets are looked for this often.
const LATE_STEP: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::super::sending_settings::TRAIN;
    use super::*;
    use crate::units::{ChannelId, FlowSeq, FlowTag};

    const MS: Duration = Duration::from_millis(1);

    fn sending() -> (Sending, Instant) {
        let t = Instant::now();
        let settings = SendingSettings { train: 0, ..SendingSettings::new(ChannelId(0), t, 60) };
        let mut s = Sending::new(t, settings);
        s.set_others(Others { up: 1, waiting: true, ..Others::default() });
        (s, t)
    }

    fn packet(t: Instant, seq: u32) -> Bound {
        Bound {
            packet: Packet::complete(&[0; 1_440]),
            form: Form::Whole,
            piece: Piece::All,
            flow: FlowTag(1),
            seq: FlowSeq(seq),
            class: Class::Bulk,
            bound_at: t,
            reason: Reason::First,
            avoid: None,
        }
    }

    fn ack(t: Instant, epoch: Instant, ranges: &[(u64, u64)]) -> Ack {
        let ranges: Vec<_> = ranges.iter().map(|&(a, b)| (PacketNumber(a), PacketNumber(b))).collect();
        let received_bytes = ranges.iter().map(|r| (r.1 .0 - r.0 .0 + 1) as u32 * 1_500).sum();
        let about = ranges[0].1;
        Ack {
            channel: 0,
            detour: false,
            ranges,
            about,
            received_at: Ticks::at(t, epoch),
            ack_delay_us: 0,
            received_bytes,
        }
    }

    /// Brings the channel up with its first probe, number 0, round trip 40 ms.
    fn up() -> (Sending, Instant, Instant) {
        let (mut s, epoch) = sending();
        assert!(matches!(s.poll_transmit(epoch + MS * 250), Some(Transmit::Control { .. })));
        let t = epoch + MS * 290;
        s.handle_ack(t, &ack(t, epoch, &[(0, 0)]));
        assert_eq!(s.row(t).state, State::Up);
        (s, t, epoch)
    }

    fn again(s: &mut Sending) -> Option<Bound> {
        match s.poll_returned()? {
            Returned::Again(bound) => Some(bound),
            other => panic!("{other:?}"),
        }
    }

    fn send(s: &mut Sending, t: Instant, seqs: std::ops::Range<u32>) -> usize {
        s.handle_run(t, seqs.map(|n| packet(t, n)).collect());
        std::iter::from_fn(|| s.poll_transmit(t)).count()
    }

    #[test]
    fn a_channel_grants_nothing_before_its_first_acknowledgement() {
        let (s, t) = sending();
        assert_eq!(s.row(t).granted_bytes, 0);
        let (s, t, _) = up();
        assert!(s.row(t).granted_bytes >= 10 * 1_500);
    }

    #[test]
    fn a_link_that_comes_up_shows_what_it_may_carry() {
        let t = Instant::now();
        let mut s = Sending::new(t, SendingSettings::new(ChannelId(0), t, 60));
        assert!(s.poll_transmit(t + MS * 250).is_some());
        let now = t + MS * 290;
        s.handle_ack(now, &ack(now, t, &[(0, 0)]));
        let train = std::iter::from_fn(|| s.poll_transmit(now));
        assert_eq!(train.filter(|x| matches!(x, Transmit::Control { .. })).count(), TRAIN);
        assert!((7_000..10_000).contains(&s.row(now).bytes_in_flight));
        // They arrive half a millisecond apart.
        for n in 1..=TRAIN as u64 {
            let at = now + MS * 40 + Duration::from_micros(500 * n);
            s.handle_ack(at, &Ack { received_bytes: 1_500 + 1_300 * n as u32, ..ack(at, t, &[(0, n)]) });
        }
        let burst = s.row(now + MS * 50).burst_rate.0;
        assert!((2_300_000..2_900_000).contains(&burst), "{burst}");
    }

    #[test]
    fn what_is_taken_and_in_flight_is_no_longer_granted() {
        let (mut s, t, _) = up();
        let before = s.row(t).granted_bytes;
        assert_eq!(send(&mut s, t, 0..4), 4);
        let row = s.row(t);
        assert_eq!((row.taken_bytes, row.bytes_in_flight), (6_000, 6_000));
        assert_eq!(row.granted_bytes, before);
    }

    #[test]
    fn a_packet_with_three_later_ones_acknowledged_is_lost() {
        let (mut s, t, epoch) = up();
        send(&mut s, t, 0..5);
        let t = t + MS * 40;
        s.handle_ack(t, &ack(t, epoch, &[(2, 5), (0, 0)]));
        let lost = again(&mut s).expect("number 1 is lost");
        assert_eq!((lost.seq, lost.reason), (FlowSeq(0), Reason::Again));
        assert!(again(&mut s).is_none());
        assert_eq!(s.row(t).bytes_in_flight, 0);
    }

    #[test]
    fn an_acknowledgement_whose_largest_is_a_bare_ack_teaches_as_much() {
        let (mut s, t, epoch) = up();
        send(&mut s, t, 0..4);
        s.handle_frame(Frame::Ack(ack(t, epoch, &[(0, 0)])));
        assert!(matches!(s.poll_transmit(t), Some(Transmit::Control { .. })));
        let row = s.row(t);
        assert_eq!(row.bytes_in_flight, 6_000, "a bare ack is not in flight");
        let t = t + MS * 55;
        s.handle_ack(t, &Ack { about: PacketNumber(4), ..ack(t, epoch, &[(0, 5)]) });
        let row = s.row(t);
        assert_eq!((row.bytes_in_flight, row.lost_packets), (0, 0));
        assert_eq!(row.latest_rtt, MS * 55);
    }

    #[test]
    fn silence_with_data_in_flight_hands_everything_back_and_ends_with_an_answer() {
        let (mut s, t, epoch) = up();
        send(&mut s, t, 0..3);
        let stalled = t + MS * 200;
        s.handle_timeout(stalled);
        assert_eq!(s.row(stalled).state, State::Stalled);
        assert!(s.row(stalled).granted_bytes <= s.row(stalled).taken_bytes);
        assert_eq!(std::iter::from_fn(|| again(&mut s)).count(), 3);
        let back = stalled + MS * 10;
        s.handle_ack(back, &ack(back, epoch, &[(0, 3)]));
        assert_eq!(s.row(back).state, State::Up);
        let arrived = std::iter::from_fn(|| s.poll_returned());
        assert!(arrived.zip(0..3).all(|(r, n)| matches!(r, Returned::Arrived(id) if id.seq == FlowSeq(n))));
    }

    #[test]
    fn a_channel_that_is_alone_keeps_what_may_have_arrived() {
        let (mut s, t, _) = up();
        s.set_others(Others::default());
        send(&mut s, t, 0..3);
        s.handle_timeout(t + MS * 200);
        assert!(again(&mut s).is_none());
        s.set_others(Others { up: 1, waiting: true, ..Others::default() });
        assert_eq!(std::iter::from_fn(|| again(&mut s)).count(), 3);
    }

    #[test]
    fn a_dead_link_gives_everything_back_at_once() {
        let (mut s, t, _) = up();
        send(&mut s, t, 0..3);
        s.handle_link(t, false);
        assert_eq!(s.row(t).state, State::Down);
        assert_eq!((0..3).filter_map(|_| again(&mut s)).count(), 3);
        let gone = std::iter::from_fn(|| s.poll_returned());
        assert_eq!(gone.filter(|r| matches!(r, Returned::Gone(..))).count(), 3, "they may come here again");
    }

    #[test]
    fn a_silent_link_is_back_with_the_first_probe_behind_its_queue() {
        let (mut s, t, epoch) = up();
        send(&mut s, t, 0..40);
        s.handle_timeout(t + MS * 200);
        let down = t + MS * 4_000;
        s.handle_timeout(down);
        assert_eq!(s.row(down).state, State::Down);
        let probes = (0..20).filter(|n| s.poll_transmit(down + MS * 50 * *n).is_some());
        assert!((4..=6).contains(&probes.count()), "five in a second");
        let back = t + MS * 6_500;
        // What had waited in the link says nothing of what is sent now: that arrives behind all of it.
        s.handle_ack(back, &ack(back, epoch, &[(0, 30)]));
        assert_eq!(s.row(back).state, State::Down);
        s.handle_ack(back + MS * 50, &ack(back + MS * 50, epoch, &[(0, 41)]));
        assert_eq!(s.row(back).state, State::Up);
    }

    #[test]
    fn a_link_that_is_down_for_a_day_does_not_fill_memory() {
        let (mut s, t, _) = up();
        s.handle_link(t, false);
        for n in 0..20_000 {
            while s.poll_transmit(t + MS * 1_000 * n).is_some() {}
        }
        assert!(s.ring.len() <= PROBES_MAX + 1 && s.returned.len() < 10);
    }

    #[test]
    fn what_arrived_over_a_link_that_is_gone_does_not_bring_it_back() {
        let (mut s, t, epoch) = up();
        send(&mut s, t, 0..3);
        s.handle_link(t, false);
        s.handle_ack(t + MS, &ack(t + MS, epoch, &[(0, 3)]));
        assert_eq!(s.row(t).state, State::Down);
    }

    #[test]
    fn an_acknowledgement_of_what_was_never_sent_is_ignored() {
        let (mut s, t, epoch) = up();
        send(&mut s, t, 0..2);
        s.handle_ack(t + MS, &ack(t + MS, epoch, &[(0, 900)]));
        assert_eq!(s.row(t).bytes_in_flight, 3_000);
    }

    #[test]
    fn a_newer_acknowledgement_takes_the_older_ones_place() {
        let (mut s, t, epoch) = up();
        s.handle_frame(Frame::Ack(ack(t, epoch, &[(0, 1)])));
        s.handle_frame(Frame::Ack(ack(t, epoch, &[(0, 2)])));
        let Some(Transmit::Control { frames, .. }) = s.poll_transmit(t) else { panic!("frames wait") };
        assert_eq!(frames.len(), 1);
    }
}
