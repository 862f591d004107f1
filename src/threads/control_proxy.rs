//! Thread `control` at the proxy: the sessions of all routers and their channels.
//!
//! 1. wait for a message or a deadline,
//! 2. feed the session machine,
//! 3. do what its events say: a channel that joins gets a socket of its own, bound to the same port and
//!    connected to the router's address; one that joins again from another address (NAT, new link) moves
//!    there,
//! 4. send what the machine wants sent.

use super::channel::{udp_offload, Channel, Keys};
use super::device::Device;
use super::queues::{Heard, ToControl, ToReorder, ToTunRead, Wiring};
use super::rarely::Rarely;
use super::reorder::NewInbound;
use super::stats::{room_on, ChannelInfo, CHANNELS_MAX, PATH_MTU};
use super::tun_read::NewOutbound;
use super::{clock, stop, Hub};
use crate::channel::row::State;
use crate::config::settings::{Network, ProxyConfig, RouterPeer};
use crate::io::poll::{self, Waker};
use crate::io::udp::{UdpOptions, UdpPort};
use crate::monitor::snapshot::{ChannelState, SessionState};
use crate::tunnel::session::{is_handshake, Event, Joined, Peer, ProxySessions, SessionId};
use crate::units::ChannelId;
use crossbeam_channel::Receiver;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the thread owns.
pub struct ControlProxy {
    pub hub: Hub,
    pub inbox: Receiver<ToControl>,
    pub waker: Arc<Waker>,
    pub sessions: ProxySessions,
    pub config: ProxyConfig,
    pub device: Device,
    /// The listening socket.
    pub port: Arc<UdpPort>,
    /// So that strangers do not fill the log.
    pub refusals: Rarely,
}

/// Who has just been heard, and at which of our addresses.
#[derive(Clone, Copy)]
struct Exchange {
    peer: SocketAddr,
    own: IpAddr,
}

/// One session.
struct Live {
    /// Place of the router in the config.
    router: usize,
    wiring: Wiring,
    /// By channel index.
    channels: BTreeMap<u8, Channel>,
}

impl ControlProxy {
    /// Runs until the stop signal, then tells the routers.
    pub fn run(mut self) {
        let mut live: Vec<Live> = Vec::new();
        let mut check_at = clock::now();
        while !self.hub.stop.is_set() {
            let now = clock::now();
            // One after the other, so that each is answered from the address it was sent to.
            while let Ok(message) = self.inbox.try_recv() {
                self.take(now, message, &mut live);
            }
            if self.sessions.poll_timeout().is_some_and(|(at, _)| at <= now) {
                self.sessions.handle_timeout(now);
            }
            self.act(now, &mut live, None);
            if now >= check_at {
                check_at = now + CHECK;
                live.iter_mut().for_each(|one| self.drop_dead(now, one));
            }
            self.wait(now, check_at);
        }
        self.sessions.close_all(clock::now());
        self.transmit(&live, None);
    }

    fn take(&mut self, now: Instant, message: ToControl, live: &mut Vec<Live>) {
        let ToControl::Datagram(Heard { from: Peer::Address(from), to, bytes }) = message else { return };
        if is_handshake(&bytes) {
            self.hub.stats.count(|c| c.hellos += 1);
        }
        self.sessions.handle_datagram(now, from, &bytes);
        self.act(now, live, to.map(|own| Exchange { peer: from, own }));
    }

    /// The one place where the thread waits.
    fn wait(&self, now: Instant, check_at: Instant) {
        let due = self.sessions.poll_timeout().map_or(check_at, |(at, _)| at.min(check_at));
        let timeout = due.saturating_duration_since(now).min(stop::PATIENCE);
        match poll::wait(&[self.waker.as_fd()], Some(timeout)) {
            Ok(ready) if ready.has(0) => self.waker.drain(),
            Ok(_) => {}
            Err(failure) => log::warn!("{failure}"),
        }
    }

    fn act(&mut self, now: Instant, live: &mut Vec<Live>, exchange: Option<Exchange>) {
        while let Some(event) = self.sessions.poll_event() {
            match event {
                Event::Established { session, router, suite, .. } => {
                    log::info!("{}: session established, {suite:?}", self.name(router));
                    if let Some(one) = self.open(now, session, router) {
                        live.push(one);
                    }
                }
                Event::Joined(joined) => {
                    if let Some(one) = live.iter_mut().find(|one| one.wiring.id == joined.session) {
                        self.joined(now, one, *joined, exchange);
                    }
                }
                Event::Rekeyed { generation, .. } => log::debug!("key generation {generation}"),
                Event::Closed { session, reason } => {
                    if let Some(place) = live.iter().position(|one| one.wiring.id == session) {
                        let one = live.swap_remove(place);
                        log::info!("{}: session closed: {reason}", self.name(one.router));
                        self.close(now, one);
                    }
                }
                Event::Refused { from, reason } => {
                    self.hub.stats.count(|c| c.refused += 1);
                    if let (true, Peer::Address(from)) = (self.refusals.may(now), from) {
                        log::warn!("{from}: {reason}");
                    }
                }
                Event::ProxyNotPinned { .. } => {}
            }
        }
        self.transmit(live, exchange);
    }

    /// Answers leave from the address that was spoken to: NATs and connected sockets take no other.
    fn transmit(&mut self, live: &[Live], exchange: Option<Exchange>) {
        while let Some((to, bytes)) = self.sessions.poll_transmit() {
            let own = exchange.filter(|e| e.peer == to).map(|e| e.own);
            let mut channels = live.iter().flat_map(|one| one.channels.values());
            let sent = match (own, channels.find(|c| c.port.peer() == Some(to))) {
                (Some(own), _) => self.port.send_answer(&bytes, to, own),
                (None, Some(channel)) => channel.port.send_train(&bytes, bytes.len(), None),
                (None, None) => self.port.send_train(&bytes, bytes.len(), Some(to)),
            };
            if let Err(trouble) = sent {
                log::debug!("handshake to {to}: {trouble:?}");
            }
        }
    }

