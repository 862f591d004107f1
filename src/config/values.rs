//! Words of a config file: `5s`, `20Mbit`, `host:port`, `10.0.0.1/24`.
//!
//! Each function takes trimmed text and gives the value or a refusal: what is wrong and what would be right.

use super::settings::{Address4, Address6, Endpoint, Host, Network};
use crate::tunnel::outbound::Balancer;
use crate::units::Rate;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Why a value was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub wrong: String,
    pub remedy: String,
}

fn refuse<T>(wrong: &str, remedy: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { wrong: wrong.to_owned(), remedy: remedy.into() })
}

/// A whole number within bounds, decimal or with `0x`.
pub fn number(text: &str, bounds: RangeInclusive<u64>) -> Result<u64, Refusal> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    let remedy = format!("write a number from {} to {}", bounds.start(), bounds.end());
    match parsed {
        Ok(n) if bounds.contains(&n) => Ok(n),
        Ok(n) if n < *bounds.start() => refuse("is too small", remedy),
        Ok(_) => refuse("is too large", remedy),
        Err(_) => refuse("is no whole number", remedy),
    }
}

/// A time as Go writes it (`5s`, `1m30s`, `500ms`); a plain number is seconds. 100 ms to a day.
pub fn duration(text: &str) -> Result<Duration, Refusal> {
    const REMEDY: &str = "write a time from 100ms to 24h, as in 5s, 500ms, 1m30s";
    let mut ms: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let Ok(n) = rest[..digits].parse::<u64>() else { return refuse("is no time", REMEDY) };
        rest = &rest[digits..];
        let unit = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let factor = match &rest[..unit] {
            "ms" => 1,
            "s" | "" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return refuse("is no time", REMEDY),
        };
        rest = &rest[unit..];
        ms = ms.saturating_add(n.saturating_mul(factor));
    }
    match ms {
        100..=86_400_000 => Ok(Duration::from_millis(ms)),
        _ => refuse("is out of range", REMEDY),
    }
}

/// Bits per second with a unit: `800kbit`, `20Mbit`, `1Gbit` (`20M` for short).
pub fn rate(text: &str) -> Result<Rate, Refusal> {
    const REMEDY: &str = "write bits per second with a unit, as in 800kbit, 20Mbit, 1Gbit (at least 64kbit)";
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    let factor: u64 = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "k" | "kbit" | "kbit/s" | "kbps" => 1_000,
        "m" | "mbit" | "mbit/s" | "mbps" => 1_000_000,
        "g" | "gbit" | "gbit/s" | "gbps" => 1_000_000_000,
        "bit" | "bit/s" => 1,
        _ => return refuse("is no rate", REMEDY),
    };
    let (whole, fraction) = text[..digits].split_once('.').unwrap_or((&text[..digits], "0"));
    let tenths = fraction.parse::<u64>().ok().and(fraction[..fraction.len().min(1)].parse::<u64>().ok());
    let (Ok(whole), Some(tenths)) = (whole.parse::<u64>(), tenths) else {
        return refuse("is no rate", REMEDY);
    };
    let bits = whole.saturating_mul(factor).saturating_add(tenths * factor / 10);
    match bits {
        64_000..=400_000_000_000 => Ok(Rate(bits / 8)),
        _ => refuse("is out of range", REMEDY),
    }
}

/// `host`, `host:port`, `1.2.3.4:port`, `2001:db8::1`, `[2001:db8::1]:port`.
pub fn endpoint(text: &str, default_port: u16) -> Result<Endpoint, Refusal> {
    const REMEDY: &str = "write the proxy as host, host:port, address:port or [IPv6 address]:port";
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Endpoint { host: Host::Address(address), port: default_port });
    }
    let (host, port_text) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, tail)) if tail.starts_with(':') => (host, Some(&tail[1..])),
            _ => return refuse("is no address", REMEDY),
        },
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port_text.map(str::parse::<u16>) {
        None => default_port,
        Some(Ok(port)) if port > 0 => port,
        _ => return refuse("has no port after the colon", "write a port from 1 to 65535, or leave it out"),
    };
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(Endpoint { host: Host::Address(address), port });
    }
    let looks_numeric = host.chars().all(|c| c.is_ascii_digit() || c == '.');
    if text.starts_with('[') || looks_numeric || !is_host_name(host) {
        return refuse("is neither an address nor a host name", REMEDY);
    }
    Ok(Endpoint { host: Host::Name(host.to_owned()), port })
}

