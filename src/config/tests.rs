//! The promises of the config as a whole: old files are read, and all faults come at once.

use super::settings::{Address4, Attach, ProxyKey};
use super::*;
use crate::tunnel::outbound::Balancer;
use rand::SeedableRng;
use std::net::Ipv4Addr;
use std::sync::OnceLock;
use std::time::Duration;

/// Two identities, made once for all tests.
fn keys() -> &'static [Identity; 2] {
    static KEYS: OnceLock<[Identity; 2]> = OnceLock::new();
    KEYS.get_or_init(|| {
        let mut rng = rand::rngs::StdRng::seed_from_u64(7);
        [(); 2].map(|()| Identity::generate(&mut rng, 2048).unwrap())
    })
}

fn block(key: &str, pem: &str) -> String {
    let lines: Vec<String> = pem.lines().map(|l| format!("  {l}\n")).collect();
    format!("{key}: |\n{}", lines.concat())
}

fn router_keys() -> String {
    let [router, proxy] = keys();
    block("privatekey", &router.to_pem()) + &block("proxykey", &proxy.public().to_pem())
}

fn proxy_keys() -> String {
    let [router, proxy] = keys();
    block("privatekey", &proxy.to_pem()) + &block("publickey", &router.public().to_pem())
}

fn router(text: &str) -> Result<RouterConfig, Faults> {
    parse_router(&format!("{text}\n{}", router_keys()), Path::new("r.yml"))
}

fn proxy(text: &str) -> Result<ProxyConfig, Faults> {
    parse_proxy(&format!("{text}\n{}", proxy_keys()), Path::new("p.yml"))
}

/// Places and words of the faults, for comparing.
fn lines(faults: &Faults) -> Vec<String> {
    faults.list().iter().map(ToString::to_string).collect()
}

#[test]
fn the_predecessors_file_is_read_as_it_is_and_lacks_the_proxys_key_alone() {
    let [router, _] = keys();
    let spki_under_the_old_label = router.public().to_pem().replace("PUBLIC KEY", "RSA PUBLIC KEY");
    let text = format!(
        "tunname: tun0\nmonitorpath: /var/lib/gobonding/monitor.yml\nmonitortick: 5s\nbalancer: relative\n\
         proxystartport: 41414\nchannels:\n    192.168.56.4: 203.0.113.7\n    usb0: 203.0.113.7\n{}{}",
        block("publickey", &spki_under_the_old_label),
        block("privatekey", &router.to_pem()),
    );
    let faults = parse_router(&text, Path::new("gobonding.yml")).unwrap_err();
    assert_eq!(lines(&faults).len(), 1, "{faults}");
    assert!(lines(&faults)[0].starts_with("proxykey: missing; "), "{faults}");
    let config = parse_router(&format!("{text}proxykey: unpinned\n"), Path::new("x")).unwrap();
    assert_eq!(config.proxy_key, ProxyKey::Unpinned);
    assert!(config.warnings.iter().any(|w| w.contains("unpinned")));
    assert_eq!(config.outbound.balancer, Balancer::Relative);
    assert_eq!(config.monitor.tick, Duration::from_secs(5));
    let attached: Vec<&Attach> = config.channels.iter().map(|c| &c.attach).collect();
    assert_eq!(
        attached,
        [&Attach::Address("192.168.56.4".parse().unwrap()), &Attach::Device("usb0".to_owned())]
    );
    assert_eq!(config.channels[0].proxy.to_string(), "203.0.113.7:41414");
}

#[test]
fn the_predecessors_proxy_file_with_the_routers_private_key_is_refused() {
    let [router, _] = keys();
    let text = block("privatekey", &router.to_pem()) + &block("publickey", &router.public().to_pem());
    let faults = parse_proxy(&text, Path::new("p.yml")).unwrap_err();
    assert!(faults.to_string().contains("privatekey: is the router's private key"), "{faults}");
}

#[test]
fn a_file_with_channels_and_keys_alone_is_enough() {
    let config = router("channels:\n  wan0: vps.example.org\n  wan1: '[2001:db8::1]:500'\n").unwrap();
    assert_eq!(config.tun.name, "tun0");
    assert_eq!((config.tun.address4, config.tun.mtu), (None, None));
    assert_eq!(config.monitor.socket.unwrap().to_str(), Some("/run/gobonding/router-tun0.sock"));
    assert_eq!(config.monitor.file, None);
    assert_eq!(config.inbound.hold_max, Duration::from_millis(600));
    assert!(config.warnings.is_empty());
    let config = proxy("").unwrap();
    assert_eq!(config.listen.port, 41414);
    assert_eq!(
        config.tun.address4,
        Some(Address4 { local: Ipv4Addr::new(10, 41, 41, 1), prefix: 24, peer: None })
    );
    assert_eq!(config.routers[0].address4, Some(Ipv4Addr::new(10, 41, 41, 2)));
}

#[test]
fn a_channel_may_be_a_map_of_options() {
    let config = router(
        "channels:\n  lte:\n    proxy: 203.0.113.7\n    device: wwan0\n    up: 8Mbit\n    mark: 0x3F00\n    mtu: 1430\n  \
         dsl:\n    proxy: 203.0.113.7\n    address: 192.0.2.9\n  old: {proxy: 203.0.113.7, disabled: yes}\n",
    )
    .unwrap();
    let [dsl, lte] = &config.channels[..] else { panic!("{:?}", config.channels) };
    assert_eq!(dsl.attach, Attach::Address("192.0.2.9".parse().unwrap()));
    assert_eq!(lte.attach, Attach::Device("wwan0".to_owned()));
    assert_eq!((lte.rate_max.unwrap().0, lte.mark, lte.mtu), (1_000_000, Some(0x3F00), Some(1430)));
}

