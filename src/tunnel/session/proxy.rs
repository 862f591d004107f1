//! The proxy's side: all routers' sessions on one port.
//!
//! Not for: the handshake's middle (`half_open.rs`). What a stranger can cause, in this order:
//!
//! 1. A `Hello` costs one HMAC and gets a cookie that is shorter. Nothing is kept.
//! 2. An `Open` with a right cookie and an unknown fingerprint gets a refusal, at a bounded rate.
//! 3. With a known fingerprint it gets a signature, at a bounded rate, and one of a bounded number of places.
//! 4. Only a response signed with a router's key makes a session: one for each configured router.

use super::control::Keys;
use super::cookie::Cookies;
use super::half_open::{Asked, HalfOpens, Response};
use super::joins::NUMBER_MASK;
use super::limit::Limit;
use super::{CloseReason, Event, Joined, Peer, Refusal, SessionId, TunnelParams};
use crate::crypto::generation::PeerHas;
use crate::crypto::identity::{Fingerprint, Identity, PublicIdentity};
use crate::crypto::schedule::Share;
use crate::units::ChannelId;
use crate::wire::auth::{Control, From, Message, Open, Token, HELLO_LEN, VERSION};
use crate::wire::header::{Header, HEADER_LEN, TAG_LEN};
use crate::wire::reader::Reader;
use rand::rngs::StdRng;
use rand::Rng;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// A session whose router sent nothing to its machine for so long is dropped (rekeys come every 2 minutes).
pub const SILENCE_MAX: Duration = Duration::from_secs(600);

/// One router that may connect.
#[derive(Clone, Debug)]
pub struct RouterEntry {
    pub name: String,
    pub public_key: PublicIdentity,
    pub params: TunnelParams,
}

/// What the proxy's sessions need.
#[derive(Debug)]
pub struct ProxySettings {
    pub identity: Identity,
    /// Each with a key of its own.
    pub routers: Vec<RouterEntry>,
    /// `Suite::aes_in_hardware()`.
    pub aes_in_hardware: bool,
}

/// The machine.
pub struct ProxySessions {
    settings: ProxySettings,
    rng: StdRng,
    cookies: Cookies,
    /// Addresses from which routers have proven themselves, the latest last.
    familiar: VecDeque<IpAddr>,
    /// Turns for RSA signatures: for familiar addresses, and for all others, so that no crowd of others
    /// keeps a router out that wants a new session.
    familiar_signatures: Limit,
    signatures: Limit,
    /// Turns for refusals and hints.
    hints: Limit,
    half_open: HalfOpens,
    /// By the router's index.
    live: BTreeMap<usize, Live>,
    transmits: VecDeque<(SocketAddr, Vec<u8>)>,
    events: VecDeque<Event>,
}

struct Live {
    keys: Keys,
    /// The verdict and whom it went to, until the router is heard in the session.
    accept: Option<(SocketAddr, Vec<u8>)>,
    members: BTreeMap<ChannelId, Member>,
    /// Our half of the newest rekey, for a request that comes again.
    rekeyed: Option<(u32, [u8; 32])>,
    heard: Instant,
}

struct Member {
    join: u32,
    local: u32,
    address: SocketAddr,
}

impl ProxySessions {
    /// `rng` is seeded by the system's source.
    pub fn new(now: Instant, settings: ProxySettings, mut rng: StdRng) -> ProxySessions {
        ProxySessions {
            settings,
            cookies: Cookies::new(now, &mut rng),
            familiar: VecDeque::new(),
            familiar_signatures: Limit::new(now, SIGNATURES.0, SIGNATURES.1, &mut rng),
            signatures: Limit::new(now, SIGNATURES.0, SIGNATURES.1, &mut rng),
            hints: Limit::new(now, HINTS.0, HINTS.1, &mut rng),
            half_open: HalfOpens::default(),
            live: BTreeMap::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            rng,
        }
    }

