//! The router's side of the session.
//!
//! Not for: the messages of one attempt (`attempt.rs`) and of the joins (`joins.rs`).
//!
//! ```text
//! no session --attempt--> session: channels join, rekey every 2 minutes
//!      ^                     |  suspect: joins or rekeys stay unanswered, or the proxy says on every
//!      |   the proxy left    |  channel that it does not know the session: a new attempt runs beside
//!      |                     |  it and replaces it
//!      +---------------------+
//! ```
//! It never gives up: what fails is tried again, later and later up to 5 s apart.

use super::attempt::{Attempt, Due, Outcome};
use super::handshake::patience;
use super::joins::{Live, Paths};
use super::{CloseReason, Event, Peer, Refusal, SessionId};
use crate::crypto::identity::{Fingerprint, Identity, PublicIdentity};
use crate::units::ChannelId;
use crate::wire::auth::{Control, Cookie, Message, Token};
use rand::rngs::StdRng;
use std::collections::VecDeque;
use std::time::Instant;

/// How the router knows the proxy.
#[derive(Clone, Debug)]
pub enum ProxyTrust {
    /// By this key and no other.
    Pinned(PublicIdentity),
    /// Anybody who answers is the proxy: only if the owner wrote so in the config.
    Unpinned,
}

/// What a router's session needs.
#[derive(Debug)]
pub struct RouterSettings {
    pub identity: Identity,
    pub proxy: ProxyTrust,
    /// `Suite::aes_in_hardware()`.
    pub aes_in_hardware: bool,
}

/// The machine.
pub struct RouterSession {
    settings: RouterSettings,
    rng: StdRng,
    paths: Paths,
    attempt: Option<Attempt>,
    /// Attempts that failed since the last session.
    failures: u32,
    retry_at: Instant,
    /// The channel on which the last attempt failed: others go first next time.
    avoid: Option<ChannelId>,
    live: Option<Live>,
    transmits: VecDeque<(ChannelId, Vec<u8>)>,
    events: VecDeque<Event>,
}

