//! The receiving half of one channel: what arrived, and when the sender is to be told.
//!
//! An acknowledgement is due after two packets, unless they are small, or 5 ms, at once after a gap, and never so often
//! that it takes more than its part of the return path (`limit.rs`; ALGORITHMS section 4.1: feedback every
//! 5 / 20 / 50 ms gave 0.87 / 0.80 / 0.40 of the sum).
//!
//! Not for: decrypting (threads), order of flows (tunnel/inbound.rs).

use super::ack_ranges::AckRanges;
use super::meter::Meter;
use super::row::ReceiveRow;
use crate::units::{ChannelId, PacketNumber, Rate, Ticks};
use crate::wire::frame::{Ack, ACK_RANGES_MAX};
use std::time::{Duration, Instant};

/// What arrived on one channel.
#[derive(Debug)]
pub struct Receiving {
    id: ChannelId,
    epoch: Instant,
    ranges: AckRanges,
    /// The largest ack-eliciting number, when it arrived, and the bytes received by then.
    about: PacketNumber,
    about_at: Instant,
    about_bytes: u32,
    received_bytes: u32,
    /// Ack-eliciting datagrams not yet acknowledged, their bytes, and when the first of them came.
    owed: u32,
    owed_bytes: u32,
    owed_since: Instant,
    at_once: bool,
    last_ack: Option<Instant>,
    last_detour: Option<Instant>,
    news_for_detour: bool,
    min_interval: Duration,
    packets: u64,
    meter: Meter,
}

impl Receiving {
    /// `id` is the channel's index, the same at both ends; ticks count from `epoch`.
    pub fn new(now: Instant, id: ChannelId, epoch: Instant) -> Receiving {
        Receiving {
            id,
            epoch,
            ranges: AckRanges::default(),
            about: PacketNumber(0),
            about_at: now,
            about_bytes: 0,
            received_bytes: 0,
            owed: 0,
            owed_bytes: 0,
            owed_since: now,
            at_once: false,
            last_ack: None,
            last_detour: None,
            news_for_detour: false,
            min_interval: INTERVAL_MIN,
            packets: 0,
            meter: Meter::new(now),
        }
    }

    /// An authenticated datagram that was not seen before. `wire_bytes` counts IP and UDP headers;
    /// `eliciting` is true for data and for control datagrams with an ack-eliciting frame.
    pub fn handle_datagram(&mut self, now: Instant, number: PacketNumber, wire_bytes: u32, eliciting: bool) {
        let largest = self.ranges.largest();
        self.packets += 1;
        self.received_bytes = self.received_bytes.wrapping_add(wire_bytes);
        self.meter.add(now, u64::from(wire_bytes));
        let next = self.ranges.insert(number);
        self.at_once |= !next && largest.is_some();
        if eliciting {
            if number >= self.about {
                (self.about, self.about_at, self.about_bytes) = (number, now, self.received_bytes);
            }
            if self.owed == 0 {
                self.owed_since = now;
            }
            self.owed += 1;
            self.owed_bytes = self.owed_bytes.saturating_add(wire_bytes);
            self.news_for_detour = true;
        }
    }

    /// What feedback may take of the return path, as its sender knows it (`limit.rs`); `Rate(u64::MAX)`: no limit.
    pub fn set_budget(&mut self, budget: Rate) {
        self.min_interval = budget.time_for(ACK_WIRE_BYTES).clamp(INTERVAL_MIN, INTERVAL_MAX);
    }

    /// The acknowledgement to send now on this channel, if one is due.
    pub fn poll_ack(&mut self, now: Instant) -> Option<Ack> {
        if self.due_at()? > now {
            return None;
        }
        self.owed = 0;
        self.owed_bytes = 0;
        self.at_once = false;
        self.last_ack = Some(now);
        self.ack(now, false)
    }

    /// A copy of the newest acknowledgement for another channel to carry, so that a dead return path
    /// does not blind a good one. At most one each 20 ms (or four of this channel's intervals).
    pub fn poll_detour(&mut self, now: Instant) -> Option<Ack> {
        let interval = DETOUR_INTERVAL.max(self.min_interval * 4);
        let due = self.last_detour.is_none_or(|t| now.saturating_duration_since(t) >= interval);
        if !self.news_for_detour || !due {
            return None;
        }
        self.news_for_detour = false;
        self.last_detour = Some(now);
        self.ack(now, true)
    }

