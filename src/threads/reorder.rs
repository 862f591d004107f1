//! Thread `reorder`: puts what the channels received back in order and writes it to TUN.
//!
//! 1. wait for runs of arrivals or the oldest hole's deadline,
//! 2. hand all that is queued to the session's `Inbound`,
//! 3. take what may be delivered,
//! 4. check that the inner source address belongs to the peer,
//! 5. write to TUN in one batch.
//!
//! The steps are in `desk.rs`, as a receiver that brings few packets does them itself. One thread serves all
//! sessions: each has its own order.

use super::desk::Desk;
use super::queues::{LinkQueue, ToReorder, ToSend};
use super::stats::{SessionStats, Stats};
use super::stop::Stop;
use crate::config::settings::Network;
use crate::tunnel::ack_floor::AckFloor;
use crate::tunnel::ack_windows::AckWindows;
use crate::tunnel::address::source;
use crate::tunnel::inbound::{Inbound, InboundSettings};
use crate::tunnel::mss;
use crate::tunnel::session::SessionId;
use crate::units::{ChannelId, FlowTag, Packet};
use crate::wire::frame::Frame;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the thread works with.
#[derive(Debug)]
pub struct Reorder {
    pub desk: Arc<Desk>,
    pub stop: Stop,
}

/// What the thread is told of a new session.
#[derive(Debug)]
pub struct NewInbound {
    pub id: SessionId,
    pub stats: Arc<SessionStats>,
    /// The ways to the channels' senders.
    pub links: Arc<[LinkQueue]>,
    pub settings: InboundSettings,
    /// That of the session's `Outbound`.
    pub hash_key: [u64; 2],
    /// Inner source addresses that the peer may use; empty: any.
    pub allowed: Vec<Network>,
}

/// One session's order.
pub(super) struct Session {
    id: SessionId,
    pub(super) inbound: Inbound,
    ack_windows: AckWindows,
    pub(super) ack_floor: AckFloor,
    stats: Arc<SessionStats>,
    links: Arc<[LinkQueue]>,
    allowed: Vec<Network>,
    live: Vec<ChannelId>,
    version: u32,
    reported: Instant,
}

impl Reorder {
    /// Runs until the stop signal.
    pub fn run(self) {
        while !self.stop.is_set() {
            self.desk.turn();
        }
    }
}

impl Session {
    pub(super) fn allows(&self, packet: &Packet) -> bool {
        let Some(ip) = source(&packet.bytes) else { return false };
        self.allowed.is_empty() || self.allowed.iter().any(|p| p.contains(ip))
    }

    /// Learns which data came in at this end.
    pub(super) fn take_entries(&mut self) {
        while let Some(entry) = self.stats.edges.take_entry() {
            self.ack_floor.on_entry(entry);
        }
    }

    /// When something leaves by itself.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let both = [self.inbound.poll_timeout(), self.ack_floor.poll_timeout()];
        both.into_iter().flatten().map(|(at, _)| at).min()
    }

    /// See `SessionStats::room`.
    pub(super) fn room(&self) -> u16 {
        self.stats.room()
    }

    /// Tells TCP senders where to stop, and the other half of a connection's beginning.
    pub(super) fn steer(&mut self, now: Instant, packet: &mut Packet) {
        let edges = &self.stats.edges;
        if edges.is_any() || mss::is_syn(&packet.bytes) {
            if let Some(hash) = self.ack_windows.on_packet(packet, |hash| edges.of(hash)) {
                edges.put_syn(now, hash);
            }
        }
    }

    /// An acknowledgement that has to wait is kept.
    pub(super) fn hold(&mut self, now: Instant, packet: Packet) -> Option<Packet> {
        let edges = &self.stats.edges;
        self.ack_floor.on_packet(now, packet, |hash| edges.of(hash).is_some())
    }

    /// Tells the peer that this flow's contexts are lost.
    pub(super) fn forgot(&self, process: &Stats, flow: FlowTag) {
        let best = self.stats.best(None).and_then(|id| self.links.get(usize::from(id.0)));
        if let Some(link) = best {
            link.send(process, ToSend::Frame(Frame::Forgotten { flow }));
        }
    }

    pub(super) fn refresh_live(&mut self, now: Instant) {
        let version = self.stats.version();
        if version != self.version {
            self.version = version;
            let longest_rtt = self.stats.copy_live(&mut self.live);
            self.inbound.set_longest_rtt(longest_rtt);
            self.inbound.set_live(now, &self.live);
        }
    }

    pub(super) fn report(&mut self, now: Instant) {
        if now.saturating_duration_since(self.reported) >= REPORT {
            self.reported = now;
            self.stats.set_inbound(self.inbound.stats());
        }
    }

    /// Gives a message to the session it is for.
    pub(super) fn take(now: Instant, sessions: &mut Vec<Session>, message: ToReorder) {
        match message {
            ToReorder::Run(id, run) => {
                if let Some(session) = find(sessions, id) {
                    for arrival in run {
                        session.inbound.handle_arrival(now, arrival);
                    }
                }
            }
            ToReorder::Abandon(id, flow, seq) => {
                if let Some(session) = find(sessions, id) {
                    session.inbound.handle_abandon(now, flow, seq);
                }
            }
            ToReorder::Open(new) => sessions.push(Session {
                id: new.id,
                inbound: Inbound::new(now, new.settings),
                ack_windows: AckWindows::new(new.hash_key),
                ack_floor: AckFloor::new(new.hash_key),
                version: new.stats.version().wrapping_sub(1),
                stats: new.stats,
                links: new.links,
                allowed: new.allowed,
                live: Vec::new(),
                reported: now,
            }),
            ToReorder::Close(id) => sessions.retain(|s| s.id != id),
        }
    }
}

fn find(sessions: &mut [Session], id: SessionId) -> Option<&mut Session> {
    sessions.iter_mut().find(|s| s.id == id)
}

/// How often the figures are published.
const REPORT: Duration = Duration::from_millis(100);
