//! The router: one session with its proxy, a channel over each of its links.

use super::process::{finish, Common, Process};
use crate::config::settings::{ProxyKey, RouterConfig};
use crate::crypto::aead::Suite;
use crate::crypto::identity::{Identity, PublicIdentity};
use crate::io::netlink::{LinkWatch, Netlink};
use crate::io::IoFailure;
use crate::threads::clock;
use crate::threads::control_router::ControlRouter;
use crate::threads::rarely::Rarely;
use crate::tunnel::session::{ProxyTrust, RouterSession, RouterSettings};
use rand::rngs::{StdRng, SysRng};
use rand::{RngExt, SeedableRng};
use std::io;

/// Runs until SIGINT or SIGTERM.
pub fn run(config: RouterConfig) -> Result<(), IoFailure> {
    let settings = RouterSettings {
        identity: Identity::from_pem(&config.private_key.0)
            .map_err(|e| bad_key("privatekey", e.to_string()))?,
        proxy: match &config.proxy_key {
            ProxyKey::Pinned(pem) => ProxyTrust::Pinned(
                PublicIdentity::from_pem(pem).map_err(|e| bad_key("proxykey", e.to_string()))?,
            ),
            ProxyKey::Unpinned => ProxyTrust::Unpinned,
        },
        aes_in_hardware: Suite::aes_in_hardware(),
    };
    let mut rng = system_rng()?;
    let process = Process::start(&Common {
        role: "router",
        hash_key: rng.random(),
        tun: &config.tun,
        offload: config.offload,
        monitor: &config.monitor,
        balancer: config.outbound.balancer,
        peers: vec!["proxy".to_owned()],
    })?;
    let control = ControlRouter {
        hub: process.hub.clone(),
        inbox: process.inbox,
        waker: process.waker,
        session: RouterSession::new(clock::now(), settings, rng),
        config,
        device: process.device,
        netlink: Netlink::open()?,
        watch: LinkWatch::open()?,
        refusals: Rarely::default(),
    };
    control.run();
    finish(&process.hub, process.threads)
}

/// A generator seeded by the system.
pub fn system_rng() -> Result<StdRng, IoFailure> {
    StdRng::try_from_rng(&mut SysRng).map_err(|e| {
        IoFailure::new("cannot get random numbers from the system", io::Error::other(e.to_string()))
    })
}

/// A key that the config's check let pass.
pub fn bad_key(place: &str, why: String) -> IoFailure {
    IoFailure::new(format!("cannot use {place}"), io::Error::other(why))
        .with_remedy("make one with gobonding keygen")
}
