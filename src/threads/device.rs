//! The TUN device's addresses and MTU, as `control` sets them.
//!
//! Not for: packets (`tun_read.rs`, `reorder.rs`), routes (the owner's, or a script's).

use super::stats::{Stats, PATH_MTU};
use crate::config::settings::TunConfig;
use crate::io::netlink::Netlink;
use crate::io::IoFailure;
use crate::tunnel::session::TunnelParams;
use std::net::IpAddr;
use std::sync::Arc;

/// The device by its name.
#[derive(Debug)]
pub struct Device {
    netlink: Netlink,
    name: String,
    config: TunConfig,
    stats: Arc<Stats>,
}

impl Device {
    /// Gives the device its MTU and addresses and sets it up.
    pub fn set_up(name: &str, config: &TunConfig, stats: Arc<Stats>) -> Result<Device, IoFailure> {
        let netlink = Netlink::open()?;
        netlink.set_mtu(name, u32::from(stats.mtu()))?;
        // Packets wait in the flow queues, not in the device; 500 are two reads of super-packets.
        netlink.set_queue_length(name, QUEUE_PACKETS)?;
        if let Some(a) = config.address4 {
            netlink.add_address(name, a.local.into(), a.prefix, a.peer.map(IpAddr::from))?;
        }
        if let Some(a) = config.address6 {
            netlink.add_address(name, a.local.into(), a.prefix, a.peer.map(IpAddr::from))?;
        }
        netlink.set_up(name)?;
        Ok(Device { netlink, name: name.to_owned(), config: config.clone(), stats })
    }

    /// Takes the addresses and the MTU that the proxy gives, where the config has none.
    pub fn adopt(&self, params: &TunnelParams) {
        self.lower_mtu(params.mtu);
        let v4 = params.v4.filter(|_| self.config.address4.is_none());
        let v6 = params.v6.filter(|_| self.config.address6.is_none());
        let v4 = v4.map(|e| (IpAddr::from(e.router), e.prefix, IpAddr::from(e.proxy)));
        let v6 = v6.map(|e| (IpAddr::from(e.router), e.prefix, IpAddr::from(e.proxy)));
        for (ip, prefix, peer) in v4.into_iter().chain(v6) {
            let alone = prefix == if ip.is_ipv4() { 32 } else { 128 };
            if let Err(failure) = self.netlink.add_address(&self.name, ip, prefix, alone.then_some(peer)) {
                log::warn!("{failure}");
            }
        }
    }

    /// Packets go in two datagrams at most; `room` is for inner bytes in one.
    pub fn fit(&self, room: u16) {
        self.lower_mtu(room.saturating_mul(2));
    }

    fn lower_mtu(&self, mtu: u16) {
        if mtu >= self.stats.mtu() || mtu < MTU_MIN {
            return;
        }
        match self.netlink.set_mtu(&self.name, u32::from(mtu)) {
            Ok(()) => {
                log::info!("{}: MTU {mtu}", self.name);
                self.stats.set_mtu(mtu);
            }
            Err(failure) => log::warn!("{failure}"),
        }
    }
}

/// The device's MTU at the start: as everywhere else, so that nobody has to know a smaller one.
pub fn mtu_at_start(config: &TunConfig) -> u16 {
    config.mtu.unwrap_or(PATH_MTU)
}

/// What IPv4 hosts must take (RFC 791); with IPv6 inside the kernel wants 1280.
const MTU_MIN: u16 = 576;
/// The kernel's default for TUN.
const QUEUE_PACKETS: u32 = 500;
