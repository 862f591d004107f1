//! The main thing: TCP, UDP and ICMP of both families go through, and one TCP flow gets the sum of the links.

use crate::lab::bed::{Bed, PROXY4};
use crate::lab::emulator::scenario::Scenario;
use crate::lab::emulator::schedule::SECOND;
use crate::lab::emulator::sys;
use crate::lab::traffic::{ping, probe, Load, Server, Stream};
use crate::lab::tunnel::{keys, router_entry, Setup, Side, Tunnel};
use crate::lab::tunnel::{START, TUN_PROXY4, TUN_PROXY6, TUN_ROUTER4};
use crate::lab::wait_until;
use crate::{ensure, Outcome, Test};
use gobonding::monitor::snapshot::TunnelRow;
use std::time::Duration;

pub fn tests() -> Vec<Test> {
    vec![
        Test("one TCP flow gets the sum of two links, down and up", one_flow_gets_the_sum),
        Test("UDP and ICMP go through, each once, with almost no delay", udp_and_icmp_go_through),
        Test("IPv4 and IPv6 inside, over IPv6 outside", ipv6_inside_and_outside),
        Test("through two carriers' NAT", through_nat),
        Test("two routers at one proxy, each with its own key and address", two_routers),
    ]
}

/// Least part of the links' sum that one flow must get. Tunnel and TCP headers leave 0.925 of it.
const LEAST: f64 = 0.85;
/// Bytes of headers that a TCP packet travels without, at least: of 52 over IPv4 ten or so are left.
const SAVED_LEAST: u64 = 35;

fn one_flow_gets_the_sum() -> Outcome {
    let bed = Bed::new(Scenario::of("two", &[(30, 15), (12, 40)]))?;
    let t = Tunnel::up(&bed, &Setup::of(&bed))?;
    let _server = Server::start(&bed.proxy)?;
    for load in [Load::Download, Load::Upload] {
        let s = Stream::start(&bed.router, TUN_PROXY4, load, Duration::from_secs(5))?;
        sys::sleep_until(sys::now() + 3 * SECOND);
        let (mbit, sum) = (s.measure(Duration::from_secs(6)), bed.sum_mbit(load == Load::Download));
        ensure!(!s.is_broken(), "{load:?}: the connection broke; {}", t.story());
        ensure!(mbit >= LEAST * sum, "{load:?}: {mbit:.1} of {sum} Mbit/s; {}", t.story());
        ensure!(mbit <= sum, "{load:?}: {mbit:.1} of {sum} Mbit/s, more than there is");
    }
    for side in [Side::Router, Side::Proxy] {
        let row = t.row(side)?;
        headers_are_left_out(&row)?;
        for c in &row.channels {
            ensure!(c.sent_bytes > 1_000_000 && c.received_bytes > 1_000_000, "{side:?}: {c:?}");
            ensure!(c.base_rtt_us > 20_000, "{side:?} does not know the delay: {c:?}");
        }
    }
    Ok(())
}

/// The kernel's TCP segments travel without what the peer knows: acknowledgements, too.
fn headers_are_left_out(row: &TunnelRow) -> Outcome {
    let (packets, saved) = (row.outbound.packets, row.outbound.header_bytes_saved);
    ensure!(saved > packets * SAVED_LEAST, "{saved} bytes of {packets} packets' headers saved");
    ensure!(row.inbound.unreadable == 0, "{} packets could not be read", row.inbound.unreadable);
    Ok(())
}

fn udp_and_icmp_go_through() -> Outcome {
    let bed = Bed::new(Scenario::of("two", &[(20, 10), (20, 20)]))?;
    let t = Tunnel::up(&bed, &Setup::of(&bed))?;
    let _server = Server::start(&bed.proxy)?;
    let p = probe(&bed.router, TUN_PROXY4, 200, Duration::from_millis(10), 200)?;
    ensure!(p.lost() == 0 && p.twice == 0, "{} lost, {} twice; {}", p.lost(), p.twice, t.story());
    let best = 20_000;
    let middle = p.quantile_us(0.5);
    ensure!(
        (best..best + 5_000).contains(&middle),
        "median round trip {middle} us, the better link has {best}"
    );
    let large = probe(&bed.router, TUN_PROXY4, 20, Duration::from_millis(10), 1472)?;
    ensure!(large.lost() == 0, "{} of 20 datagrams of 1472 bytes lost", large.lost());
    for (space, to) in [(&bed.router, TUN_PROXY4), (&bed.proxy, TUN_ROUTER4)] {
        let answers = ping(space, to, 20, Duration::from_millis(20))?;
        ensure!(answers == 20, "{answers} of 20 pings to {to} answered; {}", t.story());
    }
    Ok(())
}

