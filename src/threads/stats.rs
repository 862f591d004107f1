//! The stats table: what each thread knows, copied in by its owner and out by whoever wants to read.
//!
//! Its locks are held for a copy alone, never one inside another; a sender's row is put in under the lock of its desk (`send.rs`).
//! Not for: deciding anything.

use super::channel::{OVERHEAD_V4, OVERHEAD_V6};
use super::edges::Edges;
use crate::channel::row::{others, HeldBack, Others, ReceiveRow, SendRow, State};
use crate::monitor::snapshot::{ChannelState, SessionState};
use crate::tunnel::inbound::InboundStats;
use crate::tunnel::outbound::OutboundStats;
use crate::units::{ChannelId, Rate};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Channels of one session, at most: rows and queues are made for so many.
///
/// Source: a guess; nobody was seen with more than eight links. The config allows no more either.
pub const CHANNELS_MAX: usize = 32;

/// The whole table.
#[derive(Debug)]
pub struct Stats {
    tunnels: Mutex<Vec<Tunnel>>,
    process: Mutex<ProcessCounters>,
    mtu: AtomicU16,
}

/// Counters that belong to no session.
#[derive(Clone, Debug, Default)]
pub struct ProcessCounters {
    /// Packets from TUN that no session's addresses cover.
    pub nobody: u64,
    /// Packets that TUN refused.
    pub tun_dropped: u64,
    /// Inner packets whose source address is not the peer's.
    pub foreign_source: u64,
    /// Messages that found their queue full.
    pub queue_full: u64,
    /// Datagrams that the kernel did not take for sending.
    pub unsent: u64,
    /// Handshake datagrams heard.
    pub hellos: u64,
    /// Peers refused, or peers that refused us.
    pub refused: u64,
    /// Datagrams of strangers that found `control` busy.
    pub limited: u64,
}

/// One peer: the proxy at a router, each known router at a proxy. Written by `control`.
#[derive(Clone, Debug)]
pub struct Tunnel {
    /// The peer as the config names it.
    pub name: String,
    pub state: SessionState,
    pub since: Instant,
    /// By channel index.
    pub channels: Vec<ChannelInfo>,
    /// The rows, while there is a session.
    pub session: Option<Arc<SessionStats>>,
}

/// Who a channel is, and what ails it.
#[derive(Clone, Debug)]
pub struct ChannelInfo {
    pub name: String,
    pub link: String,
    pub peer: String,
    /// What to show while the channel has no sender.
    pub state: ChannelState,
    pub since: Instant,
    /// In words, or empty.
    pub why: String,
}

/// One session's rows.
#[derive(Debug)]
pub struct SessionStats {
    rows: Mutex<Rows>,
    version: AtomicU32,
    waiting: AtomicBool,
    room: AtomicU16,
    /// Where TCP senders should stop.
    pub edges: Edges,
}

/// A copy of one session's rows.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// By channel index; `None` while the channel has no sender.
    pub send: Vec<Option<SendRow>>,
    /// By channel index: credit that `tun-read` has seen.
    seen_bytes: Vec<u64>,
    pub receive: Vec<ReceiveRow>,
    pub outbound: OutboundStats,
    pub inbound: InboundStats,
}

/// What the table tells a sender that publishes its row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Packets wait and enough credit for some is new, or the state is: `tun-read` wants to be woken.
    pub wake: bool,
    /// What the other channels can do.
    pub others: Others,
}

impl Stats {
    /// A table without tunnels.
    pub fn new(mtu: u16) -> Stats {
        Stats { tunnels: Mutex::default(), process: Mutex::default(), mtu: AtomicU16::new(mtu) }
    }

    /// Adds a tunnel; its place is the number of those before it.
    pub fn add(&self, now: Instant, name: &str) {
        self.tunnels.lock().push(Tunnel {
            name: name.to_owned(),
            state: SessionState::Connecting,
            since: now,
            channels: Vec::new(),
            session: None,
        });
    }