#[test]
fn all_faults_come_at_once_each_with_place_value_and_remedy() {
    let faults = router(
        "tunname: a-name-that-is-too-long\nmonitortick: soon\nbalancer: fastest\nproxystartport: 70000\n\
         monitorpth: /x\nreorder:\n  wait_ms: 2000\n  depth: 5\nchannels:\n  wan0: 300.1.2.3\n  \
         wan1:\n    device: wan1\n  wan2: {proxy: 203.0.113.7, up: fast}\n  eth0: 203.0.113.7\n  \
         again: {device: eth0, proxy: 203.0.113.7}\nrouters: []\naddress4: off\n",
    )
    .unwrap_err();
    let said = faults.to_string();
    for part in [
        "r.yml: 13 faults\n",
        "tunname: \"a-name-that-is-too-long\" is no device name; write 1 to 15",
        "monitortick: \"soon\" is no time; write a time from 100ms to 24h",
        "balancer: \"fastest\" is no balancer; write adaptive",
        "proxystartport: \"70000\" is too large; write a number from 1 to 65535",
        "monitorpth: unknown key; did you mean `monitorpath`?",
        "reorder.wait_ms: \"2000\" is too large; write a number from 20 to 1000",
        "reorder.depth: unknown key; known here: memory_mib, wait_ms",
        "channels.wan0: \"300.1.2.3\" is neither an address nor a host name",
        "channels.wan1.proxy: missing; write the proxy's address",
        "channels.wan2.up: \"fast\" is no rate; write bits per second",
        "channels.again: is on the same link as channels.eth0; give each channel its own link",
        "routers: belongs in the proxy's file; remove it here",
        "address4: cannot be off on the router; leave the key out",
    ] {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}

#[test]
fn several_routers_differ_in_everything() {
    let [router, proxy] = keys();
    let own = block("privatekey", &proxy.to_pem());
    let peer = |name: &str, rest: &str| {
        let pem: String = router.public().to_pem().lines().map(|l| format!("      {l}\n")).collect();
        format!("  - name: {name}\n    publickey: |\n{pem}{rest}")
    };
    let text = format!(
        "{own}routers:\n{}{}",
        peer("home", "    address4: 10.41.41.2\n    networks: [192.168.1.0/24]\n"),
        peer("home", "    address4: 10.41.41.2\n    networks: 192.168.0.0/16\n"),
    );
    let said = parse_proxy(&text, Path::new("p.yml")).unwrap_err().to_string();
    for word in ["same name", "same publickey", "same address4", "overlaps"] {
        assert!(said.contains(word), "{word} is not in {said}");
    }
    let text = format!("{own}routers:\n{}", peer("home", "    address4: 10.9.9.2\n    adress6: fd00::2\n"));
    let said = parse_proxy(&text, Path::new("p.yml")).unwrap_err().to_string();
    assert!(
        said.contains("\"10.9.9.2\" lies outside the tunnel's subnet; the tunnel is 10.41.41.1/24"),
        "{said}"
    );
    assert!(said.contains("routers[0].adress6: unknown key; did you mean `address6`?"), "{said}");
}

#[test]
fn a_proxy_without_keys_says_which_command_makes_them() {
    let said = parse_proxy("listen: '::'\n", Path::new("p.yml")).unwrap_err().to_string();
    assert!(
        said.contains("privatekey: missing; the proxy needs a key of its own: `gobonding keygen`"),
        "{said}"
    );
    assert!(said.contains("routers: missing: the proxy knows no router"), "{said}");
}

#[test]
fn mixed_up_halves_of_keys_are_recognised() {
    let [router, proxy] = keys();
    let text = format!(
        "channels:\n  wan0: 203.0.113.7\n{}{}",
        block("privatekey", &router.public().to_pem()),
        block("proxykey", &proxy.to_pem())
    );
    let said = parse_router(&text, Path::new("r.yml")).unwrap_err().to_string();
    assert!(said.contains("privatekey: is a public key"), "{said}");
    assert!(said.contains("proxykey: is a private key"), "{said}");
    let text = format!(
        "channels:\n  wan0: 203.0.113.7\n{}{}",
        block("privatekey", &router.to_pem()),
        block("publickey", &proxy.public().to_pem())
    );
    let said = parse_router(&text, Path::new("r.yml")).unwrap_err().to_string();
    assert!(said.contains("proxykey: missing, and `publickey` is not this router's own"), "{said}");
}

#[test]
fn secrets_are_not_in_debug_output() {
    let config = router("channels:\n  wan0: 203.0.113.7\n").unwrap();
    assert!(!format!("{config:?}").contains("PRIVATE"));
}

proptest::proptest! {
    #[test]
    fn whatever_the_text_is_it_gives_settings_or_faults(text in "\\PC{0,200}") {
        for refused in [parse_router(&text, Path::new("x")).err(), parse_proxy(&text, Path::new("x")).err()] {
            proptest::prop_assert!(refused.is_some_and(|f| !f.is_empty()));
        }
    }

    #[test]
    fn whatever_a_value_is_it_is_taken_or_is_one_fault_of_its_key(
        key in proptest::sample::select(vec![
            "tunname", "monitortick", "balancer", "proxystartport", "address4", "address6", "mtu", "offload",
            "status", "log", "listen", "monitorpath", "reorder", "queue", "routers", "networks",
        ]),
        value in "[-a-z0-9./:%\\[\\]{}, ]{0,40}",
    ) {
        if let Err(faults) = proxy(&format!("{key}: {value}")) {
            proptest::prop_assert!(!faults.is_empty());
        }
        if let Err(faults) = router(&format!("channels:\n  wan0: {value}\n{key}: {value}")) {
            proptest::prop_assert!(!faults.is_empty());
        }
    }
}
