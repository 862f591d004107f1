//! The proxy: one port, sessions with all the routers it knows.

use super::process::{finish, Common, Process};
use super::router::{bad_key, system_rng};
use crate::config::settings::{ProxyConfig, RouterPeer};
use crate::crypto::aead::Suite;
use crate::crypto::identity::{Identity, PublicIdentity};
use crate::io::netlink::Netlink;
use crate::io::udp::{UdpOptions, UdpPort};
use crate::io::IoFailure;
use crate::threads::channel::udp_offload;
use crate::threads::control_proxy::ControlProxy;
use crate::threads::device::mtu_at_start;
use crate::threads::listen::Listen;
use crate::threads::rarely::Rarely;
use crate::threads::{clock, spawn};
use crate::tunnel::session::{Ends, ProxySessions, ProxySettings, RouterEntry, TunnelParams};
use rand::RngExt;
use std::sync::Arc;

/// Runs until SIGINT or SIGTERM.
pub fn run(config: ProxyConfig) -> Result<(), IoFailure> {
    let settings = ProxySettings {
        identity: Identity::from_pem(&config.private_key.0)
            .map_err(|e| bad_key("privatekey", e.to_string()))?,
        routers: config.routers.iter().map(|peer| entry(&config, peer)).collect::<Result<_, _>>()?,
        aes_in_hardware: Suite::aes_in_hardware(),
    };
    let mut rng = system_rng()?;
    let offload = udp_offload(config.offload);
    let options = UdpOptions {
        local_ip: config.listen.address,
        port: config.listen.port,
        offload,
        ..UdpOptions::default()
    };
    let port = Arc::new(UdpPort::listen(&options)?);
    let mut process = Process::start(&Common {
        role: "proxy",
        hash_key: rng.random(),
        tun: &config.tun,
        offload: config.offload,
        monitor: &config.monitor,
        balancer: config.outbound.balancer,
        peers: config.routers.iter().map(|peer| peer.name.clone()).collect(),
    })?;
    route_networks(&config)?;
    log::info!("listening on UDP port {}", config.listen.port);
    let listen = Listen {
        port: port.clone(),
        control: process.hub.control.clone(),
        stats: process.hub.stats.clone(),
        stop: process.hub.stop.clone(),
    };
    let thread = spawn("listen", move || listen.run())
        .map_err(|e| IoFailure::new("cannot start the thread that listens", e))?;
    process.threads.push(thread);
    let control = ControlProxy {
        hub: process.hub.clone(),
        inbox: process.inbox,
        waker: process.waker,
        sessions: ProxySessions::new(clock::now(), settings, rng),
        config,
        device: process.device,
        port,
        refusals: Rarely::default(),
    };
    control.run();
    finish(&process.hub, process.threads)
}

/// Routes the networks behind the routers into the tunnel; the routes go with the device.
fn route_networks(config: &ProxyConfig) -> Result<(), IoFailure> {
    let netlink = Netlink::open()?;
    for network in config.routers.iter().flat_map(|r| &r.networks) {
        netlink.add_route(&config.tun.name, network.address, network.prefix, None)?;
    }
    Ok(())
}

fn entry(config: &ProxyConfig, peer: &RouterPeer) -> Result<RouterEntry, IoFailure> {
    let public_key = PublicIdentity::from_pem(&peer.public_key)
        .map_err(|e| bad_key(&format!("publickey of router {}", peer.name), e.to_string()))?;
    let tun = &config.tun;
    let v4 = tun.address4.zip(peer.address4);
    let v6 = tun.address6.zip(peer.address6);
    let params = TunnelParams {
        mtu: mtu_at_start(tun),
        v4: v4.map(|(own, router)| Ends { router, proxy: own.local, prefix: own.prefix }),
        v6: v6.map(|(own, router)| Ends { router, proxy: own.local, prefix: own.prefix }),
    };
    Ok(RouterEntry { name: peer.name.clone(), public_key, params })
}