    /// Changes one tunnel's entry.
    pub fn with_tunnel(&self, place: usize, change: impl FnOnce(&mut Tunnel)) {
        if let Some(tunnel) = self.tunnels.lock().get_mut(place) {
            change(tunnel);
        }
    }

    /// A copy of all tunnels, without their rows.
    pub fn tunnels(&self) -> Vec<Tunnel> {
        self.tunnels.lock().clone()
    }

    /// Changes the process's counters.
    pub fn count(&self, change: impl FnOnce(&mut ProcessCounters)) {
        change(&mut self.process.lock());
    }

    /// A copy of the process's counters.
    pub fn process(&self) -> ProcessCounters {
        self.process.lock().clone()
    }

    /// Largest inner packet of the TUN device.
    pub fn mtu(&self) -> u16 {
        self.mtu.load(Ordering::Relaxed)
    }

    /// Sets what `mtu` says.
    pub fn set_mtu(&self, mtu: u16) {
        self.mtu.store(mtu, Ordering::Relaxed);
    }
}

impl Tunnel {
    /// Says what the session is doing; the time counts from the change.
    pub fn set_state(&mut self, now: Instant, state: SessionState) {
        if self.state != state {
            self.state = state;
            self.since = now;
        }
    }

    /// Says who a channel is and what ails it; the time counts from the change of state.
    pub fn set_channel(&mut self, id: ChannelId, info: ChannelInfo) {
        let place = usize::from(id.0);
        while self.channels.len() <= place {
            let empty =
                ChannelInfo { name: String::new(), link: String::new(), peer: String::new(), ..info.clone() };
            self.channels.push(empty);
        }
        let Some(channel) = self.channels.get_mut(place) else { return };
        let since = if channel.state == info.state { channel.since } else { info.since };
        *channel = ChannelInfo { since, ..info };
    }
}

impl SessionStats {
    /// Rows of `channels` channels.
    pub fn new(channels: usize) -> SessionStats {
        let rows = Rows {
            send: vec![None; channels],
            seen_bytes: vec![0; channels],
            receive: vec![ReceiveRow::default(); channels],
            ..Rows::default()
        };
        SessionStats {
            rows: Mutex::new(rows),
            version: AtomicU32::new(0),
            waiting: AtomicBool::new(false),
            room: AtomicU16::new(room_on(false, PATH_MTU)),
            edges: Edges::default(),
        }
    }

    /// Bytes of an inner packet that fit into a datagram on every channel so far.
    pub fn room(&self) -> u16 {
        self.room.load(Ordering::Relaxed)
    }

    /// A channel's datagrams have room for so much. Gives the least of all.
    pub fn fit(&self, room: u16) -> u16 {
        let room = room.max(room_on(true, PATH_MTU_MIN));
        self.room.fetch_min(room, Ordering::Relaxed).min(room)
    }

    /// Puts a sender's row in.
    pub fn set_send(&self, row: SendRow) -> Told {
        let mut rows = self.rows.lock();
        let seen = rows.seen_bytes.get_mut(usize::from(row.id.0)).map_or(0, |seen| {
            // A window that shrinks takes credit back; what comes after that is news again.
            *seen = row.granted_bytes.min(*seen);
            *seen
        });
        let Some(place) = rows.send.get_mut(usize::from(row.id.0)) else { return Told::default() };
        let news = place.as_ref().is_none_or(|old| old.state != row.state);
        let id = row.id;
        let unseen = row.granted_bytes.saturating_sub(seen);
        // With nothing in flight no acknowledgement will open more.
        let is_worth = unseen >= WORTH_BYTES.min(row.cwnd / 4)
            || unseen > 0 && row.bytes_in_flight + row.queued_bytes == 0;
        *place = Some(row);
        let waiting = self.waiting.load(Ordering::SeqCst);
        let others = others(rows.send.iter().flatten(), id, waiting);
        drop(rows);
        self.version.fetch_add(1, Ordering::SeqCst);
        // Read after the version has changed: `tun-read` says that it waits and then looks at the version.
        Told { wake: news || is_worth && self.waiting.load(Ordering::SeqCst), others }
    }

