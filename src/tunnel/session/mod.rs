//! The session: who talks to whom, under which keys, over which channels.
//!
//! Not for: packets. It makes the `Sealer` and `Opener` of each channel and hands them out in events;
//! they follow later rekeys by themselves. `router.rs` and `proxy.rs` are the two machines; the
//! control thread owns one of them, feeds it every datagram for which [`is_handshake`] holds (and, at
//! the proxy, every sealed datagram that reaches the listening socket: it comes from an address that
//! no channel has), and after each call empties `poll_event` first, then `poll_transmit`.
//!
//! What is believed, and why:
//! - a cookie proves an address; a signature over the transcript proves a router or the proxy; the keys
//!   of both X25519 shares prove everything after that;
//! - refusals and "unknown" hints prove nothing: they are logged, and cause a pause or another try on the
//!   channel they came from, never the end of a session;
//! - each join of a channel has a number of its own, which goes into the nonces; a join is handed out once.

mod attempt;
mod control;
mod cookie;
mod half_open;
mod handshake;
mod joins;
mod limit;
pub mod proxy;
pub mod router;
#[cfg(test)]
mod tests;

pub use crate::wire::auth::is_handshake;
pub use proxy::{ProxySessions, ProxySettings, RouterEntry};
pub use router::{ProxyTrust, RouterSession, RouterSettings};

use crate::crypto::aead::{Opener, Sealer, Suite};
use crate::crypto::identity::Fingerprint;
use crate::units::ChannelId;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// One session as the proxy numbers it: random, 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u32);

/// What the proxy tells a router about its tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelParams {
    /// Largest inner packet, in bytes.
    pub mtu: u16,
    pub v4: Option<Ends<Ipv4Addr>>,
    pub v6: Option<Ends<Ipv6Addr>>,
}

/// Addresses of both ends inside the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends<A> {
    pub router: A,
    pub proxy: A,
    /// Bits of the network that both are in.
    pub prefix: u8,
}

/// What the owner of a session machine must know or do.
#[derive(Debug)]
pub enum Event {
    /// Both sides proved themselves. At the router an older session ends with it (its channels may be
    /// kept until the new ones have joined); the proxy says `Closed` for the older one first.
    Established {
        session: SessionId,
        /// Index in `ProxySettings::routers`; 0 at a router.
        router: usize,
        params: TunnelParams,
        suite: Suite,
    },
    /// A channel can be used, with these keys. When it comes again for a channel (link back, NAT moved), it
    /// replaces what was there: packet numbers may start again, the keys' nonces are others.
    Joined(Box<Joined>),
    /// Both ends have the next key generation. Nothing to do: sealers and openers find it.
    Rekeyed { session: SessionId, generation: u32 },
    /// The session is over; its channels are to be dropped.
    Closed { session: SessionId, reason: CloseReason },
    /// Somebody was refused, here or by the peer: for the log. Attempts go on.
    Refused {
        /// Where the refused or refusing datagram came from: a channel at the router, an address at the proxy.
        from: Peer,
        reason: Refusal,
    },
    /// The proxy's key was not checked, because the config says so: warn loudly, show the fingerprint.
    ProxyNotPinned { fingerprint: Fingerprint },
}

/// Where a datagram came from, in the words of the machine that got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Channel(ChannelId),
    Address(SocketAddr),
}

/// A channel that has joined.
#[derive(Debug)]
pub struct Joined {
    pub session: SessionId,
    /// Index in `ProxySettings::routers`; 0 at a router.
    pub router: usize,
    /// The same at both ends.
    pub channel: ChannelId,
    /// What this end's datagrams carry in their header when they arrive: sorts them on a shared socket.
    pub local_number: u32,
    pub remote_number: u32,
    /// At the proxy: where to send. At the router: its own address as the proxy sees it.
    pub remote: SocketAddr,
    /// Bytes of an inner packet that fit into a datagram, as far as the router knows.
    pub room: u16,
    pub sealer: Sealer,
    pub opener: Opener,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer said so.
    PeerLeft,
    /// The same router came again with a new session.
    Replaced,
    /// Nothing was heard of the peer for [`proxy::SILENCE_MAX`].
    Silent,
    /// `close` was called here.
    Here,
}

/// Why somebody is refused. `Display` says it in a sentence with the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The proxy knows no router with this key.
    UnknownRouterKey { router: Fingerprint },
    /// The proxy has this key; the router expects another.
    WrongProxyKey { proxy: Fingerprint },
    /// Who claims to be the proxy could not sign with the key that the router expects.
    ProxyNotProven,
    /// Who claims to be this router could not sign with its key.
    RouterNotProven { router: Fingerprint },
    /// The ends speak different versions of the handshake.
    Version { ours: u8, theirs: u8 },
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::UnknownRouterKey { router } => write!(
                f,
                "the proxy knows no router with the key {router}; add the router's public key to the proxy's config"
            ),
            Refusal::WrongProxyKey { proxy } => write!(
                f,
                "the proxy has the key {proxy}, the router's config names another; \
                 put the proxy's public key into the router's config"
            ),
            Refusal::ProxyNotProven => f.write_str(
                "who answers as the proxy cannot prove to be it; \
                 if the proxy has a new key, put its public key into the router's config",
            ),
            Refusal::RouterNotProven { router } => write!(
                f,
                "who asks as the router {router} cannot prove to be it; \
                 check that privatekey and public key of the router belong together"
            ),
            Refusal::Version { ours, theirs } => write!(
                f,
                "this side speaks version {ours} of the handshake, the other {theirs}; \
                 install the same version of gobonding on both"
            ),
        }
    }
}

impl std::fmt::Display for CloseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CloseReason::PeerLeft => "the other side has left",
            CloseReason::Replaced => "the router came again with a new session",
            CloseReason::Silent => "nothing was heard of the other side for minutes",
            CloseReason::Here => "closed here",
        })
    }
}
