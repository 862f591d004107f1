//! Thread `tun-read`: takes packets from TUN and binds them to channels.
//!
//! 1. wait for TUN, a wake-up (rows changed, packets lost) or a deadline,
//! 2. take what was lost and the newest rows,
//! 3. read TUN while the flow queues have room,
//! 4. find the session by the inner destination address,
//! 5. hand out runs as long as a channel has credit, and send them too if they are short (`send.rs`).
//!
//! The balancer inside `Outbound` decides.

use super::bell::FEW;
use super::clock;
use super::queues::{SentBy, ToSend, ToTunRead, Wiring};
use super::stats::Stats;
use super::stop::{Stop, PATIENCE};
use crate::channel::row::SendRow;
use crate::config::settings::Network;
use crate::io::poll::{self, Waker};
use crate::io::tun::{ReadBuffer, Tun};
use crate::tunnel::address::destination;
use crate::tunnel::mss;
use crate::tunnel::outbound::{Outbound, OutboundSettings};
use crate::units::{ChannelId, Packet, Returned};
use crate::wire::frame::Frame;
use crossbeam_channel::Receiver;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the thread owns.
#[derive(Debug)]
pub struct TunRead {
    pub inbox: Receiver<ToTunRead>,
    pub waker: Arc<Waker>,
    pub tun: Arc<Tun>,
    pub stats: Arc<Stats>,
    pub stop: Stop,
}

/// What the thread is told of a new session.
#[derive(Debug)]
pub struct NewOutbound {
    pub wiring: Wiring,
    pub settings: OutboundSettings,
    /// Random, so that strangers cannot make flows collide.
    pub hash_key: [u64; 2],
    /// Inner destinations that this session takes; empty: all.
    pub networks: Vec<Network>,
}

struct Session {
    outbound: Outbound,
    wiring: Wiring,
    networks: Vec<Network>,
    rows: Vec<SendRow>,
    version: u32,
    reported: Instant,
    /// Channels that were given packets which nobody sees to yet.
    unseen: Vec<ChannelId>,
}

impl TunRead {
    /// Runs until the stop signal.
    pub fn run(self) {
        let mut sessions: Vec<Session> = Vec::new();
        let mut buffer = ReadBuffer::new();
        let mut packets = Vec::new();
        let mut readable = Readable::No;
        while !self.stop.is_set() {
            let now = clock::now();
            for message in self.inbox.try_iter() {
                take(now, &mut sessions, message);
            }
            sessions.iter_mut().for_each(|s| s.refresh(now));
            if readable == Readable::Yes && self.may_read(&sessions) {
                readable = self.read(now, &mut sessions, &mut buffer, &mut packets);
            }
            let mut given = 0;
            let calm =
                sessions.iter_mut().map(|s| s.hand_out(now, &mut given)).fold(true, |all, one| all & one);
            if calm && self.inbox.is_empty() && !(readable == Readable::Yes && self.may_read(&sessions)) {
                readable = self.wait(now, &sessions, readable);
            }
        }
    }

    /// A router's only session holds TUN back when its queue is full; the proxy reads on, so that one
    /// router's queue does not hurt another's.
    fn may_read(&self, sessions: &[Session]) -> bool {
        match sessions {
            [one] => one.outbound.has_room(),
            _ => true,
        }
    }

    fn read(
        &self,
        now: Instant,
        sessions: &mut [Session],
        buffer: &mut ReadBuffer,
        packets: &mut Vec<Packet>,
    ) -> Readable {
        let more = match self.tun.read_batch(buffer, packets, BATCH_MAX) {
            Ok(n) if n >= BATCH_MAX => Readable::Yes,
            Ok(_) => Readable::No,
            Err(failure) => {
                // Without the device there is nothing to do here; whoever started us may make a new one.
                self.stop.fail(failure);
                Readable::No
            }
        };
        let mut nobody = 0;
        for mut packet in packets.drain(..) {
            let Some(session) = session_for(sessions, &packet) else {
                nobody += 1;
                continue;
            };
            mss::clamp(&mut packet, self.stats.mtu(), session.wiring.session.room());
            session.outbound.handle_packet(now, packet);
        }
        if nobody > 0 {
            self.stats.count(|c| c.nobody += nobody);
        }
        more
    }