    /// The channel has no sender any more.
    pub fn clear_send(&self, id: ChannelId) {
        if let Some(place) = self.rows.lock().send.get_mut(usize::from(id.0)) {
            *place = None;
        }
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// Puts a receiver's row in.
    pub fn set_receive(&self, id: ChannelId, row: ReceiveRow) {
        if let Some(place) = self.rows.lock().receive.get_mut(usize::from(id.0)) {
            *place = row;
        }
    }

    /// Puts the balancer's figures in.
    pub fn set_outbound(&self, outbound: OutboundStats, held_back: &[(ChannelId, HeldBack)]) {
        let mut rows = self.rows.lock();
        rows.outbound = outbound;
        for row in rows.send.iter_mut().flatten() {
            row.held_back = held_back.iter().find(|(id, _)| *id == row.id).map(|(_, held)| *held);
        }
    }

    /// Puts the reorderer's figures in.
    pub fn set_inbound(&self, inbound: InboundStats) {
        self.rows.lock().inbound = inbound;
    }

    /// Says whether `tun-read` waits for credit and wants to hear of each change.
    pub fn set_waiting(&self, waiting: bool) {
        self.waiting.store(waiting, Ordering::SeqCst);
    }

    /// Changes at each change of the sending half.
    pub fn version(&self) -> u32 {
        self.version.load(Ordering::SeqCst)
    }

    /// Copies the senders' rows into `out`, which is emptied first; for `tun-read`, who has seen their credit then.
    pub fn copy_send(&self, out: &mut Vec<SendRow>) {
        out.clear();
        let mut rows = self.rows.lock();
        let Rows { send, seen_bytes, .. } = &mut *rows;
        for (row, seen) in send.iter().zip(seen_bytes).filter_map(|(row, seen)| row.as_ref().zip(Some(seen)))
        {
            *seen = row.granted_bytes;
            out.push(row.clone());
        }
    }

    /// Channels that can deliver at the moment. Returns their longest round trip.
    pub fn copy_live(&self, out: &mut Vec<ChannelId>) -> Duration {
        out.clear();
        let rows = self.rows.lock();
        let live = || rows.send.iter().flatten().filter(|row| row.state == State::Up);
        out.extend(live().map(|row| row.id));
        live().map(|row| row.smoothed_rtt).max().unwrap_or_default()
    }

    /// The best channel but `except`: one that is up, with the least round trip.
    pub fn best(&self, except: Option<ChannelId>) -> Option<ChannelId> {
        let rows = self.rows.lock();
        let live = rows.send.iter().flatten().filter(|row| row.state == State::Up && Some(row.id) != except);
        live.min_by_key(|row| (row.smoothed_rtt, row.id)).map(|row| row.id)
    }

    /// The state of a channel's sender and how much of its link feedback may take, if it has one.
    pub fn sender(&self, id: ChannelId) -> Option<(State, Rate)> {
        self.rows.lock().send.get(usize::from(id.0))?.as_ref().map(|row| (row.state, row.feedback_budget))
    }

    /// A copy of everything.
    pub fn copy(&self) -> Rows {
        self.rows.lock().clone()
    }
}

/// Bytes of an inner packet in a datagram over IPv4 or IPv6, where the path takes IP packets of `mtu`.
pub fn room_on(is_v6: bool, mtu: u16) -> u16 {
    let overhead = if is_v6 { OVERHEAD_V6 } else { OVERHEAD_V4 };
    mtu.saturating_sub(overhead as u16)
}

/// IP packet size that every link carries unless its device or the config says less.
pub const PATH_MTU: u16 = 1500;
/// What every IPv6 link takes (RFC 8200), and a new link's first probes need.
const PATH_MTU_MIN: u16 = 1280;
/// New credit that is worth a wake-up: two full packets, or a quarter of a small window.
///
/// Source: at 36 Mbit/s `tun-read` woke 5,000 times a second for 3,000 packets.
const WORTH_BYTES: u64 = 3_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_waits_or_a_new_state_wakes_tun_read() {
        let (stats, now) = (SessionStats::new(2), Instant::now());
        assert!(stats.set_send(row(now, 0, State::Up, 20)).wake, "a new channel is news");
        let more = |bytes: u64| SendRow { granted_bytes: 10_000 + bytes, ..row(now, 0, State::Up, 20) };
        assert!(!stats.set_send(more(0)).wake);
        stats.set_waiting(true);
        assert!(stats.set_send(more(0)).wake);
    }