    /// A datagram for which `is_handshake` holds came, on any socket of the port; or a sealed one came
    /// to the listening socket, so from an address that no channel has: its sender is then told to join again.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let Ok(message) = Message::decode(datagram) else {
            self.on_stray(now, from, datagram);
            return;
        };
        match message {
            Message::Hello { version, token } if datagram.len() >= HELLO_LEN => {
                if version != VERSION {
                    self.refuse(now, from, token, Refusal::Version { ours: VERSION, theirs: version });
                    return;
                }
                let cookie = self.cookies.issue(now, from, &mut self.rng);
                self.transmit(from, Message::Cookie { token, cookie }.encode());
            }
            Message::Open(open) => self.on_open(now, from, &open, datagram.len()),
            Message::Response { session, sealed } => self.on_response(now, from, session, sealed),
            Message::Sealed { from: who, session, counter, sealed } => {
                self.on_sealed(now, from, (who, session, counter), sealed);
            }
            _ => {}
        }
    }

    /// Tells one router that its session ends here.
    pub fn close(&mut self, _now: Instant, session: SessionId) {
        let found =
            self.live.iter().find(|(_, live)| live.keys.session() == session.0).map(|(router, _)| *router);
        let Some(mut live) = found.and_then(|router| self.live.remove(&router)) else { return };
        for member in live.members.values() {
            self.transmits.push_back((member.address, live.keys.seal(&Control::Close)));
        }
        self.events.push_back(Event::Closed { session, reason: CloseReason::Here });
    }

    /// Tells all routers that the proxy leaves. Send what `poll_transmit` then gives, and drop the machine.
    pub fn close_all(&mut self, now: Instant) {
        let all: Vec<u32> = self.live.values().map(|live| live.keys.session()).collect();
        all.into_iter().for_each(|session| self.close(now, SessionId(session)));
    }

    /// The next datagram to send from the listening socket, and where to.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.transmits.pop_front()
    }

    /// The next event; take all of them before any `poll_transmit`.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When `handle_timeout` is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let half_open = self.half_open.next().map(|at| (at, "half-open handshake"));
        let silent = self.live.values().map(|live| live.heard + SILENCE_MAX).min().map(|at| (at, "silence"));
        half_open.into_iter().chain(silent).min_by_key(|(at, _)| *at)
    }

    /// Forgets what is too old.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.half_open.expire(now);
        let events = &mut self.events;
        self.live.retain(|_, live| {
            let stays = now < live.heard + SILENCE_MAX;
            if !stays {
                let session = SessionId(live.keys.session());
                events.push_back(Event::Closed { session, reason: CloseReason::Silent });
            }
            stays
        });
    }

    fn on_open(&mut self, now: Instant, from: SocketAddr, open: &Open, len: usize) {
        if !self.cookies.check(now, from, &open.cookie, &mut self.rng) {
            return;
        }
        if let Some(challenge) = self.half_open.again(&open.token, from) {
            if challenge.len() <= len {
                self.transmit(from, challenge);
            }
            return;
        }
        let router = Fingerprint(open.router);
        let ours = self.settings.identity.public().fingerprint();
        let index = self.settings.routers.iter().position(|entry| entry.public_key.fingerprint() == router);
        let refusal = if open.version != VERSION {
            Some(Refusal::Version { ours: VERSION, theirs: open.version })
        } else if open.proxy != [0; 32] && open.proxy != ours.0 {
            Some(Refusal::WrongProxyKey { proxy: ours })
        } else if index.is_none() {
            Some(Refusal::UnknownRouterKey { router })
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.refuse(now, from, open.token, refusal);
            return;
        }
        let Some(index) = index else { return };
        let is_familiar = self.familiar.contains(&from.ip());
        let limit = if is_familiar { &mut self.familiar_signatures } else { &mut self.signatures };
        if !limit.take(now, from.ip()) {
            return;
        }
        let session = self.free_session();
        let asked = Asked { from, open, open_len: len, router: index, session };
        let challenge = self.half_open.challenge(now, asked, &self.settings, &mut self.rng);
        if let Some(challenge) = challenge {
            self.transmit(from, challenge);
        }
    }

    fn on_response(&mut self, now: Instant, from: SocketAddr, session: u32, sealed: &[u8]) {
        let again = self.live.values().find(|live| live.keys.session() == session);
        if let Some((_, accept)) = again.and_then(|l| l.accept.as_ref()).filter(|(to, _)| *to == from) {
            let accept = accept.clone();
            self.transmit(from, accept);
            return;
        }
        match self.half_open.respond(now, from, session, sealed, &self.settings) {
            Some(Response::Proven { router, keys, accept }) => {
                self.establish(now, from, router, *keys, accept)
            }
            Some(Response::NotProven { router, refusal }) => {
                self.transmit(from, refusal);
                let entry = self.settings.routers.get(router);
                if let Some(router) = entry.map(|entry| entry.public_key.fingerprint()) {
                    let reason = Refusal::RouterNotProven { router };
                    self.events.push_back(Event::Refused { from: Peer::Address(from), reason });
                }
            }
            None => {}
        }
    }

    /// A router has proven itself: its session begins, an older one of the same router ends.
    fn establish(&mut self, now: Instant, from: SocketAddr, router: usize, keys: Keys, accept: Vec<u8>) {
        let Some(entry) = self.settings.routers.get(router) else { return };
        let params = entry.params;
        if let Some(old) = self.live.remove(&router) {
            let session = SessionId(old.keys.session());
            self.events.push_back(Event::Closed { session, reason: CloseReason::Replaced });
        }
        self.remember(from.ip());
        let (session, suite) = (SessionId(keys.session()), keys.suite());
        self.events.push_back(Event::Established { session, router, params, suite });
        self.transmit(from, accept.clone());
        let accept = Some((from, accept));
        self.live.insert(router, Live { keys, accept, members: BTreeMap::new(), rekeyed: None, heard: now });
    }

    fn on_sealed(
        &mut self,
        now: Instant,
        from: SocketAddr,
        (who, session, counter): (From, u32, u64),
        sealed: &[u8],
    ) {
        let found = self.live.iter_mut().find(|(_, live)| live.keys.session() == session);
        let Some((&router, live)) = found else {
            if who == From::Router && sealed.len() > TAG_LEN {
                self.hint(now, from, &Message::UnknownSession { session });
            }
            return;
        };
        let Some(control) = live.keys.open(who, counter, sealed) else { return };
        live.heard = now;
        live.accept = None;
        match control {
            Control::Join { channel, join, number, room } => {
                self.on_join(from, (router, ChannelId(channel), room), join, number);
            }
            Control::Rekey { generation, share } => {
                let Some((answer, is_new)) = live.on_rekey(generation, &share, &mut self.rng) else { return };
                if is_new {
                    let session = SessionId(session);
                    self.events.push_back(Event::Rekeyed { session, generation });
                }
                self.transmit(from, answer);
            }
            Control::Close => {
                self.live.remove(&router);
                let session = SessionId(session);
                self.events.push_back(Event::Closed { session, reason: CloseReason::PeerLeft });
            }
            Control::Probe => {
                let answer = live.keys.seal(&Control::Here);
                self.transmit(from, answer);
            }
            Control::Joined { .. } | Control::Rekeyed { .. } | Control::Here => {}
        }
    }

    /// A channel joins, or asks again because our answer got lost. An answer for the same join goes only
    /// where the first went: the nonces of a join are spent once it is handed out.
    fn on_join(
        &mut self,
        from: SocketAddr,
        (router, channel, room): (usize, ChannelId, u16),
        join: u32,
        remote_number: u32,
    ) {
        let fresh = self.free_number();
        self.remember(from.ip());
        let Some(live) = self.live.get_mut(&router) else { return };
        let session = SessionId(live.keys.session());
        let known = live.members.get(&channel);
        let local_number = match known {
            Some(member) if member.join > join => return,
            Some(member) if member.join == join && member.address != from => return,
            Some(member) if member.join == join => member.local,
            _ => {
                live.members.insert(channel, Member { join, local: fresh, address: from });
                let (sealer, opener) = live.keys.channel(channel, join, fresh, remote_number);
                self.events.push_back(Event::Joined(Box::new(Joined {
                    session,
                    router,
                    channel,
                    local_number: fresh,
                    remote_number,
                    remote: from,
                    room,
                    sealer,
                    opener,
                })));
                fresh
            }
        };
        let answer = Control::Joined { channel: channel.0, join, number: local_number, address: from };
        let answer = live.keys.seal(&answer);
        self.transmit(from, answer);
    }

    /// A router that proved itself has this address.
    fn remember(&mut self, address: IpAddr) {
        if !self.familiar.contains(&address) {
            self.familiar.push_back(address);
            if self.familiar.len() > FAMILIAR_MAX {
                self.familiar.pop_front();
            }
        }
    }

    /// A datagram that is no handshake: if it is a sealed one, its sender is told that no channel has its address.
    fn on_stray(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let Some(header) = Header::decode(&mut Reader::new(datagram)) else { return };
        if datagram.len() >= HEADER_LEN + TAG_LEN {
            self.hint(now, from, &Message::UnknownChannel { channel: header.channel });
        }
    }

    fn refuse(&mut self, now: Instant, from: SocketAddr, token: Token, reason: Refusal) {
        let proxy = match reason {
            Refusal::WrongProxyKey { proxy } => proxy.0,
            _ => [0; 32],
        };
        let refusal = Message::Refuse { version: VERSION, token, code: reason.code(), proxy };
        if self.hint(now, from, &refusal) {
            self.events.push_back(Event::Refused { from: Peer::Address(from), reason });
        }
    }

    fn hint(&mut self, now: Instant, to: SocketAddr, message: &Message<'_>) -> bool {
        let has_turn = self.hints.take(now, to.ip());
        if has_turn {
            self.transmit(to, message.encode());
        }
        has_turn
    }

    fn transmit(&mut self, to: SocketAddr, datagram: Vec<u8>) {
        if self.transmits.len() < TRANSMITS_MAX {
            self.transmits.push_back((to, datagram));
        }
    }

    /// A session number that nobody has.
    fn free_session(&mut self) -> u32 {
        loop {
            let session = self.rng.next_u32();
            let is_live = self.live.values().any(|live| live.keys.session() == session);
            if session != 0 && !is_live && !self.half_open.has_session(session) {
                return session;
            }
        }
    }

    /// A channel number that no channel of any session has.
    fn free_number(&mut self) -> u32 {
        loop {
            let number = self.rng.next_u32() & NUMBER_MASK;
            let mut members = self.live.values().flat_map(|live| live.members.values());
            if number != 0 && !members.any(|member| member.local == number) {
                return number;
            }
        }
    }
}

