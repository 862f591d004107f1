//! The place where tunnels are tried: router, one carrier for each link, core network, proxy.
//!
//! ```text
//!  router                       isp{i}                           core                         proxy
//!  wan{i} 10.71.{i}.2 -------- lan 10.71.{i}.1
//!                              emu{i} 10.72.{i}.1 ==emulator== emu{i} 10.72.{i}.2
//!                                                              px 10.79.0.1 ------ eth0 10.79.0.2
//! ```
//! IPv6 the same with fd71:0:0:{i}::, fd72:0:0:{i}:: and fd79::. With `nat` each carrier masquerades IPv4.
//! On the router, what is bound to wan{i} or its address leaves by wan{i}, the rest by wan0.

use super::emulator::run::Emulator;
use super::emulator::scenario::Scenario;
use super::space::{masquerade, Space};

/// Proxy's outer addresses.
pub const PROXY4: &str = "10.79.0.2";
pub const PROXY6: &str = "fd79::2";

/// Namespaces with the links of one scenario between them. Dropping it removes everything.
pub struct Bed {
    pub emulator: Emulator,
    pub scenario: Scenario,
    pub router: Space,
    pub isps: Vec<Space>,
    pub core: Space,
    pub proxy: Space,
}

impl Bed {
    /// Builds it. The error says which command was refused.
    pub fn new(scenario: Scenario) -> Result<Bed, String> {
        let (router, core, proxy) = (Space::new("router")?, Space::new("core")?, Space::new("proxy")?);
        let isps = (0..scenario.links.len()).map(|i| Space::new(&format!("isp{i}")));
        let isps = isps.collect::<Result<Vec<_>, _>>()?;
        let places: Vec<_> = isps.iter().map(|s| (s.name.clone(), core.name.clone())).collect();
        let emulator = Emulator::start(&scenario, &places).map_err(|e| format!("emulator: {e}"))?;
        let bed = Bed { emulator, scenario, router, isps, core, proxy };
        wire(&bed.core, "px", &bed.proxy, "eth0", 1500)?;
        address(&bed.core, "px", "10.79.0.1/24", "fd79::1/64")?;
        address(&bed.proxy, "eth0", &format!("{PROXY4}/24"), &format!("{PROXY6}/64"))?;
        bed.proxy.ip("route add default via 10.79.0.1")?;
        bed.proxy.ip("-6 route add default via fd79::1")?;
        for i in 0..bed.isps.len() {
            bed.add_link(i)?;
        }
        bed.router.ip("route add default via 10.71.0.1 dev wan0")?;
        bed.router.ip("-6 route add default via fd71::1 dev wan0")?;
        Ok(bed)
    }

    /// Router's outer IPv4 address on link `i`.
    pub fn router4(i: usize) -> String {
        format!("10.71.{i}.2")
    }

    /// Router's outer IPv6 address on link `i`.
    pub fn router6(i: usize) -> String {
        format!("fd71:0:0:{i}::2")
    }

    /// Mean rate of the links together, Mbit/s of IP packets, in one direction.
    pub fn sum_mbit(&self, down: bool) -> f64 {
        let rate = |l: &super::emulator::scenario::Link| {
            (if down { &l.down } else { &l.up }).capacity.mean_bits_per_s() as f64 / 1e6
        };
        self.scenario.links.iter().map(rate).sum()
    }

    /// Takes the router's end of link `i` away, as when a phone is unplugged.
    pub fn unplug(&self, i: usize) -> Result<(), String> {
        self.router.ip(&format!("link del wan{i}")).map(|_| ())
    }

    /// Puts the router's end of link `i` (back) in place.
    pub fn plug(&self, i: usize) -> Result<(), String> {
        let isp = &self.isps[i];
        wire(&self.router, &format!("wan{i}"), isp, "lan", self.scenario.links[i].mtu)?;
        address(isp, "lan", &format!("10.71.{i}.1/24"), &format!("fd71:0:0:{i}::1/64"))?;
        let dev = format!("wan{i}");
        address(&self.router, &dev, &format!("{}/24", Bed::router4(i)), &format!("{}/64", Bed::router6(i)))?;
        let table = 100 + i;
        for (family, gateway) in [("", format!("10.71.{i}.1")), ("-6 ", format!("fd71:0:0:{i}::1"))] {
            self.router.ip(&format!("{family}route add default via {gateway} dev {dev} table {table}"))?;
        }
        Ok(())
    }

    fn add_link(&self, i: usize) -> Result<(), String> {
        let isp = &self.isps[i];
        let (near, far) = (format!("10.72.{i}.1"), format!("10.72.{i}.2"));
        let (near6, far6) = (format!("fd72:0:0:{i}::1"), format!("fd72:0:0:{i}::2"));
        address(isp, &format!("emu{i}"), &format!("{near}/30"), &format!("{near6}/64"))?;
        address(&self.core, &format!("emu{i}"), &format!("{far}/30"), &format!("{far6}/64"))?;
        self.plug(i)?;
        let table = 100 + i;
        for (family, from) in [("", Bed::router4(i)), ("-6 ", Bed::router6(i))] {
            self.router.ip(&format!("{family}rule add from {from} lookup {table} pref {}", 1000 + i))?;
            self.router.ip(&format!("{family}rule add oif wan{i} lookup {table} pref {}", 2000 + i))?;
        }
        isp.ip(&format!("route add default via {far} dev emu{i}"))?;
        isp.ip(&format!("-6 route add default via {far6} dev emu{i}"))?;
        match self.scenario.nat {
            true => masquerade(isp, &format!("emu{i}"))?,
            false => {
                self.core.ip(&format!("route add 10.71.{i}.0/24 via {near} dev emu{i}"))?;
            }
        }
        self.core.ip(&format!("-6 route add fd71:0:0:{i}::/64 via {near6} dev emu{i}"))?;
        Ok(())
    }
}

/// A veth pair between two namespaces.
pub fn wire(a: &Space, a_device: &str, b: &Space, b_device: &str, mtu: u32) -> Result<(), String> {
    let b_name = &b.name;
    a.ip(&format!("link add {a_device} mtu {mtu} type veth peer name {b_device} mtu {mtu} netns {b_name}"))?;
    Ok(())
}

/// Gives a device its addresses and sets it up.
pub fn address(space: &Space, device: &str, v4: &str, v6: &str) -> Result<(), String> {
    space.ip(&format!("link set {device} up"))?;
    space.ip(&format!("addr add {v4} dev {device}"))?;
    space.ip(&format!("addr add {v6} dev {device} nodad"))?;
    Ok(())
}
