//! The router's side of the session.
use super::Event;
use crate::crypto::identity::{Identity, PublicIdentity};
use crate::units::ChannelId;
use rand::rngs::StdRng;
use std::time::Instant;

/// How the router knows the proxy.
#[derive(Clone)]
pub enum ProxyTrust {
    /// By this key and no other.
    Pinned(PublicIdentity),
    /// Anybody who answers is the proxy: only if the owner wrote so in the config.
    Unpinned,
}

pub struct RouterSettings {
    pub identity: Identity,
    pub proxy: ProxyTrust,
    /// `Suite::aes_in_hardware()`.
    pub aes_in_hardware: bool,
}

pub struct RouterSession {}

impl RouterSession {
    /// No channel is usable yet: see [`RouterSession::path_usable`]. `rng` is seeded by the system's source.
    pub fn new(_now: Instant, _settings: RouterSettings, _rng: StdRng) -> RouterSession {
        todo!()
    }
    /// A datagram for which `is_handshake` holds came over `channel`.
    pub fn handle_datagram(&mut self, _now: Instant, _channel: ChannelId, _datagram: &[u8]) {
        todo!()
    }
    /// The channel's link can (not) send: its socket is open and bound. `true` again while it is usable
    /// makes it join again, at most once in 250 ms: for a link that stalled, went down or changed its address.
    pub fn path_usable(&mut self, _now: Instant, _channel: ChannelId, _usable: bool) {
        todo!()
    }
    /// Tells the proxy that the router leaves. Send what `poll_transmit` then gives, and drop the machine.
    pub fn close(&mut self, _now: Instant) {
        todo!()
    }
    /// The next datagram to send, and over which channel.
    pub fn poll_transmit(&mut self) -> Option<(ChannelId, Vec<u8>)> {
        todo!()
    }
    pub fn poll_event(&mut self) -> Option<Event> {
        todo!()
    }
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        todo!()
    }
    pub fn handle_timeout(&mut self, _now: Instant) {
        todo!()
    }
}