    fn open(&self, now: Instant, id: SessionId, router: usize) -> Option<Live> {
        let peer = self.config.routers.get(router)?;
        let wiring = Wiring::new(&self.hub, id, CHANNELS_MAX);
        let outbound = NewOutbound {
            wiring: wiring.clone(),
            settings: self.config.outbound.clone(),
            hash_key: self.hub.hash_key,
            networks: networks(peer),
        };
        self.hub.tun_read.send_patiently(&self.hub.stats, ToTunRead::Open(Box::new(outbound)));
        let inbound = NewInbound {
            id,
            stats: wiring.session.clone(),
            links: wiring.links.clone(),
            settings: self.config.inbound.clone(),
            hash_key: self.hub.hash_key,
            allowed: networks(peer),
        };
        wiring.send_reorder(ToReorder::Open(Box::new(inbound)));
        self.hub.stats.with_tunnel(router, |t| {
            t.set_state(now, SessionState::Established);
            t.session = Some(wiring.session.clone());
            t.channels.clear();
        });
        Some(Live { router, wiring, channels: BTreeMap::new() })
    }

    fn close(&self, now: Instant, one: Live) {
        let Live { router, wiring, channels } = one;
        drop(channels);
        self.hub.tun_read.send_patiently(&self.hub.stats, ToTunRead::Close(wiring.id));
        wiring.send_reorder(ToReorder::Close(wiring.id));
        self.hub.stats.with_tunnel(router, |t| {
            t.set_state(now, SessionState::Lost);
            t.session = None;
        });
    }

    fn joined(&self, now: Instant, one: &mut Live, joined: Joined, exchange: Option<Exchange>) {
        let (id, remote) = (joined.channel, joined.remote);
        if usize::from(id.0) >= CHANNELS_MAX {
            log::warn!("{}: channel {} is above the limit of {CHANNELS_MAX}", self.name(one.router), id.0);
            return;
        }
        let name = format!("{}-{}", self.name(one.router), id.0);
        if one.channels.get(&id.0).is_some_and(|c| c.port.peer() != Some(remote)) {
            log::info!("{name}: moves to {remote}");
            one.channels.remove(&id.0);
        }
        let channel = match one.channels.remove(&id.0) {
            Some(channel) => Ok(channel),
            None => self.open_channel(joined.channel, &name, remote, exchange),
        };
        // Before anything is sent there.
        let own =
            channel.as_ref().ok().and_then(|c| c.port.path_mtu()).and_then(|mtu| u16::try_from(mtu).ok());
        let room = room_on(remote.is_ipv6(), own.unwrap_or(PATH_MTU).min(PATH_MTU)).min(joined.room);
        self.device.fit(one.wiring.session.fit(room));
        let keys = Keys { sealer: joined.sealer, opener: joined.opener };
        let done = channel.and_then(|mut channel| {
            channel.join(&self.hub, &one.wiring, keys, None)?;
            one.channels.insert(id.0, channel);
            Ok(())
        });
        if let Err(e) = done {
            log::error!("{name}: cannot start the channel to {remote}: {e}");
            return;
        }
        let info = ChannelInfo {
            name: format!("{}", id.0),
            link: remote.to_string(),
            peer: remote.to_string(),
            state: ChannelState::Joining,
            since: now,
            why: String::new(),
        };
        self.hub.stats.with_tunnel(one.router, |t| t.set_channel(id, info));
    }

    fn open_channel(
        &self,
        id: ChannelId,
        name: &str,
        remote: SocketAddr,
        exchange: Option<Exchange>,
    ) -> io::Result<Channel> {
        let offload = udp_offload(self.config.offload);
        let listen = &self.config.listen;
        let local_ip = listen.address.or(exchange.filter(|e| e.peer == remote).map(|e| e.own));
        let options = UdpOptions { local_ip, port: listen.port, offload, ..UdpOptions::default() };
        let port = UdpPort::connect(remote, &options).map_err(io::Error::other)?;
        Channel::open(&self.hub, id, name, Peer::Address(remote), Arc::new(port))
    }

    /// Channels that are down for long are dropped: the router joins again when its link is back.
    fn drop_dead(&self, now: Instant, one: &mut Live) {
        let rows = one.wiring.session.copy();
        for row in rows.send.iter().flatten() {
            if row.state == State::Down && now.saturating_duration_since(row.since) > DEAD {
                one.channels.remove(&row.id.0);
                self.hub.stats.with_tunnel(one.router, |t| {
                    if let Some(info) = t.channels.get_mut(usize::from(row.id.0)) {
                        info.state = ChannelState::Down;
                        info.since = row.since;
                    }
                });
            }
        }
    }

    fn name(&self, router: usize) -> &str {
        self.config.routers.get(router).map_or("?", |r| r.name.as_str())
    }
}

/// Inner addresses that a router may use.
fn networks(peer: &RouterPeer) -> Vec<Network> {
    let v4 = peer.address4.map(|a| Network { address: IpAddr::V4(a), prefix: 32 });
    let v6 = peer.address6.map(|a| Network { address: IpAddr::V6(a), prefix: 128 });
    v4.into_iter().chain(v6).chain(peer.networks.iter().copied()).collect()
}

/// How often channels are looked at.
const CHECK: Duration = Duration::from_secs(5);
/// Silence after which a channel is dropped.
const DEAD: Duration = Duration::from_secs(60);
