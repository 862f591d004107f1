//! The proxy's side: all routers' sessions on one port.
use super::{Event, SessionId, TunnelParams};
use crate::crypto::identity::{Identity, PublicIdentity};
use rand::rngs::StdRng;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A session whose router sent nothing to its machine for so long is dropped (rekeys come every 2 minutes).
pub const SILENCE_MAX: Duration = Duration::from_secs(600);

/// One router that may connect.
#[derive(Clone)]
pub struct RouterEntry {
    pub name: String,
    pub public_key: PublicIdentity,
    pub params: TunnelParams,
}

pub struct ProxySettings {
    pub identity: Identity,
    pub routers: Vec<RouterEntry>,
    /// `Suite::aes_in_hardware()`.
    pub aes_in_hardware: bool,
}

pub struct ProxySessions {}

impl ProxySessions {
    /// `rng` is seeded by the system's source.
    pub fn new(_now: Instant, _settings: ProxySettings, _rng: StdRng) -> ProxySessions {
        todo!()
    }
    /// A datagram for which `is_handshake` holds came, on any socket of the port; or a sealed one came
    /// to the listening socket, so from an address that no channel has: its sender is then told to join again.
    pub fn handle_datagram(&mut self, _now: Instant, _from: SocketAddr, _datagram: &[u8]) {
        todo!()
    }
    /// Tells one router that its session ends here.
    pub fn close(&mut self, _now: Instant, _session: SessionId) {
        todo!()
    }
    /// Tells all routers that the proxy leaves. Send what `poll_transmit` then gives, and drop the machine.
    pub fn close_all(&mut self, _now: Instant) {
        todo!()
    }
    /// The next datagram to send from the listening socket, and where to.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
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