    /// When an acknowledgement will be due (`"ack"`).
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.due_at().map(|t| (t, "ack"))
    }

    /// Largest packet number received: the reference for truncated ones.
    pub fn largest(&self) -> PacketNumber {
        self.ranges.largest().unwrap_or(PacketNumber(0))
    }

    /// The receiving half of the stats row; the counters of refused datagrams are the thread's.
    pub fn row(&self, now: Instant) -> ReceiveRow {
        ReceiveRow {
            packets: self.packets,
            bytes: self.meter.total(),
            rate: self.meter.rate(now),
            ..ReceiveRow::default()
        }
    }

    fn due_at(&self) -> Option<Instant> {
        if self.owed == 0 {
            return None;
        }
        let wanted = if self.at_once || self.owed >= ACK_EVERY && self.owed_bytes >= ACK_BYTES {
            self.owed_since
        } else {
            self.owed_since + ACK_DELAY_MAX
        };
        Some(self.last_ack.map_or(wanted, |t| wanted.max(t + self.min_interval)))
    }

    fn ack(&self, now: Instant, detour: bool) -> Option<Ack> {
        self.ranges.largest()?;
        let delay = now.saturating_duration_since(self.about_at).as_micros();
        Some(Ack {
            channel: self.id.0,
            detour,
            ranges: self.ranges.newest(ACK_RANGES_MAX),
            about: self.about,
            received_at: Ticks::at(self.about_at, self.epoch),
            ack_delay_us: u32::try_from(delay).unwrap_or(u32::MAX),
            received_bytes: self.about_bytes,
        })
    }
}

/// Ack-eliciting datagrams that make an acknowledgement due. Source: RFC 9000 section 13.2.2.
const ACK_EVERY: u32 = 2;
/// And their bytes on the wire, so that one of them is not small, or there are many: a page's handshake is two small packets, and the feedback for them
/// stood before what answers them. Source: the rig, 100 kB objects, two-unequal, 92.15 ms, with this 92.03; the simulator,
/// seven recorded sets, with a page's early acknowledgements (`tunnel/ack_spacing.rs`), one download 1.007, 1.014, eight 1.016, 1.020.
const ACK_BYTES: u32 = 1_000;
/// Longest that a single datagram waits for its acknowledgement. Source: ALGORITHMS section 4.1.
const ACK_DELAY_MAX: Duration = Duration::from_millis(5);
/// Shortest time between two acknowledgements: at 100 Mbit/s one for eight packets.
const INTERVAL_MIN: Duration = Duration::from_millis(1);
/// Longest time between two acknowledgements, however thin the return path.
const INTERVAL_MAX: Duration = Duration::from_millis(60);
/// Wire bytes of an acknowledgement, about: 28 IP and UDP, 24 header and tag, 30 frame.
const ACK_WIRE_BYTES: u64 = 82;
/// Shortest time between two copies for other channels. Source: a guess; well below the stall time.
const DETOUR_INTERVAL: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    fn receiving() -> (Receiving, Instant) {
        let t = Instant::now();
        (Receiving::new(t, ChannelId(1), t), t)
    }

    #[test]
    fn two_packets_are_acknowledged_at_once_and_one_after_5_ms() {
        let (mut r, t) = receiving();
        r.handle_datagram(t, PacketNumber(0), 1500, true);
        assert!(r.poll_ack(t).is_none());
        assert!(r.poll_ack(t + ACK_DELAY_MAX).is_some());
        let t = t + Duration::from_millis(20);
        r.handle_datagram(t, PacketNumber(1), 1500, true);
        r.handle_datagram(t, PacketNumber(2), 1500, true);
        let ack = r.poll_ack(t).expect("due");
        assert_eq!(ack.ranges, vec![(PacketNumber(0), PacketNumber(2))]);
        assert_eq!(ack.received_bytes, 4500);
    }

    #[test]
    fn small_packets_alone_are_acknowledged_after_5_ms_and_with_a_large_one_at_once() {
        let (mut r, t) = receiving();
        (0..5).for_each(|n| r.handle_datagram(t, PacketNumber(n), 100, true));
        assert!(r.poll_ack(t).is_none());
        assert!(r.poll_ack(t + ACK_DELAY_MAX).is_some());
        let t = t + Duration::from_millis(20);
        (5..14).for_each(|n| r.handle_datagram(t, PacketNumber(n), 100, true));
        assert!(r.poll_ack(t).is_none(), "what was acknowledged counts no more");
        r.handle_datagram(t, PacketNumber(14), 1500, true);
        assert!(r.poll_ack(t).is_some());
    }

    #[test]
    fn a_gap_is_told_at_once() {
        let (mut r, t) = receiving();
        r.handle_datagram(t, PacketNumber(0), 1500, false);
        r.handle_datagram(t, PacketNumber(2), 1500, true);
        assert!(r.poll_ack(t).is_some());
    }

    #[test]
    fn feedback_stays_within_its_budget_on_a_thin_return_path() {
        let (mut r, t) = receiving();
        let rate = Rate(700_000 / 8);
        r.set_budget(Rate(rate.0 * 3 / 100));
        let mut sent = 0;
        for i in 0..10_000u64 {
            let now = t + Duration::from_micros(i * 300);
            r.handle_datagram(now, PacketNumber(i), 1500, true);
            sent += u64::from(r.poll_ack(now).is_some()) * ACK_WIRE_BYTES;
        }
        assert!(sent <= rate.0 * 3 * 3 / 100 + 2 * ACK_WIRE_BYTES, "{sent}");
        assert!(sent > rate.0 * 3 * 2 / 100);
    }

    #[test]
    fn a_control_datagram_without_questions_is_not_acknowledged() {
        let (mut r, t) = receiving();
        r.handle_datagram(t, PacketNumber(0), 90, false);
        assert_eq!(r.poll_timeout(), None);
    }
}
