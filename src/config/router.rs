//! The router's file: its channels and whom it takes for the proxy.

use super::check::{self, Common};
use super::faults::Faults;
use super::keys;
use super::schema::{Entry, Section};
use super::settings::{Attach, ChannelConfig, Endpoint, Host, ProxyKey, RouterConfig, SecretPem};
use super::values::{self, Switch};
use super::Role;
use std::net::IpAddr;

/// Channels a router may have. A guess: eight links are many already.
pub const CHANNELS_MAX: usize = 32;

/// Settings of the router; what is wrong is noted, and then `None`.
pub fn router(mut s: Section, f: &mut Faults) -> Option<RouterConfig> {
    let mut warnings = Vec::new();
    let has_private_key = s.has("privatekey");
    check::misplaced(&mut s, &["routers", "listen"], "proxy", f);
    let common = check::common(&mut s, Role::Router, f);
    let channels = channels(&mut s, common.port, &mut warnings, f);
    let proxy_key = proxy_key(&mut s, &common, &mut warnings, f);
    if !has_private_key {
        let remedy = "the router proves itself with it: `gobonding keygen` makes one";
        f.note(&s.place("privatekey"), "missing", remedy);
    }
    s.finish(f);
    if !f.is_empty() {
        return None;
    }
    Some(RouterConfig {
        tun: common.tun,
        channels,
        private_key: common.private_key?,
        proxy_key: proxy_key?,
        outbound: common.outbound,
        inbound: common.inbound,
        offload: common.offload,
        monitor: common.monitor,
        log: common.log,
        warnings,
    })
}

fn proxy_key(
    s: &mut Section,
    common: &Common,
    warnings: &mut Vec<String>,
    f: &mut Faults,
) -> Option<ProxyKey> {
    let place = s.place("proxykey");
    match s.text("proxykey", f) {
        Some(t) if t.trim() == "unpinned" => {
            warnings.push(
                "proxykey: unpinned: whoever sits on the way can pose as the proxy; paste its public key"
                    .into(),
            );
            Some(ProxyKey::Unpinned)
        }
        Some(pem) => {
            keys::check_public(&place, &pem, f);
            Some(ProxyKey::Pinned(pem))
        }
        None => {
            let remedy = "paste the proxy's public key block, or write `unpinned` to trust whoever answers";
            let wrong = match stray_proxy_key(common) {
                true => "missing, and `publickey` is not this router's own but perhaps the proxy's",
                false => "missing",
            };
            f.note(&place, wrong, remedy);
            None
        }
    }
}

/// Whether `publickey` belongs to somebody else than `privatekey`.
fn stray_proxy_key(common: &Common) -> bool {
    match (&common.private_key, &common.public_key) {
        (Some(SecretPem(private)), Some(public)) => keys::are_a_pair(private, public) == Some(false),
        _ => false,
    }
}

fn channels(s: &mut Section, port: u16, warnings: &mut Vec<String>, f: &mut Faults) -> Vec<ChannelConfig> {
    let place = s.place("channels");
    let missing = "write one line for each link: `wan0: proxy's address`";
    let entries = match s.entry("channels", f) {
        Some(Entry::Section(section)) => section.into_entries(f),
        Some(_) => {
            f.note(&place, "is no map of links", missing);
            return Vec::new();
        }
        None => {
            f.note(&place, "missing", missing);
            return Vec::new();
        }
    };
    let mut channels: Vec<ChannelConfig> = Vec::new();
    for (name, entry) in entries {
        let place = format!("{place}.{name}");
        let Some(channel) = channel(&place, name, entry, port, warnings, f) else { continue };
        match channels.iter().find(|c| c.attach == channel.attach) {
            Some(other) => {
                let wrong = format!("is on the same link as channels.{}", other.name);
                f.note(&place, wrong, "give each channel its own link");
            }
            None => channels.push(channel),
        }
    }
    channels.sort_by(|a, b| a.name.cmp(&b.name));
    if channels.len() > CHANNELS_MAX {
        f.note(&place, format!("{} channels", channels.len()), format!("{CHANNELS_MAX} are the most"));
    }
    if channels.is_empty() && f.is_empty() {
        f.note(&place, "every channel is disabled", "leave at least one");
    }
    channels
}

/// One channel; `None` when it is disabled or its faults are noted.
fn channel(
    place: &str,
    name: String,
    entry: Option<Entry>,
    port: u16,
    warnings: &mut Vec<String>,
    f: &mut Faults,
) -> Option<ChannelConfig> {
    const NO_PROXY: &str = "write the proxy's address or host name after the colon";
    let mut channel = ChannelConfig {
        attach: Attach::Device(name.clone()),
        name,
        proxy: Endpoint { host: Host::Name(String::new()), port },
        rate_max: None,
        mark: None,
        mtu: None,
    };
    match entry {
        None | Some(Entry::List(_)) => {
            f.note(place, "has no proxy", NO_PROXY);
            return None;
        }
        Some(Entry::Text(t)) => {
            channel.attach = attach_by_name(place, &channel.name, f)?;
            match values::endpoint(t.trim(), port) {
                Ok(e) => channel.proxy = e,
                Err(r) => {
                    f.value(place, t.trim(), &r.wrong, r.remedy);
                    return None;
                }
            }
        }
        Some(Entry::Section(mut s)) => {
            let disabled = s.parsed("disabled", f, values::switch) == Some(Switch::On);
            channel.rate_max = s.parsed("up", f, values::rate);
            channel.mark = s.number("mark", 1..=u64::from(u32::MAX), f).map(|n| n as u32);
            channel.mtu = s.number("mtu", 1280..=9000, f).map(|n| n as u16);
            let attach = attach(place, &channel.name, &mut s, f);
            let had_proxy = s.has("proxy");
            let proxy = s.parsed("proxy", f, |t| values::endpoint(t, port));
            if !had_proxy {
                f.note(&s.place("proxy"), "missing", NO_PROXY);
            }
            s.finish(f);
            if disabled {
                warnings.push(format!("{place} is disabled"));
                return None;
            }
            (channel.attach, channel.proxy) = (attach?, proxy?);
        }
    }
    if let (Attach::Address(local), Host::Address(proxy)) = (&channel.attach, &channel.proxy.host) {
        if local.is_ipv4() != proxy.is_ipv4() {
            let wrong = format!("{local} cannot reach {proxy}");
            f.note(place, wrong, "use two IPv4 or two IPv6 addresses");
            return None;
        }
    }
    Some(channel)
}

fn attach(place: &str, name: &str, s: &mut Section, f: &mut Faults) -> Option<Attach> {
    let (has_device, has_address) = (s.has("device"), s.has("address"));
    let device = s.parsed("device", f, values::device);
    let address = s.parsed("address", f, values::one_address::<IpAddr>);
    match (has_device, has_address) {
        (true, true) => {
            f.note(place, "has a device and an address", "keep one of the two, best the device");
            None
        }
        (true, false) => device.map(Attach::Device),
        (false, true) => address.map(Attach::Address),
        (false, false) => attach_by_name(place, name, f),
    }
}

/// The key itself is the link: a local address or a device.
fn attach_by_name(place: &str, name: &str, f: &mut Faults) -> Option<Attach> {
    if let Ok(address) = name.parse() {
        return Some(Attach::Address(address));
    }
    match values::device(name) {
        Ok(d) => Some(Attach::Device(d)),
        Err(r) => {
            f.value(place, name, &r.wrong, "name the link itself, or give `device:` or `address:` under it");
            None
        }
    }
}