impl RouterSession {
    /// No channel is usable yet: see [`RouterSession::path_usable`]. `rng` is seeded by the system's source.
    pub fn new(now: Instant, settings: RouterSettings, rng: StdRng) -> RouterSession {
        RouterSession {
            settings,
            rng,
            paths: Paths::default(),
            attempt: None,
            failures: 0,
            retry_at: now,
            avoid: None,
            live: None,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// A datagram for which `is_handshake` holds came over `channel`.
    pub fn handle_datagram(&mut self, now: Instant, channel: ChannelId, datagram: &[u8]) {
        let Ok(message) = Message::decode(datagram) else { return };
        match message {
            Message::Cookie { token, cookie } => self.on_cookie(now, channel, &token, &cookie),
            Message::Challenge(challenge) => {
                let Some(attempt) = &mut self.attempt else { return };
                match attempt.on_challenge(now, channel, &challenge, &self.settings, &mut self.rng) {
                    Ok(Some(answer)) => {
                        let unpinned = answer.unpinned;
                        self.events.extend(unpinned.map(|fingerprint| Event::ProxyNotPinned { fingerprint }));
                        self.transmits.push_back((channel, answer.response));
                    }
                    Ok(None) => {}
                    Err(refusal) => self.report(channel, refusal),
                }
            }
            Message::Accept { session, sealed } => self.on_accept(now, channel, session, sealed),
            Message::Refuse { version, token, code, proxy } => {
                self.on_refuse(now, channel, &token, (code, version), Fingerprint(proxy));
            }
            Message::Sealed { from, session, counter, sealed } => {
                let live = self.live.as_mut().filter(|live| live.keys.session() == session);
                let Some(control) = live.and_then(|live| live.keys.open(from, counter, sealed)) else {
                    return;
                };
                self.on_control(now, channel, &control);
            }
            Message::UnknownSession { session } => {
                if let Some(live) = self.live.as_mut().filter(|live| live.keys.session() == session) {
                    self.paths.on_doubt(now, channel, live, &mut self.transmits);
                }
            }
            Message::UnknownChannel { channel: remote } => self.paths.on_unknown(now, channel, remote),
            _ => {}
        }
        self.review(now);
    }

    /// The channel's link can (not) send: its socket is open and bound. `true` again while it is usable
    /// makes it join again, at most once in 250 ms: for a link that stalled, went down or changed its address.
    pub fn path_usable(&mut self, now: Instant, channel: ChannelId, usable: bool) {
        let is_new = self.paths.set_usable(now, channel, usable);
        if is_new && self.live.is_none() {
            match &self.attempt {
                Some(attempt) if attempt.channel().is_none() => {
                    self.transmits.push_back((channel, attempt.hello()));
                }
                Some(_) => {}
                None => self.retry_at = now,
            }
        }
        if !usable && self.attempt.as_ref().is_some_and(|a| a.channel() == Some(channel)) {
            self.attempt = None;
            self.retry_at = now;
        }
        self.review(now);
    }

    /// Bytes of an inner packet that fit into a datagram on a channel's path. The proxy hears of it when the channel
    /// joins.
    pub fn set_room(&mut self, channel: ChannelId, room: u16) {
        self.paths.set_room(channel, room);
    }

    /// Tells the proxy that the router leaves. Send what `poll_transmit` then gives, and drop the machine.
    pub fn close(&mut self, _now: Instant) {
        self.attempt = None;
        let Some(mut live) = self.live.take() else { return };
        for channel in self.paths.usable() {
            self.transmits.push_back((channel, live.keys.seal(&Control::Close)));
        }
        self.paths.leave_all();
    }

    /// The next datagram to send, and over which channel.
    pub fn poll_transmit(&mut self) -> Option<(ChannelId, Vec<u8>)> {
        self.transmits.pop_front()
    }

    /// The next event; take all of them before any `poll_transmit`.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When `handle_timeout` is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let attempt = match &self.attempt {
            Some(attempt) => Some((attempt.next(), "handshake")),
            None => self.wants_attempt().then_some((self.retry_at, "handshake retry")),
        };
        let live = self.live.as_ref();
        let joins = live.and_then(|_| self.paths.next_join()).map(|at| (at, "join"));
        let rekey = live.filter(|_| self.paths.has_usable()).map(|live| (live.next_rekey(), "rekey"));
        attempt.into_iter().chain(joins).chain(rekey).min_by_key(|(at, _)| *at)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.attempt.as_mut().and_then(|attempt| attempt.handle_timeout(now)) {
            Some(Due::Send(Some(channel), datagram)) => self.transmits.push_back((channel, datagram)),
            Some(Due::Send(None, datagram)) => {
                let all = self.paths.usable();
                self.transmits.extend(all.map(|channel| (channel, datagram.clone())));
            }
            Some(Due::Failed(channel)) => self.fail(now, Some(channel), 1),
            None => {}
        }
        if let Some(live) = &mut self.live {
            live.handle_timeout(now, &self.paths, &mut self.rng, &mut self.transmits);
        }
        self.review(now);
    }

    /// A cookie starts the exchange on its channel, unless the last attempt failed there and others may answer.
    fn on_cookie(&mut self, now: Instant, channel: ChannelId, token: &Token, cookie: &Cookie) {
        let Some(attempt) = &mut self.attempt else { return };
        if self.avoid == Some(channel) && attempt.tries() < 3 && self.paths.usable().nth(1).is_some() {
            return;
        }
        if let Some(open) = attempt.on_cookie(now, channel, token, cookie, &self.settings) {
            self.transmits.push_back((channel, open));
        }
    }

    /// The proxy's verdict on our response.
    fn on_accept(&mut self, now: Instant, channel: ChannelId, session: u32, sealed: &[u8]) {
        let Some(attempt) = &mut self.attempt else { return };
        match attempt.on_accept(session, sealed, &self.settings) {
            Some(Outcome::Accepted(keys, params)) => {
                self.events.push_back(Event::Established {
                    session: SessionId(session),
                    router: 0,
                    params,
                    suite: keys.suite(),
                });
                self.attempt = None;
                self.failures = 0;
                self.avoid = None;
                self.live = Some(Live::new(now, *keys));
                self.paths.join_all(now);
            }
            Some(Outcome::Refused(refusal)) => {
                self.report(channel, refusal);
                self.fail(now, Some(channel), REFUSED_FAILURES);
            }
            None => {}
        }
    }

