//! Thread `reorder`: puts what the channels received back in order and writes it to TUN.
//!
//! 1. wait for runs of arrivals or the oldest hole's deadline,
//! 2. hand all that is queued to the session's `Inbound`,
//! 3. take what may be delivered,
//! 4. check that the inner source address belongs to the peer,
//! 5. write to TUN in one batch.
//!
//! One thread serves all sessions: each has its own order.

use super::bell::BellInbox;
use super::clock;
use super::queues::ToReorder;
use super::stats::{SessionStats, Stats};
use super::stop::{Stop, PATIENCE};
use crate::config::settings::Network;
use crate::io::tun::Tun;
use crate::tunnel::address::source;
use crate::tunnel::inbound::{Inbound, InboundSettings};
use crate::tunnel::mss;
use crate::tunnel::session::SessionId;
use crate::units::{ChannelId, Packet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the thread owns.
#[derive(Debug)]
pub struct Reorder {
    pub inbox: BellInbox<ToReorder>,
    pub tun: Arc<Tun>,
    pub stats: Arc<Stats>,
    pub stop: Stop,
}

/// What the thread is told of a new session.
#[derive(Debug)]
pub struct NewInbound {
    pub id: SessionId,
    pub stats: Arc<SessionStats>,
    pub settings: InboundSettings,
    /// Inner source addresses that the peer may use; empty: any.
    pub allowed: Vec<Network>,
}

struct Session {
    id: SessionId,
    inbound: Inbound,
    stats: Arc<SessionStats>,
    allowed: Vec<Network>,
    live: Vec<ChannelId>,
    version: u32,
    reported: Instant,
}

impl Reorder {
    /// Runs until the stop signal.
    pub fn run(self) {
        let mut sessions: Vec<Session> = Vec::new();
        let mut out = Vec::new();
        let mut now = clock::now();
        while !self.stop.is_set() {
            let due = sessions.iter().filter_map(|s| s.inbound.poll_timeout()).map(|(at, _)| at).min();
            let patience = now + PATIENCE;
            if self.inbox.is_empty() {
                self.inbox.wait_until(due.map_or(patience, |at| at.min(patience)));
            }
            now = clock::now();
            for message in self.inbox.try_iter().take(DRAIN_MAX) {
                take(now, &mut sessions, message);
            }
            for session in &mut sessions {
                self.deliver(now, session, &mut out);
                session.report(now);
            }
        }
    }

    fn deliver(&self, now: Instant, session: &mut Session, out: &mut Vec<Packet>) {
        session.refresh_live(now);
        if session.inbound.poll_timeout().is_some_and(|(at, _)| at <= now) {
            session.inbound.handle_timeout(now);
        }
        let mut foreign = 0;
        while let Some(mut packet) = session.inbound.poll_deliver() {
            if !session.allows(&packet) {
                foreign += 1;
                continue;
            }
            mss::clamp(&mut packet, self.stats.mtu());
            out.push(packet);
        }
        if foreign > 0 {
            self.stats.count(|c| c.foreign_source += foreign);
        }
        if out.is_empty() {
            return;
        }
        let report = self.tun.write_batch(out);
        out.clear();
        if report.dropped > 0 {
            self.stats.count(|c| c.tun_dropped += report.dropped as u64);
            if let Some(failure) = report.failure {
                log::debug!("{failure}");
            }
        }
    }
}

impl Session {
    fn allows(&self, packet: &Packet) -> bool {
        let Some(ip) = source(&packet.bytes) else { return false };
        self.allowed.is_empty() || self.allowed.iter().any(|p| p.contains(ip))
    }

    fn refresh_live(&mut self, now: Instant) {
        let version = self.stats.version();
        if version != self.version {
            self.version = version;
            self.stats.copy_live(&mut self.live);
            self.inbound.set_live(now, &self.live);
        }
    }

    fn report(&mut self, now: Instant) {
        if now.saturating_duration_since(self.reported) >= REPORT {
            self.reported = now;
            self.stats.set_inbound(self.inbound.stats());
        }
    }
}

fn take(now: Instant, sessions: &mut Vec<Session>, message: ToReorder) {
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
            version: new.stats.version().wrapping_sub(1),
            stats: new.stats,
            allowed: new.allowed,
            live: Vec::new(),
            reported: now,
        }),
        ToReorder::Close(id) => sessions.retain(|s| s.id != id),
    }
}

fn find(sessions: &mut [Session], id: SessionId) -> Option<&mut Session> {
    sessions.iter_mut().find(|s| s.id == id)
}

/// Messages taken before anything is delivered: bounds the wait of the first.
const DRAIN_MAX: usize = 32;
/// How often the figures are published.
const REPORT: Duration = Duration::from_millis(100);