fn is_host_name(text: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            && !l.starts_with('-')
    };
    text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

/// Name of a network device: 1 to 15 bytes that the kernel takes.
pub fn device(text: &str) -> Result<String, Refusal> {
    let fine = !text.is_empty()
        && text.len() <= 15
        && text != "."
        && text != ".."
        && text.chars().all(|c| c.is_ascii_graphic() && c != '/' && c != ':' && c != '%');
    match fine {
        true => Ok(text.to_owned()),
        false => refuse("is no device name", "write 1 to 15 letters or digits, as `ip link` shows them"),
    }
}

/// Own IPv4 address with prefix, `10.41.41.2/24`, or `10.0.0.2 peer 10.0.0.1`; `off` is `None`.
pub fn address4(text: &str) -> Result<Option<Address4>, Refusal> {
    const REMEDY: &str = "write address/prefix as in 10.41.41.2/24, or `10.0.0.2 peer 10.0.0.1`, or off";
    if text == "off" {
        return Ok(None);
    }
    if let Some((local, peer)) = text.split_once(" peer ") {
        return match (local.trim().parse(), peer.trim().parse()) {
            (Ok(local), Ok(peer)) => Ok(Some(Address4 { local, prefix: 32, peer: Some(peer) })),
            _ => refuse("is no pair of IPv4 addresses", REMEDY),
        };
    }
    match split_prefix::<Ipv4Addr>(text, 32) {
        Some((local, prefix)) if (8..=31).contains(&prefix) => {
            Ok(Some(Address4 { local, prefix, peer: None }))
        }
        Some(_) => refuse("has no useful prefix", "write a prefix from /8 to /31, as in 10.41.41.2/24"),
        None => refuse("is no IPv4 address with prefix", REMEDY),
    }
}

/// Own IPv6 address with prefix, `fd41:41::2/64`, or `A peer B`; `off` is `None`.
pub fn address6(text: &str) -> Result<Option<Address6>, Refusal> {
    const REMEDY: &str = "write address/prefix as in fd41:41::2/64, or `fd41:41::2 peer fd41:41::1`, or off";
    if text == "off" {
        return Ok(None);
    }
    if let Some((local, peer)) = text.split_once(" peer ") {
        return match (local.trim().parse(), peer.trim().parse()) {
            (Ok(local), Ok(peer)) => Ok(Some(Address6 { local, prefix: 128, peer: Some(peer) })),
            _ => refuse("is no pair of IPv6 addresses", REMEDY),
        };
    }
    match split_prefix::<Ipv6Addr>(text, 128) {
        Some((local, prefix)) if (8..=127).contains(&prefix) => {
            Ok(Some(Address6 { local, prefix, peer: None }))
        }
        Some(_) => refuse("has no useful prefix", "write a prefix from /8 to /127, as in fd41:41::2/64"),
        None => refuse("is no IPv6 address with prefix", REMEDY),
    }
}

/// One address; a prefix of full length is allowed.
pub fn one_address<A: std::str::FromStr>(text: &str) -> Result<A, Refusal> {
    match text.parse() {
        Ok(a) => Ok(a),
        Err(_) => refuse("is no such address", "write one address without prefix"),
    }
}

/// A network: `192.168.1.0/24`.
pub fn network(text: &str) -> Result<Network, Refusal> {
    const REMEDY: &str = "write network/prefix as in 192.168.1.0/24";
    let v4 = split_prefix::<Ipv4Addr>(text, 32).map(|(a, p)| {
        let host = u32::MAX.checked_shr(u32::from(p)).unwrap_or(0);
        (IpAddr::V4(a), p, u32::from(a) & host == 0)
    });
    let v6 = split_prefix::<Ipv6Addr>(text, 128).map(|(a, p)| {
        let host = u128::MAX.checked_shr(u32::from(p)).unwrap_or(0);
        (IpAddr::V6(a), p, u128::from(a) & host == 0)
    });
    match v4.or(v6) {
        Some((address, prefix, true)) if prefix > 0 => Ok(Network { address, prefix }),
        Some((_, 0, _)) => refuse("is everything", "name the networks behind the router"),
        Some((..)) => refuse("has bits set after its prefix", REMEDY),
        None => refuse("is no network", REMEDY),
    }
}

fn split_prefix<A: std::str::FromStr>(text: &str, max: u8) -> Option<(A, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let prefix = prefix.parse().ok().filter(|p| *p <= max)?;
    Some((address.parse().ok()?, prefix))
}

