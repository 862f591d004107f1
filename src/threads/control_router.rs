//! Thread `control` at the router: the session machine and the links.
//!
//! 1. wait for a message, a change of the links, a deadline,
//! 2. look after each link: open its socket when the link is there, close it when it is gone or has another
//!    address,
//! 3. feed the session machine,
//! 4. do what its events say,
//! 5. send what it wants sent.
//!
//! A missing link is a state: it is looked for each second.

use super::channel::{udp_offload, Channel, Keys};
use super::device::Device;
use super::queues::{ToControl, ToReorder, ToTunRead, Wiring};
use super::rarely::Rarely;
use super::reorder::NewInbound;
use super::resolve::{self, Family};
use super::stats::{room_on, ChannelInfo, PATH_MTU};
use super::tun_read::NewOutbound;
use super::{clock, stop, Hub};
use crate::channel::row::State;
use crate::config::settings::{Attach, ChannelConfig, Host, RouterConfig};
use crate::io::netlink::{LinkWatch, Netlink};
use crate::io::poll::{self, Waker};
use crate::io::udp::{UdpOptions, UdpPort};
use crate::monitor::snapshot::{ChannelState, SessionState};
use crate::tunnel::session::{Event, Joined, Peer, RouterSession, SessionId};
use crate::units::ChannelId;
use crossbeam_channel::Receiver;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the thread owns.
pub struct ControlRouter {
    pub hub: Hub,
    pub inbox: Receiver<ToControl>,
    pub waker: Arc<Waker>,
    pub session: RouterSession,
    pub config: RouterConfig,
    pub device: Device,
    pub netlink: Netlink,
    pub watch: LinkWatch,
    /// So that a peer that refuses us does not fill the log.
    pub refusals: Rarely,
}

/// One configured channel.
struct Link {
    id: ChannelId,
    config: ChannelConfig,
    target: Option<SocketAddr>,
    resolve_at: Instant,
    channel: Option<Channel>,
    /// The device's index when the socket was opened.
    index: Option<u32>,
    /// The device's MTU; PPPoE has 1492.
    device_mtu: Option<u16>,
    /// What the proxy was told of `room`.
    joined_room: Option<u16>,
    /// When a channel that is down gets a new socket.
    renew_at: Option<Instant>,
}

impl ControlRouter {
    /// Runs until the stop signal, then tells the proxy.
    pub fn run(mut self) {
        let now = clock::now();
        let configs = self.config.channels.iter().cloned().enumerate();
        let mut links: Vec<Link> = configs.map(|(i, c)| Link::new(now, ChannelId(i as u8), c)).collect();
        let mut wiring: Option<Wiring> = None;
        let mut check_at = now;
        while !self.hub.stop.is_set() {
            let now = clock::now();
            if self.watch.drain() || now >= check_at {
                check_at = now + CHECK;
                links.iter_mut().for_each(|link| self.look_after(now, link));
            }
            for message in self.inbox.try_iter() {
                match message {
                    ToControl::Datagram(heard) => {
                        if let Peer::Channel(id) = heard.from {
                            self.session.handle_datagram(now, id, &heard.bytes);
                        }
                    }
                    ToControl::Resolved(id, found) => {
                        if let Some(link) = links.get_mut(usize::from(id.0)) {
                            link.resolved(found);
                            check_at = now;
                        }
                    }
                }
            }
            if self.session.poll_timeout().is_some_and(|(at, _)| at <= now) {
                self.session.handle_timeout(now);
            }
            self.act(now, &mut links, &mut wiring);
            self.wait(now, check_at);
        }
        self.session.close(clock::now());
        self.transmit(&links);
    }

    /// The one place where the thread waits.
    fn wait(&self, now: Instant, check_at: Instant) {
        let due = self.session.poll_timeout().map_or(check_at, |(at, _)| at.min(check_at));
        let timeout = due.saturating_duration_since(now).min(stop::PATIENCE);
        match poll::wait(&[self.waker.as_fd(), self.watch.as_fd()], Some(timeout)) {
            Ok(ready) if ready.has(0) => self.waker.drain(),
            Ok(_) => {}
            Err(failure) => log::warn!("{failure}"),
        }
    }