    /// A refusal without a signature: believed as far as to say it and to wait.
    fn on_refuse(
        &mut self,
        now: Instant,
        channel: ChannelId,
        token: &Token,
        (code, version): (u8, u8),
        proxy: Fingerprint,
    ) {
        let Some(attempt) = self.attempt.as_ref().filter(|attempt| attempt.has_token(token)) else { return };
        let chosen = attempt.channel();
        let router = self.settings.identity.public().fingerprint();
        let Some(refusal) = Refusal::told(code, version, proxy, router) else { return };
        if chosen.is_none_or(|chosen| chosen == channel) && !attempt.is_proving() {
            self.report(channel, refusal);
        }
        if chosen == Some(channel) && self.attempt.as_ref().is_some_and(|attempt| !attempt.is_proving()) {
            self.fail(now, Some(channel), REFUSED_FAILURES);
        }
    }

    fn on_control(&mut self, now: Instant, channel: ChannelId, control: &Control) {
        let Some(live) = &mut self.live else { return };
        live.suspect = false;
        self.paths.trust_all();
        if self.attempt.as_ref().is_some_and(|attempt| !attempt.is_proving()) {
            self.attempt = None;
        }
        match control {
            Control::Joined { channel: joined, join, number, address } if *joined == channel.0 => {
                let joined = self.paths.on_joined(channel, *join, *number, *address, &live.keys);
                self.events.extend(joined.map(|joined| Event::Joined(Box::new(joined))));
            }
            Control::Rekeyed { generation, share } => {
                let session = SessionId(live.keys.session());
                if let Some(generation) = live.on_rekeyed(now, *generation, share) {
                    self.events.push_back(Event::Rekeyed { session, generation });
                }
            }
            Control::Close => {
                let session = SessionId(live.keys.session());
                self.events.push_back(Event::Closed { session, reason: CloseReason::PeerLeft });
                self.live = None;
                self.paths.leave_all();
                self.failures = 0;
                self.retry_at = now + patience(3);
            }
            _ => {}
        }
    }

    /// Says a refusal once per attempt.
    fn report(&mut self, channel: ChannelId, reason: Refusal) {
        if let Some(attempt) = self.attempt.as_mut().filter(|attempt| !attempt.refused) {
            attempt.refused = true;
            self.events.push_back(Event::Refused { from: Peer::Channel(channel), reason });
        }
    }

    fn fail(&mut self, now: Instant, channel: Option<ChannelId>, failures: u32) {
        self.attempt = None;
        self.avoid = channel;
        self.failures = self.failures.saturating_add(failures);
        self.retry_at = now + patience(self.failures);
    }

    /// Sends joins that are due; starts or drops an attempt as the rest of the state demands.
    fn review(&mut self, now: Instant) {
        if let Some(live) = &mut self.live {
            self.paths.handle_timeout(now, live, &mut self.rng, &mut self.transmits);
            live.suspect |= self.paths.all_unanswered() || live.is_unanswered() || live.is_used_up();
        }
        if !self.paths.has_usable() {
            self.attempt = None;
        }
        if self.attempt.is_none() && self.wants_attempt() && now >= self.retry_at {
            let mut attempt = Attempt::new(now, &mut self.rng);
            if let Some(Due::Send(_, hello)) = attempt.handle_timeout(now) {
                let all = self.paths.usable();
                self.transmits.extend(all.map(|channel| (channel, hello.clone())));
            }
            self.attempt = Some(attempt);
        }
    }

    fn wants_attempt(&self) -> bool {
        self.paths.has_usable() && self.live.as_ref().is_none_or(|live| live.suspect)
    }
}

/// A refusal counts as so many failures: the next attempt comes after 4 s, for the cause is a config file.
const REFUSED_FAILURES: u32 = 5;