/// Name of a balancer.
pub fn balancer(text: &str) -> Result<Balancer, Refusal> {
    match text {
        "adaptive" => Ok(Balancer::Adaptive),
        "relative" => Ok(Balancer::Relative),
        "prio" => Ok(Balancer::Prio),
        "redundant" => Ok(Balancer::Redundant),
        _ => refuse("is no balancer", "write adaptive (the default), relative, prio or redundant"),
    }
}

/// `on` or `off`; also `true`, `false`, `yes`, `no`.
pub fn switch(text: &str) -> Result<Switch, Refusal> {
    match text {
        "on" | "true" | "yes" => Ok(Switch::On),
        "off" | "false" | "no" => Ok(Switch::Off),
        _ => refuse("is neither on nor off", "write on or off"),
    }
}

/// A choice between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    On,
    Off,
}

/// Level of the log.
pub fn log_level(text: &str) -> Result<log::LevelFilter, Refusal> {
    text.parse().or_else(|_| refuse("is no log level", "write error, warn, info, debug, trace or off"))
}

/// An absolute path.
pub fn path(text: &str) -> Result<PathBuf, Refusal> {
    match text.starts_with('/') {
        true => Ok(PathBuf::from(text)),
        false => refuse("is no absolute path", "write a path that begins with /"),
    }
}

/// Path of a unix socket, which the kernel limits to 107 bytes; `off` is `None`.
pub fn socket_path(text: &str) -> Result<Option<PathBuf>, Refusal> {
    match text {
        "off" => Ok(None),
        _ if text.len() > 107 => refuse("is too long for a socket", "write a path of at most 107 bytes"),
        _ => path(text).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_go_writes_them() {
        assert_eq!(duration("5s").unwrap(), Duration::from_secs(5));
        assert_eq!(duration("1m30s").unwrap(), Duration::from_secs(90));
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(duration("2").unwrap(), Duration::from_secs(2));
        for bad in ["", "5 s", "fast", "10ms", "-1s", "99999999999999999999s", "25h", "5µs"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_are_bits_and_become_bytes() {
        assert_eq!(rate("20Mbit").unwrap(), Rate(2_500_000));
        assert_eq!(rate("1.5 Mbit").unwrap(), Rate(187_500));
        assert_eq!(rate("800k").unwrap(), Rate(100_000));
        for bad in ["20", "Mbit", "1.2.3M", "0M", "20MB", ""] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_proxy_may_be_written_in_many_ways() {
        let of = |t: &str| endpoint(t, 41414).map(|e| e.to_string());
        assert_eq!(of("203.0.113.7").unwrap(), "203.0.113.7:41414");
        assert_eq!(of("203.0.113.7:500").unwrap(), "203.0.113.7:500");
        assert_eq!(of("vps.example.org").unwrap(), "vps.example.org:41414");
        assert_eq!(of("vps.example.org:500").unwrap(), "vps.example.org:500");
        assert_eq!(of("2001:db8::1").unwrap(), "[2001:db8::1]:41414");
        assert_eq!(of("[2001:db8::1]:500").unwrap(), "[2001:db8::1]:500");
        assert_eq!(of("[2001:db8::1]").unwrap(), "[2001:db8::1]:41414");
        for bad in ["", "a b", "300.1.2.3", "1.2.3.4:0", "1.2.3.4:x", "[1::2", "host:70000", "[name]:5"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tunnel_addresses_have_a_prefix_or_a_peer() {
        let a = address4("10.0.0.2/30").unwrap().unwrap();
        assert_eq!((a.local, a.prefix, a.peer), (Ipv4Addr::new(10, 0, 0, 2), 30, None));
        let a = address4("10.0.0.2 peer 10.9.0.1").unwrap().unwrap();
        assert_eq!((a.prefix, a.peer), (32, Some(Ipv4Addr::new(10, 9, 0, 1))));
        assert_eq!(address6("off").unwrap(), None);
        assert!(address4("10.0.0.2").is_err() && address4("10.0.0.2/33").is_err());
        assert!(address6("fd00::1/64").unwrap().is_some());
    }

    #[test]
    fn a_network_has_no_host_bits() {
        let n = network("192.168.1.0/24").unwrap();
        assert!(n.contains("192.168.1.77".parse().unwrap()));
        assert!(!n.contains("192.168.2.1".parse().unwrap()));
        assert!(!n.contains("::1".parse().unwrap()));
        assert!(network("192.168.1.1/24").is_err() && network("0.0.0.0/0").is_err());
        assert!(network("fd00:1::/32").is_ok());
    }
}