impl Live {
    /// The answer to a rekey, and whether it made a new generation.
    fn on_rekey(&mut self, generation: u32, theirs: &[u8; 32], rng: &mut StdRng) -> Option<(Vec<u8>, bool)> {
        if let Some((done, share)) = self.rekeyed.filter(|(done, _)| *done == generation) {
            return Some((self.keys.seal(&Control::Rekeyed { generation: done, share }), false));
        }
        if self.keys.generation().checked_add(1) != Some(generation) {
            return None;
        }
        let share = Share::generate(rng);
        let shared = share.agree(theirs)?;
        // Who asks for the next generation has this one.
        self.keys.confirm();
        self.keys.rekey(&shared, PeerHas::Perhaps)?;
        self.rekeyed = Some((generation, share.public()));
        Some((self.keys.seal(&Control::Rekeyed { generation, share: share.public() }), true))
    }
}

/// RSA signatures a second, for one source and overall: a router needs one for each attempt, seconds apart.
const SIGNATURES: (u32, u32) = (3, 10);
/// Addresses that are remembered.
const FAMILIAR_MAX: usize = 256;
/// Refusals and hints a second, for one source and overall.
const HINTS: (u32, u32) = (10, 100);
/// Datagrams that wait for the owner of the machine, who empties the queue after every call.
const TRANSMITS_MAX: usize = 256;
