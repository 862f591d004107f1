//! One channel's row in the stats table: what its sender and receiver know, as plain values.
//!
//! The balancer reads the sending half, the monitor both. Not for: deciding anything.

use crate::units::{wrapped, ChannelId, Rate};
use std::time::{Duration, Instant};

/// Liveness of a channel's sending direction.
///
/// ```text
///   Unknown --first ack--> Up <--ack-- Stalled --3 s without ack--> Down --ack--> Up
///                           `--in flight, no ack for ~srtt + 60 ms--^
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Joined or joining; nothing was acknowledged yet.
    Unknown,
    /// Acknowledgements come.
    Up,
    /// Data is in flight and nothing comes back.
    Stalled,
    /// Nothing came back for seconds, or the link is gone.
    Down,
}

/// What the sender of a channel publishes.
#[derive(Clone, Debug)]
pub struct SendRow {
    pub id: ChannelId,
    pub state: State,
    /// When `state` began.
    pub since: Instant,
    /// Bytes that may be bound to this channel, counted since it was made: what was taken over so
    /// far plus the room in the window, less what is in flight beyond it. The balancer keeps the sum of what it has bound; the
    /// difference is the credit.
    pub granted_bytes: u64,
    /// Bytes taken over from the balancer so far.
    pub taken_bytes: u64,
    pub cwnd: u64,
    pub bytes_in_flight: u64,
    /// The part of it that sparse flows sent.
    pub sparse_in_flight: u64,
    /// Bytes handed over and not yet sent (pacing).
    pub queued_bytes: u64,
    /// Estimated delivery rate, wire bytes.
    pub rate: Rate,
    /// `rate` if the link was the limit within the last seconds and its rate was found, else `Rate(u64::MAX)`.
    pub capacity: Rate,
    /// What the receiving half may take of the link, its return path; `Rate(u64::MAX)` for no limit.
    pub feedback_budget: Rate,
    /// Highest rate over a few packets in a row: what the link may do; zero if unknown.
    pub burst_rate: Rate,
    /// Rate over the last second of what was acknowledged, wire bytes.
    pub goodput: Rate,
    pub smoothed_rtt: Duration,
    pub min_rtt: Duration,
    pub latest_rtt: Duration,
    /// One-way delay without queue on the *receiver's clock minus the sender's*, microseconds: the
    /// unknown offset is the same for all channels of a session, so channels can be compared.
    pub base_owd_us: i64,
    /// The queue in the link now, by one-way delay above its base.
    pub queue_delay: Duration,
    /// Share of packets lost over the last seconds, in millionths.
    pub loss_ppm: u32,
    /// Bytes on the wire per inner packet beside the packet itself (60 over IPv4, 80 over IPv6).
    pub overhead: u32,
    pub sent_packets: u64,
    pub sent_bytes: u64,
    pub lost_packets: u64,
    pub resent_packets: u64,
    /// Why the balancer holds the channel back, if it does: set by the balancer, for the monitor.
    pub held_back: Option<HeldBack>,
}

/// What the channels beside one can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// How many are up.
    pub up: usize,
    /// Packets wait for credit.
    pub waiting: bool,
    /// How much longer the shortest of them is.
    pub lead: Duration,
}

impl Others {
    /// Whether one could take a packet, sooner or later.
    pub fn any(&self) -> bool {
        self.up > 0
    }

    /// Whether one could take it at once.
    pub fn has_room(&self) -> bool {
        self.any() && !self.waiting
    }
}

/// What the channels beside `id` can do; `waiting` says whether packets wait for credit.
pub fn others<'a>(rows: impl Iterator<Item = &'a SendRow> + Clone, id: ChannelId, waiting: bool) -> Others {
    let own = rows.clone().find(|r| r.id == id).map(|r| r.base_owd_us);
    let others = rows.filter(|r| r.id != id && r.state == State::Up);
    let lead_us = others.clone().filter_map(|r| Some(wrapped(r.base_owd_us, own?))).min().unwrap_or(0);
    Others { up: others.count(), waiting, lead: Duration::from_micros(lead_us.max(0) as u64) }
}

/// Why a channel carries nothing although it is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// Delay it would add over the best channel.
    pub adds: Duration,
    /// Rate it would bring.
    pub brings: Rate,
}

/// What the receiver of a channel publishes.
#[derive(Clone, Debug, Default)]
pub struct ReceiveRow {
    pub packets: u64,
    pub bytes: u64,
    /// Rate over the last second, wire bytes.
    pub rate: Rate,
    /// Datagrams that did not authenticate, and such as were seen before.
    pub forged: u64,
    pub replayed: u64,
    pub malformed: u64,
}

#[cfg(test)]
mod tests {
    use super::super::sending::{Sending, SendingSettings};
    use super::*;

    #[test]
    fn the_others_lead_is_that_of_the_shortest_that_is_up() {
        let now = Instant::now();
        let row = |id, state, base_owd_us| {
            let row = Sending::new(now, SendingSettings::new(ChannelId(id), now, 60)).row(now);
            SendRow { state, base_owd_us, ..row }
        };
        // Clocks wrap after 268,435,456 microseconds.
        let rows = [
            row(0, State::Up, 268_430_000),
            row(1, State::Up, 600_000),
            row(2, State::Up, 194_544),
            row(3, State::Down, 0),
        ];
        let seen = |id| others(rows.iter(), ChannelId(id), true);
        assert_eq!(seen(0), Others { up: 2, waiting: true, lead: Duration::from_millis(200) });
        assert_eq!(seen(1).lead, Duration::ZERO, "they are shorter");
        assert_eq!(seen(3).up, 3);
    }
}