    fn act(&mut self, now: Instant, links: &mut [Link], wiring: &mut Option<Wiring>) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Established { session, params, suite, .. } => {
                    self.close(now, links, wiring, SessionState::Connecting);
                    self.device.adopt(&params);
                    log::info!("session with the proxy established, {suite:?}");
                    *wiring = Some(self.open(now, session, links.len()));
                }
                Event::Joined(joined) => {
                    if let Some(wiring) = wiring.as_ref().filter(|w| w.id == joined.session) {
                        self.joined(links, wiring, *joined);
                    }
                }
                Event::Rekeyed { generation, .. } => log::debug!("key generation {generation}"),
                Event::Closed { session, reason } => {
                    if wiring.as_ref().is_some_and(|w| w.id == session) {
                        log::info!("session with the proxy closed: {reason}");
                        self.close(now, links, wiring, SessionState::Lost);
                    }
                }
                Event::Refused { reason, .. } => {
                    self.hub.stats.count(|c| c.refused += 1);
                    if self.refusals.may(now) {
                        log::warn!("{reason}");
                    }
                    if wiring.is_none() {
                        let state = SessionState::Refused(format!("{reason}"));
                        self.hub.stats.with_tunnel(0, |t| t.set_state(now, state));
                    }
                }
                Event::ProxyNotPinned { fingerprint } => {
                    log::warn!("the proxy's key is not checked (proxykey: unpinned); it is {fingerprint}");
                }
            }
        }
        self.transmit(links);
    }

    fn transmit(&mut self, links: &[Link]) {
        while let Some((id, bytes)) = self.session.poll_transmit() {
            let channel = links.get(usize::from(id.0)).and_then(|link| link.channel.as_ref());
            let Some(channel) = channel else { continue };
            if let Err(trouble) = channel.port.send_train(&bytes, bytes.len(), None) {
                log::debug!("handshake over {}: {trouble:?}", channel.name());
            }
        }
    }

    fn open(&self, now: Instant, id: SessionId, channels: usize) -> Wiring {
        let wiring = Wiring::new(&self.hub, id, channels);
        let outbound = NewOutbound {
            wiring: wiring.clone(),
            settings: self.config.outbound.clone(),
            hash_key: self.hub.hash_key,
            networks: Vec::new(),
        };
        self.hub.tun_read.send_patiently(&self.hub.stats, ToTunRead::Open(Box::new(outbound)));
        let inbound = NewInbound {
            id,
            stats: wiring.session.clone(),
            links: wiring.links.clone(),
            settings: self.config.inbound.clone(),
            hash_key: self.hub.hash_key,
            allowed: Vec::new(),
        };
        wiring.send_reorder(ToReorder::Open(Box::new(inbound)));
        self.hub.stats.with_tunnel(0, |t| {
            t.set_state(now, SessionState::Established);
            t.session = Some(wiring.session.clone());
        });
        wiring
    }

    fn close(&self, now: Instant, links: &mut [Link], wiring: &mut Option<Wiring>, state: SessionState) {
        let Some(old) = wiring.take() else { return };
        links.iter_mut().filter_map(|link| link.channel.as_mut()).for_each(Channel::leave);
        self.hub.tun_read.send_patiently(&self.hub.stats, ToTunRead::Close(old.id));
        old.send_reorder(ToReorder::Close(old.id));
        self.hub.stats.with_tunnel(0, |t| {
            t.set_state(now, state);
            t.session = None;
        });
    }

    fn joined(&self, links: &mut [Link], wiring: &Wiring, joined: Joined) {
        let Some(link) = links.get_mut(usize::from(joined.channel.0)) else { return };
        let Some(channel) = link.channel.as_mut() else { return };
        log::debug!("{} has joined, seen by the proxy as {}", channel.name(), joined.remote);
        let room = wiring.session.fit(joined.room);
        if room > joined.room {
            log::warn!("{}: its path takes less than 1280 bytes; larger packets get lost", channel.name());
        }
        self.device.fit(room);
        link.joined_room = Some(joined.room);
        let keys = Keys { sealer: joined.sealer, opener: joined.opener };
        if let Err(e) = channel.join(&self.hub, wiring, keys, link.config.rate_max) {
            log::error!("cannot start the sender of {}: {e}", link.config.name);
        }
        link.renew_at = None;
    }

    /// Opens, checks, renews a link's socket.
    fn look_after(&mut self, now: Instant, link: &mut Link) {
        let found = self.find(now, link);
        if let Some(channel) = &link.channel {
            let here = channel.port.local_addr().map(|a| a.ip()).ok();
            let stays = found.as_ref().is_ok_and(|(index, ips)| {
                *index == link.index && here.is_some_and(|ip| ips.is_empty() || ips.contains(&ip))
            });
            if !stays || link.renew_at.is_some_and(|at| at <= now) {
                log::info!("{}: the link is gone or has changed", link.config.name);
                self.session.path_usable(now, link.id, false);
                link.channel = None;
                link.renew_at = None;
            }
        }
        let trouble = match (&link.channel, found) {
            (Some(_), _) => None,
            (None, Ok((index, _))) => self.open_socket(link, index).err(),
            (None, Err(why)) => Some(why),
        };
        self.session.set_room(link.id, link.room());
        match &link.channel {
            Some(channel) if channel.has_joined() => self.check_joined(now, link),
            Some(_) => self.session.path_usable(now, link.id, true),
            None => {}
        }
        let (state, why) = match trouble {
            Some(why) => (ChannelState::Missing, why),
            None => (ChannelState::Joining, self.no_way(link)),
        };
        let info = link.info(now, state, why);
        self.hub.stats.with_tunnel(0, |t| t.set_channel(link.id, info));
    }

    /// Why a link that is there may not reach the proxy, in words, or nothing.
    fn no_way(&self, link: &Link) -> String {
        let (Attach::Device(device), Some(target)) = (&link.config.attach, link.target) else {
            return String::new();
        };
        match self.netlink.has_route(device, target.ip()) {
            Ok(false) => format!("no route to {} through {device}", target.ip()),
            // Not knowing is no reason to say anything.
            Ok(true) | Err(_) => String::new(),
        }
    }

    /// A joined channel that is down joins again each second, and gets a new socket after a while.
    fn check_joined(&mut self, now: Instant, link: &mut Link) {
        let wiring = link.channel.as_ref().and_then(|c| c.wiring());
        let Some((state, _)) = wiring.and_then(|w| w.session.sender(link.id)) else { return };
        if link.joined_room != Some(link.room()) {
            self.session.path_usable(now, link.id, true);
        }
        if state == State::Down {
            self.session.path_usable(now, link.id, true);
            link.renew_at = link.renew_at.or(Some(now + RENEW));
        } else {
            link.renew_at = None;
        }
    }

    /// The link's index and usable addresses (none: any will do), or what is missing, in words.
    fn find(&self, now: Instant, link: &mut Link) -> Result<(Option<u32>, Vec<IpAddr>), String> {
        self.find_target(now, link)?;
        let v6 = link.target.is_some_and(|t| t.is_ipv6());
        match &link.config.attach {
            Attach::Address(_) => Ok((None, Vec::new())),
            Attach::Device(device) => {
                let facts = self.netlink.facts(device).map_err(|_| format!("there is no link {device}"))?;
                link.device_mtu = u16::try_from(facts.mtu).ok();
                let all = self.netlink.addresses(device).map_err(|e| e.to_string())?;
                let ips: Vec<IpAddr> =
                    all.into_iter().map(|(ip, _)| ip).filter(|ip| ip.is_ipv6() == v6).collect();
                if ips.is_empty() {
                    return Err(format!("{device} has no IPv{} address", if v6 { 6 } else { 4 }));
                }
                Ok((Some(facts.index), ips))
            }
        }
    }

    fn find_target(&self, now: Instant, link: &mut Link) -> Result<(), String> {
        let endpoint = &link.config.proxy;
        match (&endpoint.host, link.target) {
            (_, Some(_)) => Ok(()),
            (Host::Address(ip), None) => {
                link.target = Some(SocketAddr::new(*ip, endpoint.port));
                Ok(())
            }
            (Host::Name(name), None) => {
                if now >= link.resolve_at {
                    link.resolve_at = now + RESOLVE;
                    let family = link.config.attach.family();
                    let (control, stats) = (self.hub.control.clone(), self.hub.stats.clone());
                    resolve::start(link.id, name.clone(), endpoint.port, family, control, stats)
                        .map_err(|e| e.to_string())?;
                }
                Err(format!("the name {name} has no address yet"))
            }
        }
    }

    fn open_socket(&self, link: &mut Link, index: Option<u32>) -> Result<(), String> {
        let Some(target) = link.target else { return Ok(()) };
        let (device, local_ip) = match &link.config.attach {
            Attach::Device(device) => (Some(device.clone()), None),
            Attach::Address(ip) => (None, Some(*ip)),
        };
        let offload = udp_offload(self.config.offload);
        let options =
            UdpOptions { device, local_ip, mark: link.config.mark, offload, ..UdpOptions::default() };
        let port = UdpPort::connect(target, &options).map_err(|e| e.to_string())?;
        let channel =
            Channel::open(&self.hub, link.id, &link.config.name, Peer::Channel(link.id), Arc::new(port));
        link.channel = Some(channel.map_err(|e| e.to_string())?);
        link.index = index;
        Ok(())
    }
}

