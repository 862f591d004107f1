//! The router's address changes in mid-flow, because a NAT forgot it or the carrier gave another one.

use crate::lab::bed::{Bed, PROXY4};
use crate::lab::emulator::scenario::Scenario;
use crate::lab::emulator::schedule::SECOND;
use crate::lab::emulator::sys;
use crate::lab::middle::Middle;
use crate::lab::space::nat_works;
use crate::lab::traffic::{Load, Server, Stream};
use crate::lab::tunnel::{Setup, Tunnel, PORT, TUN_PROXY4};
use crate::{ensure, Failure, Outcome, Test};
use std::net::SocketAddr;
use std::time::Duration;

pub fn tests() -> Vec<Test> {
    vec![
        Test("a NAT that forgets in mid-flow: the flow goes on from new ports", ports_change),
        Test("a carrier that gives another address in mid-flow: the flow goes on", address_changes),
    ]
}

/// The relay's address: the core's, where the router takes it for the proxy.
pub fn relay(bed: &Bed) -> Result<(Middle, Setup), Failure> {
    let listen: SocketAddr = format!("10.79.0.1:{PORT}").parse().map_err(|e| format!("{e}"))?;
    let target: SocketAddr = format!("{PROXY4}:{PORT}").parse().map_err(|e| format!("{e}"))?;
    let middle = Middle::start(&bed.core, listen, target)?;
    Ok((middle, Setup::over(bed.isps.len(), "10.79.0.1")))
}

fn ports_change() -> Outcome {
    let bed = Bed::new(Scenario::of("rebind", &[(10, 10), (10, 20)]))?;
    let (middle, setup) = relay(&bed)?;
    let mut t = Tunnel::up(&bed, &setup)?;
    let _server = Server::start(&bed.proxy)?;
    let s = Stream::start(&bed.router, TUN_PROXY4, Load::Download, Duration::from_secs(5))?;
    for round in 0..3 {
        sys::sleep_until(sys::now() + SECOND);
        middle.rebind();
        sys::sleep_until(sys::now() + SECOND);
        let mbit = s.measure(Duration::from_secs(1));
        ensure!(mbit > 0.7 * 20.0, "round {round}: {mbit:.1} of 20 Mbit/s a second later; {}", t.story());
        ensure!(!s.is_broken(), "the connection broke; {}", t.story());
    }
    t.wait_channels(2, Duration::from_secs(5))?;
    Ok(())
}

fn address_changes() -> Outcome {
    nat_works().map_err(Failure::Skipped)?;
    let mut scenario = Scenario::of("carrier", &[(10, 10), (10, 20)]);
    scenario.nat = true;
    let bed = Bed::new(scenario)?;
    let mut t = Tunnel::up(&bed, &Setup::of(&bed))?;
    let _server = Server::start(&bed.proxy)?;
    let s = Stream::start(&bed.router, TUN_PROXY4, Load::Download, Duration::from_secs(5))?;
    sys::sleep_until(sys::now() + SECOND);
    // Masquerading follows the device's address; the kernel forgets what it knew of the old one.
    bed.core.ip("addr add 10.72.100.2/24 dev emu0")?;
    bed.isps[0].ip("addr del 10.72.0.1/30 dev emu0")?;
    bed.isps[0].ip("addr add 10.72.100.1/24 dev emu0")?;
    bed.isps[0].ip("route replace default via 10.72.100.2 dev emu0")?;
    sys::sleep_until(sys::now() + 2 * SECOND);
    let mbit = s.measure(Duration::from_secs(2));
    ensure!(!s.is_broken(), "the connection broke; {}", t.story());
    ensure!(mbit > 0.7 * 20.0, "{mbit:.1} of 20 Mbit/s after the address changed; {}", t.story());
    t.wait_channels(2, Duration::from_secs(5))?;
    Ok(())
}
