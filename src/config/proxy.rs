//! The proxy's file: where it listens and which routers it knows.

use super::check::{self, Common};
use super::faults::Faults;
use super::keys;
use super::schema::{Entry, Section};
use super::settings::{ListenConfig, Network, ProxyConfig, RouterPeer};
use super::values;
use super::Role;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Routers a proxy may know. A guess: the handshake tries keys one after the other.
pub const ROUTERS_MAX: usize = 256;

/// Settings of the proxy; what is wrong is noted, and then `None`.
pub fn proxy(mut s: Section, f: &mut Faults) -> Option<ProxyConfig> {
    let mut warnings = Vec::new();
    let has_private_key = s.has("privatekey");
    check::misplaced(&mut s, &["proxykey"], "router", f);
    if s.entry("channels", &mut Faults::default()).is_some() {
        warnings.push("channels: only the router uses them; ignored".to_owned());
    }
    let common = check::common(&mut s, Role::Proxy, f);
    let listen = ListenConfig { address: listen(&mut s, f), port: common.port };
    let routers = routers(&mut s, &common, f);
    if !has_private_key {
        let remedy =
            "the proxy needs a key of its own: `gobonding keygen` makes one and says where its halves go";
        f.note(&s.place("privatekey"), "missing", remedy);
    }
    own_key_is_no_routers_key(&s, &common, &routers, f);
    s.finish(f);
    if !f.is_empty() {
        return None;
    }
    Some(ProxyConfig {
        tun: common.tun,
        listen,
        private_key: common.private_key?,
        routers,
        outbound: common.outbound,
        inbound: common.inbound,
        offload: common.offload,
        monitor: common.monitor,
        log: common.log,
        warnings,
    })
}

fn listen(s: &mut Section, f: &mut Faults) -> Option<IpAddr> {
    let address = s.parsed("listen", f, values::one_address::<IpAddr>)?;
    (!address.is_unspecified()).then_some(address)
}

/// The predecessor's config tool wrote one pair into both files; a proxy with the router's private key
/// could not be told from the router.
fn own_key_is_no_routers_key(s: &Section, common: &Common, routers: &[RouterPeer], f: &mut Faults) {
    let Some(own) = &common.private_key else { return };
    if routers.iter().any(|r| keys::are_a_pair(&own.0, &r.public_key) == Some(true)) {
        let remedy = "it stays on the router; `gobonding keygen` makes a pair for the proxy";
        f.note(&s.place("privatekey"), "is the router's private key", remedy);
    }
}

fn routers(s: &mut Section, common: &Common, f: &mut Faults) -> Vec<RouterPeer> {
    let mut routers: Vec<RouterPeer> = Vec::new();
    if let Some(public_key) = &common.public_key {
        routers.push(RouterPeer {
            name: "router".to_owned(),
            public_key: public_key.clone(),
            address4: None,
            address6: None,
            networks: Vec::new(),
        });
    }
    match s.entry("routers", f) {
        None => {}
        Some(Entry::List(list)) => {
            for (i, entry) in list.into_iter().enumerate() {
                routers.extend(router(&format!("routers[{i}]"), entry, f));
            }
        }
        Some(_) => {
            f.note("routers", "is no list", "begin each router with `- name:`");
            return routers;
        }
    }
    if routers.is_empty()
        && f.list().iter().all(|x| !x.place.starts_with("routers") && x.place != "publickey")
    {
        let remedy = "list each router with name and publickey, or give one `publickey`";
        f.note("routers", "missing: the proxy knows no router", remedy);
    }
    if routers.len() > ROUTERS_MAX {
        f.note("routers", format!("{} routers", routers.len()), format!("{ROUTERS_MAX} are the most"));
    }
    default_addresses(&mut routers, common);
    addresses_fit(&routers, common, f);
    all_differ(&routers, f);
    routers
}