    /// The one place where the thread waits.
    fn wait(&self, now: Instant, sessions: &[Session], readable: Readable) -> Readable {
        let due = sessions.iter().filter_map(|s| s.outbound.poll_timeout()).map(|(at, _)| at).min();
        let timeout = due.map_or(PATIENCE, |at| at.saturating_duration_since(now).min(PATIENCE));
        let both = [self.waker.as_fd(), self.tun.as_fd()];
        // While TUN is held back it is not waited for: it would end every wait at once.
        let fds = if readable == Readable::Yes { &both[..1] } else { &both[..] };
        match poll::wait(fds, Some(timeout)) {
            Ok(ready) => {
                if ready.has(0) {
                    self.waker.drain();
                }
                if ready.has(1) || readable == Readable::Yes {
                    return Readable::Yes;
                }
            }
            Err(failure) => log::warn!("{failure}"),
        }
        Readable::No
    }
}

/// Whether TUN has packets that were not read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Readable {
    Yes,
    No,
}

impl Session {
    fn refresh(&mut self, now: Instant) {
        let version = self.wiring.session.version();
        if version != self.version {
            self.version = version;
            self.wiring.session.copy_send(&mut self.rows);
            self.outbound.set_rows(now, &self.rows);
            self.outbound.set_room(self.wiring.session.room());
        }
        while let Some((at, hash)) = self.wiring.session.edges.take_syn() {
            self.outbound.handle_syn(at, hash);
        }
        if self.outbound.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.outbound.handle_timeout(now);
        }
    }

    /// Has sent what the channels were given.
    fn see_to(&mut self, by: SentBy) {
        self.unseen.drain(..).for_each(|id| self.wiring.see_to(id, by));
    }

    /// Hands out what has credit; true when there is nothing to do until something happens. `given` counts the packets of
    /// all sessions.
    fn hand_out(&mut self, now: Instant, given: &mut usize) -> bool {
        while let Some((id, run)) = self.outbound.poll_run(now) {
            *given += run.len();
            if let Err(run) = self.wiring.put_run(id, run) {
                self.wiring.see_to(id, SentBy::Thread);
                for bound in run {
                    self.outbound.handle_returned(now, Returned::Again(bound));
                }
                break;
            }
            if !self.unseen.contains(&id) {
                self.unseen.push(id);
            }
            if *given > FEW {
                self.see_to(SentBy::Thread);
            }
        }
        // The senders are told with their rows whether packets wait for credit.
        self.wiring.session.set_waiting(self.outbound.is_waiting());
        self.see_to(SentBy::Caller);
        while let Some((flow, seq)) = self.outbound.poll_abandoned() {
            if let Some(id) = self.wiring.session.best(None) {
                self.wiring.send_link(id, ToSend::Frame(Frame::Abandon { flow, seq }));
            }
        }
        while let Some(entry) = self.outbound.poll_entry() {
            self.wiring.session.edges.put_entry(entry);
        }
        while let Some((hash, edge)) = self.outbound.poll_edge(now) {
            self.wiring.session.edges.set(hash, edge);
        }
        if now.saturating_duration_since(self.reported) >= REPORT {
            self.reported = now;
            self.wiring.session.set_outbound(self.outbound.stats(), &self.outbound.held_back());
        }
        // A row that came between the copy and set_waiting woke nobody.
        self.wiring.session.version() == self.version
    }
}

fn take(now: Instant, sessions: &mut Vec<Session>, message: ToTunRead) {
    match message {
        ToTunRead::Lost(id, lost) => {
            if let Some(session) = sessions.iter_mut().find(|s| s.wiring.id == id) {
                lost.into_iter().for_each(|bound| session.outbound.handle_returned(now, bound));
            }
        }
        ToTunRead::Open(new) => sessions.push(Session {
            outbound: Outbound::new(now, new.settings, new.hash_key),
            version: new.wiring.session.version().wrapping_sub(1),
            wiring: new.wiring,
            networks: new.networks,
            rows: Vec::new(),
            reported: now,
            unseen: Vec::new(),
        }),
        ToTunRead::Close(id) => sessions.retain(|s| s.wiring.id != id),
    }
}

fn session_for<'s>(sessions: &'s mut [Session], packet: &Packet) -> Option<&'s mut Session> {
    let to = destination(&packet.bytes)?;
    sessions.iter_mut().find(|s| s.networks.is_empty() || s.networks.iter().any(|n| n.contains(to)))
}

/// Packets read from TUN before runs are handed out.
const BATCH_MAX: usize = 64;
/// How often the figures are published.
const REPORT: Duration = Duration::from_millis(100);