impl Link {
    fn new(now: Instant, id: ChannelId, config: ChannelConfig) -> Link {
        Link {
            id,
            config,
            target: None,
            resolve_at: now,
            channel: None,
            index: None,
            device_mtu: None,
            joined_room: None,
            renew_at: None,
        }
    }

    /// Bytes of an inner packet in a datagram, as far as anything is known here.
    fn room(&self) -> u16 {
        let mtu = self.config.mtu.unwrap_or(PATH_MTU.min(self.device_mtu.unwrap_or(PATH_MTU)));
        room_on(self.target.is_some_and(|target| target.is_ipv6()), mtu)
    }

    fn resolved(&mut self, found: std::io::Result<SocketAddr>) {
        match found {
            Ok(target) => self.target = Some(target),
            Err(e) => log::warn!("channels.{}: cannot look up {}: {e}", self.config.name, self.config.proxy),
        }
    }

    fn info(&self, now: Instant, state: ChannelState, why: String) -> ChannelInfo {
        let link = match &self.config.attach {
            Attach::Device(device) => device.clone(),
            Attach::Address(ip) => ip.to_string(),
        };
        let peer = self.target.map_or_else(|| self.config.proxy.to_string(), |t| t.to_string());
        ChannelInfo { name: self.config.name.clone(), link, peer, state, since: now, why }
    }
}

impl Attach {
    fn family(&self) -> Family {
        match self {
            Attach::Device(_) => Family::Any,
            Attach::Address(IpAddr::V4(_)) => Family::V4,
            Attach::Address(IpAddr::V6(_)) => Family::V6,
        }
    }
}

/// How often links are looked at without word from the kernel.
const CHECK: Duration = Duration::from_secs(1);
/// Between two look-ups of a name that has no address.
const RESOLVE: Duration = Duration::from_secs(5);
/// A channel that is down so long gets a new socket: another port may have a NAT entry that works.
const RENEW: Duration = Duration::from_secs(10);