fn router(place: &str, entry: Entry, f: &mut Faults) -> Option<RouterPeer> {
    let Entry::Section(mut s) = entry else {
        f.note(place, "has no parts", "write name and publickey under it");
        return None;
    };
    for key in ["name", "publickey"] {
        if !s.has(key) {
            f.note(&s.place(key), "missing", "each router has a name and a publickey");
        }
    }
    let name = s.text("name", f);
    let public_key = s.text("publickey", f);
    if let Some(pem) = &public_key {
        keys::check_public(&s.place("publickey"), pem, f);
    }
    let address4 = s.parsed("address4", f, values::one_address::<Ipv4Addr>);
    let address6 = s.parsed("address6", f, values::one_address::<Ipv6Addr>);
    let networks = networks(&mut s, f);
    s.finish(f);
    Some(RouterPeer { name: name?.trim().to_owned(), public_key: public_key?, address4, address6, networks })
}

fn networks(s: &mut Section, f: &mut Faults) -> Vec<Network> {
    let place = s.place("networks");
    let entries = match s.entry("networks", f) {
        None => return Vec::new(),
        Some(Entry::List(list)) => list,
        Some(one) => vec![one],
    };
    let mut networks = Vec::new();
    for entry in entries {
        match entry {
            Entry::Text(t) => match values::network(t.trim()) {
                Ok(n) => networks.push(n),
                Err(r) => f.value(&place, t.trim(), &r.wrong, r.remedy),
            },
            _ => f.note(&place, "has parts of its own", "write networks as in 192.168.1.0/24"),
        }
    }
    networks
}

/// A sole router need not be told its address: it is the other one of the tunnel.
fn default_addresses(routers: &mut [RouterPeer], common: &Common) {
    if let [only] = routers {
        only.address4 = only.address4.or_else(|| common.tun.address4.as_ref().and_then(check::other4));
        only.address6 = only.address6.or_else(|| common.tun.address6.as_ref().and_then(check::other6));
    }
}

fn addresses_fit(routers: &[RouterPeer], common: &Common, f: &mut Faults) {
    for router in routers {
        let place = format!("routers.{}", router.name);
        if router.address4.is_none() && router.address6.is_none() {
            let remedy = "with several routers give each its address4 (or address6)";
            f.note(&place, "has no tunnel address", remedy);
        }
        let v4 = common.tun.address4.map(|a| (IpAddr::V4(a.local), a.prefix, a.peer.map(IpAddr::V4)));
        let v6 = common.tun.address6.map(|a| (IpAddr::V6(a.local), a.prefix, a.peer.map(IpAddr::V6)));
        fits(&place, "address4", router.address4.map(IpAddr::V4), v4, f);
        fits(&place, "address6", router.address6.map(IpAddr::V6), v6, f);
    }
}

/// A router's address must be another one in the subnet of the tunnel device.
fn fits(
    place: &str,
    key: &str,
    address: Option<IpAddr>,
    own: Option<(IpAddr, u8, Option<IpAddr>)>,
    f: &mut Faults,
) {
    let Some(address) = address else { return };
    let place = format!("{place}.{key}");
    let shown = address.to_string();
    let Some((local, prefix, peer)) = own else {
        return f.value(&place, &shown, "has no counterpart", format!("give the proxy its own {key}"));
    };
    if address == local {
        return f.value(&place, &shown, "is the proxy's own address", "give the router another one");
    }
    let inside = Network { address: local, prefix }.contains(address);
    if !inside && peer != Some(address) {
        let remedy = format!("the tunnel is {local}/{prefix}: take an address from there");
        f.value(&place, &shown, "lies outside the tunnel's subnet", remedy);
    }
}

fn all_differ(routers: &[RouterPeer], f: &mut Faults) {
    for (i, b) in routers.iter().enumerate() {
        for a in &routers[..i] {
            let place = format!("routers.{}", b.name);
            let mut clash =
                |what: &str, remedy: &str| f.note(&place, format!("{what} as {}", a.name), remedy);
            if a.name == b.name {
                clash("has the same name", "give each router its own name");
            }
            if keys::are_the_same(&a.public_key, &b.public_key) {
                clash("has the same publickey", "make each router its own pair with `gobonding keygen`");
            }
            if a.address4.is_some() && a.address4 == b.address4 {
                clash("has the same address4", "give each router its own address");
            }
            if a.address6.is_some() && a.address6 == b.address6 {
                clash("has the same address6", "give each router its own address");
            }
            let overlap =
                |n: &Network| b.networks.iter().any(|m| m.contains(n.address) || n.contains(m.address));
            if a.networks.iter().any(overlap) {
                clash("has a network that overlaps one of the same size", "let networks be disjoint");
            }
        }
    }
}
