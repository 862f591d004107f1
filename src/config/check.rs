//! From the file to settings: what both roles share. `router.rs` and `proxy.rs` do the rest.
//!
//! Every value is looked at even when an earlier one was wrong, so that one run shows all faults.
//! Defaults are here and nowhere else; `etc/gobonding-router.yml` explains them.

use super::faults::Faults;
use super::keys;
use super::schema::Section;
use super::settings::{Address4, Address6, MonitorConfig, Offload, SecretPem, TunConfig};
use super::values::{self, Switch};
use super::Role;
use crate::tunnel::flow_queue::FlowQueueSettings;
use crate::tunnel::inbound::InboundSettings;
use crate::tunnel::outbound::OutboundSettings;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

/// Port of the proxy, as the predecessor's config tool wrote it.
pub const PORT: u16 = 41414;
/// Tunnel device, as in the predecessor.
pub const TUN_NAME: &str = "tun0";
/// Time between two monitor files, as in the predecessor.
pub const MONITOR_TICK: Duration = Duration::from_secs(5);
/// The proxy's address in the tunnel; a sole router gets the next one.
pub const PROXY_ADDRESS4: Address4 = Address4 { local: Ipv4Addr::new(10, 41, 41, 1), prefix: 24, peer: None };
/// Longest hold however much fills earlier holes, in longest holds: 3 s, as long as a sender sends again.
const HOLD_TOTAL: u32 = 5;
/// Longest hold of the reorderer.
///
/// Source: the simulator; see `InboundSettings::default`.
pub const REORDER_WAIT_MS: u64 = 600;
/// Memory for packets that wait for earlier ones, MiB. A guess: 400 ms at 600 Mbit/s.
pub const REORDER_MIB: u64 = 32;
/// Memory for packets that wait for a channel, MiB. A guess: a second at 250 Mbit/s.
pub const QUEUE_MIB: u64 = 32;