fn ipv6_inside_and_outside() -> Outcome {
    let bed = Bed::new(Scenario::of("six", &[(20, 10), (20, 20)]))?;
    let t = Tunnel::up(&bed, &Setup::of_ipv6(&bed))?;
    let _server = Server::start(&bed.proxy)?;
    for to in [TUN_PROXY6, TUN_PROXY4] {
        let p = probe(&bed.router, to, 50, Duration::from_millis(10), 200)?;
        ensure!(p.lost() == 0 && p.twice == 0, "{to}: {} lost, {} twice; {}", p.lost(), p.twice, t.story());
        let s = Stream::start(&bed.router, to, Load::Download, Duration::from_secs(5))?;
        sys::sleep_until(sys::now() + 2 * SECOND);
        let mbit = s.measure(Duration::from_secs(4));
        ensure!(mbit >= 0.8 * 40.0, "{to}: {mbit:.1} of 40 Mbit/s; {}", t.story());
    }
    Ok(())
}

fn through_nat() -> Outcome {
    crate::lab::space::nat_works().map_err(crate::Failure::Skipped)?;
    let mut scenario = Scenario::of("nat", &[(20, 10), (10, 20)]);
    scenario.nat = true;
    let bed = Bed::new(scenario)?;
    let t = Tunnel::up(&bed, &Setup::of(&bed))?;
    let _server = Server::start(&bed.proxy)?;
    let s = Stream::start(&bed.router, TUN_PROXY4, Load::Download, Duration::from_secs(5))?;
    sys::sleep_until(sys::now() + 2 * SECOND);
    let mbit = s.measure(Duration::from_secs(3));
    ensure!(mbit >= 0.8 * 30.0, "{mbit:.1} of 30 Mbit/s; {}", t.story());
    Ok(())
}

fn two_routers() -> Outcome {
    let bed = Bed::new(Scenario::of("routers", &[(20, 10)]))?;
    let [first, _, second] = keys();
    let mut setup = Setup::of(&bed);
    setup.proxy_trusts.clear();
    setup.proxy_more = "routers:\n".to_string()
        + &router_entry("home", TUN_ROUTER4, &first.public)
        + &router_entry("shed", "10.200.0.3", &second.public);
    let t = Tunnel::start(&bed.router, &bed.proxy, &setup)?;
    // The core network is a good place for the other one: its way to the proxy is short.
    let mut other = Setup::over(1, PROXY4);
    other.channels[0].0 = "px".to_string();
    other.router_private = second.private.clone();
    let mut shed = t.another_router(&bed.core, &other)?;
    let _server = Server::start(&bed.proxy)?;
    for (space, own) in [(&bed.router, TUN_ROUTER4), (&bed.core, "10.200.0.3")] {
        let works = || ping(space, TUN_PROXY4, 5, Duration::from_millis(20)).is_ok_and(|n| n == 5);
        wait_until(&format!("the router with {own} reaches the proxy"), START, works)
            .map_err(|e| format!("{e}; {}\n  shed:\n    {}", t.story(), shed.said()))?;
        let addresses = space.ip("-4 addr show dev gobo0")?;
        ensure!(addresses.contains(own), "{own} is not among {addresses}");
    }
    let names: Vec<String> = t.status(Side::Proxy)?.tunnels.into_iter().map(|row| row.name).collect();
    ensure!(names.len() == 2 && names.iter().any(|n| n == "home"), "the proxy knows {names:?}");
    shed.stop(Duration::from_secs(2))?;
    let answers = ping(&bed.router, TUN_PROXY4, 20, Duration::from_millis(20))?;
    ensure!(answers == 20, "{answers} of 20 pings answered after the other router left; {}", t.story());
    Ok(())
}
