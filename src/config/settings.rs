//! Settings of the two roles, checked and typed: what `config::load_router` and `load_proxy` give.
//!
//! Not for: reading (`schema.rs`) or deciding what is right (`check.rs`). A value that is here is good.

pub use crate::io::tun::Offload;
use crate::tunnel::inbound::InboundSettings;
use crate::tunnel::outbound::OutboundSettings;
use crate::units::Rate;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

/// Everything the router needs to run.
#[derive(Clone, Debug)]
pub struct RouterConfig {
    pub tun: TunConfig,
    /// At least one, in the order of their names (or addresses), never two on the same link.
    pub channels: Vec<ChannelConfig>,
    /// The router's identity: PEM text of its RSA private key.
    pub private_key: SecretPem,
    pub proxy_key: ProxyKey,
    pub outbound: OutboundSettings,
    pub inbound: InboundSettings,
    /// Segmentation offload of TUN and UDP (key `offload: on` is `Probe`).
    pub offload: Offload,
    pub monitor: MonitorConfig,
    pub log: log::LevelFilter,
    /// What is strange but works, one sentence each; for the log.
    pub warnings: Vec<String>,
}

/// Everything the proxy needs to run.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    pub tun: TunConfig,
    /// Where it listens: the wildcard address unless `listen` names one. One port for all.
    pub listen: ListenConfig,
    /// The proxy's identity: PEM text of its RSA private key.
    pub private_key: SecretPem,
    /// At least one; names, keys and tunnel addresses differ.
    pub routers: Vec<RouterPeer>,
    pub outbound: OutboundSettings,
    pub inbound: InboundSettings,
    /// Segmentation offload of TUN and UDP (key `offload: on` is `Probe`).
    pub offload: Offload,
    pub monitor: MonitorConfig,
    pub log: log::LevelFilter,
    /// What is strange but works, one sentence each; for the log.
    pub warnings: Vec<String>,
}

/// The tunnel device of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunConfig {
    /// Device name, at most 15 bytes.
    pub name: String,
    /// Router: `None` means as the proxy says (`TunnelParams`), and that is the default.
    /// Proxy: `None` means no IPv4 in the tunnel.
    pub address4: Option<Address4>,
    /// The same for IPv6.
    pub address6: Option<Address6>,
    /// MTU of the device; `None` means 1500, whatever the links carry: longer packets go in two datagrams.
    pub mtu: Option<u16>,
}

/// Own IPv4 address in the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address4 {
    pub local: Ipv4Addr,
    /// Prefix length of the subnet on the device (30 in the old installations).
    pub prefix: u8,
    /// The far end of a point-to-point device; `prefix` is 32 then.
    pub peer: Option<Ipv4Addr>,
}

/// Own IPv6 address in the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address6 {
    pub local: Ipv6Addr,
    pub prefix: u8,
    /// The far end of a point-to-point device; `prefix` is 128 then.
    pub peer: Option<Ipv6Addr>,
}

/// One WAN link of the router and the way to the proxy over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelConfig {
    /// The key in `channels`; the name in logs and status.
    pub name: String,
    pub attach: Attach,
    pub proxy: Endpoint,
    /// The owner's cap on what the router sends here, wire bytes (key `up`).
    pub rate_max: Option<Rate>,
    /// SO_MARK of the channel's socket.
    pub mark: Option<u32>,
    /// MTU of the link's path to the proxy, when smaller than 1500.
    pub mtu: Option<u16>,
}

/// How a channel's socket is tied to its link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attach {
    /// SO_BINDTODEVICE.
    Device(String),
    /// Bound to a local address (and the routing rules decide); the old way.
    Address(IpAddr),
}

/// Where the proxy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub host: Host,
    pub port: u16,
}

/// An address, or a name to resolve when the channel starts (never on a data thread).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Address(IpAddr),
    Name(String),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(a)) => write!(f, "[{a}]:{}", self.port),
            Host::Address(a) => write!(f, "{a}:{}", self.port),
            Host::Name(n) => write!(f, "{n}:{}", self.port),
        }
    }
}

/// Whom the router takes for its proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyKey {
    /// Only the holder of the private half of this PEM public key.
    Pinned(String),
    /// Anybody (`proxykey: unpinned`): who sits on the way can read everything.
    Unpinned,
}

/// Where the proxy listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// `None`: all addresses, IPv6 and IPv4.
    pub address: Option<IpAddr>,
    pub port: u16,
}

/// A router that the proxy knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterPeer {
    /// The name in logs and status.
    pub name: String,
    /// PEM text of its RSA public key.
    pub public_key: String,
    /// Its addresses in the tunnel: what the proxy sends to it, and the only sources (beside
    /// `networks`) it takes from it.
    pub address4: Option<Ipv4Addr>,
    pub address6: Option<Ipv6Addr>,
    /// Networks behind the router that it may speak for (no NAT on the router then).
    pub networks: Vec<Network>,
}

/// An address range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// All bits after `prefix` are zero.
    pub address: IpAddr,
    pub prefix: u8,
}

impl Network {
    /// Whether `address` lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(n), IpAddr::V4(a)) => {
                let shift = 32 - u32::from(self.prefix.min(32));
                (u32::from(n) ^ u32::from(a)).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(n), IpAddr::V6(a)) => {
                let shift = 128 - u32::from(self.prefix.min(128));
                (u128::from(n) ^ u128::from(a)).checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// What the monitor thread does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorConfig {
    /// Monitor file, replaced atomically every `tick`.
    pub file: Option<PathBuf>,
    /// Between two writings of the file; 100 ms at least.
    pub tick: Duration,
    /// Unix socket that answers one snapshot to each connection.
    pub socket: Option<PathBuf>,
}

/// Text of a PEM private key: is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretPem(pub zeroize::Zeroizing<String>);

impl fmt::Debug for SecretPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretPem(..)")
    }
}