    #[test]
    fn the_least_room_of_all_channels_counts_and_none_is_less_than_ipv6_gives() {
        let stats = SessionStats::new(2);
        assert_eq!(stats.room(), 1_440);
        assert_eq!((stats.fit(u16::MAX), stats.fit(1_432), stats.fit(1_440)), (1_440, 1_432, 1_432));
        assert_eq!((stats.fit(0), stats.room()), (1_200, 1_200));
        assert_eq!((room_on(true, 1_500), room_on(false, 1_492), room_on(true, 0)), (1_420, 1_432, 0));
    }

    #[test]
    fn credit_for_less_than_two_packets_wakes_nobody_while_more_is_to_come() {
        let (stats, now) = (SessionStats::new(2), Instant::now());
        let busy = |bytes: u64| SendRow {
            granted_bytes: bytes,
            cwnd: 100_000,
            bytes_in_flight: 50_000,
            ..row(now, 0, State::Up, 20)
        };
        stats.set_waiting(true);
        stats.set_send(busy(50_000));
        stats.copy_send(&mut Vec::new());
        assert!(!stats.set_send(busy(51_500)).wake);
        assert!(stats.set_send(busy(53_000)).wake);
        assert!(stats.set_send(SendRow { bytes_in_flight: 0, ..busy(51_500) }).wake, "no more will come");
        assert!(stats.set_send(SendRow { cwnd: 6_000, ..busy(51_500) }).wake, "much for a small window");
        stats.copy_send(&mut Vec::new());
        assert!(!stats.set_send(busy(51_500)).wake, "it has been seen");
    }

    #[test]
    fn each_change_of_a_sender_is_seen_by_the_version() {
        let (stats, now) = (SessionStats::new(2), Instant::now());
        let before = stats.version();
        stats.set_send(row(now, 1, State::Up, 20));
        let after = stats.version();
        assert_ne!(before, after);
        stats.clear_send(ChannelId(1));
        assert_ne!(after, stats.version());
    }

    #[test]
    fn a_sender_hears_whether_it_is_alone() {
        let (stats, now) = (SessionStats::new(2), Instant::now());
        assert!(!stats.set_send(row(now, 0, State::Up, 20)).others.any());
        assert!(stats.set_send(row(now, 1, State::Stalled, 20)).others.any());
        assert!(!stats.set_send(row(now, 0, State::Down, 20)).others.any());
    }

    #[test]
    fn the_best_channel_is_up_and_quick_and_another() {
        let (stats, now) = (SessionStats::new(3), Instant::now());
        assert_eq!(stats.best(None), None);
        for (id, state, ms) in [(0, State::Up, 30), (1, State::Up, 20), (2, State::Stalled, 5)] {
            stats.set_send(row(now, id, state, ms));
        }
        assert_eq!(stats.best(None), Some(ChannelId(1)));
        assert_eq!(stats.best(Some(ChannelId(1))), Some(ChannelId(0)));
        let mut live = Vec::new();
        stats.copy_live(&mut live);
        assert_eq!(live, [ChannelId(0), ChannelId(1)]);
    }

    fn row(now: Instant, id: u8, state: State, rtt_ms: u64) -> SendRow {
        use crate::channel::sending::{Sending, SendingSettings};
        let settings = SendingSettings::new(ChannelId(id), now, 60);
        let row = Sending::new(now, settings).row(now);
        SendRow { state, smoothed_rtt: Duration::from_millis(rtt_ms), ..row }
    }
}