/// Keys that only the other role's file may have, with what they are for.
pub(super) fn misplaced(section: &mut Section, keys: &[&'static str], other: &str, faults: &mut Faults) {
    for key in keys {
        if section.has(key) {
            let wrong = format!("belongs in the {other}'s file");
            faults.note(&section.place(key), wrong, "remove it here");
        }
        // The value itself is of no interest here, and its own faults would only confuse.
        let _ = section.entry(key, &mut Faults::default());
    }
}

/// What both roles have in common.
pub(super) struct Common {
    pub tun: TunConfig,
    pub port: u16,
    pub private_key: Option<SecretPem>,
    pub public_key: Option<String>,
    pub outbound: OutboundSettings,
    pub inbound: InboundSettings,
    pub offload: Offload,
    pub monitor: MonitorConfig,
    pub log: log::LevelFilter,
}

/// Reads the keys that both roles have.
pub(super) fn common(s: &mut Section, role: Role, f: &mut Faults) -> Common {
    let tun = tun(s, role, f);
    let socket = PathBuf::from(format!("/run/gobonding/{role}-{}.sock", tun.name));
    let outbound = outbound(s, f);
    let inbound = inbound(s, f);
    let port = s.number("proxystartport", 1..=65535, f).map_or(PORT, |n| n as u16);
    let private_key = s.text("privatekey", f);
    if let Some(pem) = &private_key {
        keys::check_private(&s.place("privatekey"), pem, f);
    }
    let public_key = s.text("publickey", f);
    if let Some(pem) = &public_key {
        keys::check_public(&s.place("publickey"), pem, f);
    }
    Common {
        tun,
        port,
        private_key: private_key.map(|t| SecretPem(zeroize::Zeroizing::new(t))),
        public_key,
        outbound,
        inbound,
        offload: match s.parsed("offload", f, values::switch) {
            Some(Switch::Off) => Offload::Off,
            _ => Offload::Probe,
        },
        monitor: MonitorConfig {
            file: s.parsed("monitorpath", f, values::path),
            tick: s.parsed("monitortick", f, values::duration).unwrap_or(MONITOR_TICK),
            socket: s.parsed("status", f, values::socket_path).unwrap_or(Some(socket)),
        },
        log: s.parsed("log", f, values::log_level).unwrap_or(log::LevelFilter::Info),
    }
}

fn tun(s: &mut Section, role: Role, f: &mut Faults) -> TunConfig {
    let name = s.parsed("tunname", f, values::device).unwrap_or_else(|| TUN_NAME.to_owned());
    let given4 = s.parsed("address4", f, values::address4);
    let given6 = s.parsed("address6", f, values::address6);
    let (address4, address6) = match role {
        Role::Router => {
            for (key, off) in [("address4", given4 == Some(None)), ("address6", given6 == Some(None))] {
                if off {
                    let remedy = "leave the key out: the proxy says which addresses the tunnel has";
                    f.note(&s.place(key), "cannot be off on the router", remedy);
                }
            }
            (given4.flatten(), given6.flatten())
        }
        Role::Proxy => (given4.unwrap_or(Some(PROXY_ADDRESS4)), given6.flatten()),
    };
    if role == Role::Proxy && address4.is_none() && address6.is_none() {
        let place = s.place("address4");
        f.note(&place, "the tunnel has no address at all", "leave address4 out, or give address6");
    }
    let least = if address6.is_some() { 1280 } else { 576 };
    // Two datagrams of 1440 bytes.
    let mtu = s.number("mtu", least..=2880, f).map(|n| n as u16);
    TunConfig { name, address4, address6, mtu }
}

fn outbound(s: &mut Section, f: &mut Faults) -> OutboundSettings {
    let balancer = s.parsed("balancer", f, values::balancer).unwrap_or_default();
    let mut mib = None;
    if let Some(mut queue) = s.section("queue", f) {
        mib = queue.number("memory_mib", 1..=1024, f);
        queue.finish(f);
    }
    let bytes_max = (mib.unwrap_or(QUEUE_MIB) as usize) << 20;
    OutboundSettings::new(balancer, FlowQueueSettings { bytes_max, ..FlowQueueSettings::default() })
}

fn inbound(s: &mut Section, f: &mut Faults) -> InboundSettings {
    let (mut wait_ms, mut mib) = (None, None);
    if let Some(mut reorder) = s.section("reorder", f) {
        wait_ms = reorder.parsed("wait_ms", f, |t| {
            values::number(t, 20..=1000).map_err(|mut r| {
                r.remedy
                    .push_str(": less gives up before a re-send can come, with more the inner TCP times out");
                r
            })
        });
        mib = reorder.number("memory_mib", 1..=1024, f);
        reorder.finish(f);
    }
    let hold_max = Duration::from_millis(wait_ms.unwrap_or(REORDER_WAIT_MS));
    InboundSettings {
        hold_max,
        follows_rtt: wait_ms.is_none(),
        hold_total: hold_max * HOLD_TOTAL,
        buffer_bytes_max: (mib.unwrap_or(REORDER_MIB) as usize) << 20,
    }
}

/// The address of a sole router: the peer, or the first other one in the subnet.
pub(super) fn other4(a: &Address4) -> Option<Ipv4Addr> {
    if let Some(peer) = a.peer {
        return Some(peer);
    }
    let mask = u32::MAX.checked_shl(32 - u32::from(a.prefix)).unwrap_or(0);
    let own = u32::from(a.local);
    let first = (own & mask) | u32::from(a.prefix < 31);
    [first, first + 1].into_iter().find(|n| *n != own).map(Ipv4Addr::from)
}

/// The same for IPv6.
pub(super) fn other6(a: &Address6) -> Option<Ipv6Addr> {
    if let Some(peer) = a.peer {
        return Some(peer);
    }
    let mask = u128::MAX.checked_shl(128 - u32::from(a.prefix)).unwrap_or(0);
    let own = u128::from(a.local);
    let first = (own & mask) | u128::from(a.prefix < 127);
    [first, first + 1].into_iter().find(|n| *n != own).map(Ipv6Addr::from)
}
