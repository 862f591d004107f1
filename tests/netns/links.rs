//! Links come late, are cut, are pulled out, and come back: nothing inside the tunnel breaks.

use crate::lab::bed::Bed;
use crate::lab::emulator::run::{Cut, Way};
use crate::lab::emulator::scenario::Scenario;
use crate::lab::emulator::schedule::SECOND;
use crate::lab::emulator::sys;
use crate::lab::traffic::{probe, Load, Server, Stream};
use crate::lab::tunnel::{Setup, Side, Tunnel, DEVICE, START, TUN_PROXY4};
use crate::{ensure, Outcome, Test};
use gobonding::monitor::snapshot::ChannelState;
use std::time::Duration;

pub fn tests() -> Vec<Test> {
    vec![
        Test("a link that is cut in mid-flow costs a blink and comes back by itself", cut_in_mid_flow),
        Test("a link that carries one way only is not used the other way, and comes back", one_way_only),
        Test("a link that appears later joins, and may be pulled out again", link_appears_later),
        Test("no link at all at the start, then one", no_link_at_the_start),
        Test("packets of any size go through links with a smaller MTU (PPPoE), both ways", small_mtu),
        Test("a link without a route is named with the reason", no_route),
    ]
}

fn cut_in_mid_flow() -> Outcome {
    let bed = Bed::new(Scenario::of("cut", &[(20, 10), (20, 20)]))?;
    let mut t = Tunnel::up(&bed, &Setup::of(&bed))?;
    let _server = Server::start(&bed.proxy)?;
    let s = Stream::start(&bed.router, TUN_PROXY4, Load::Download, Duration::from_secs(5))?;
    sys::sleep_until(sys::now() + 2 * SECOND);
    for way in [Way::Up, Way::Down] {
        bed.emulator.set_cut(0, way, Cut::Cut);
    }
    // Small probes beside the download, across the moments of the cut.
    let p = probe(&bed.router, TUN_PROXY4, 200, Duration::from_millis(10), 200)?;
    ensure!(p.lost() <= 4, "{} of 200 probes lost while a link was cut; {}", p.lost(), t.story());
    ensure!(p.longest_gap_ms <= 1000, "silence of {} ms; {}", p.longest_gap_ms, t.story());
    t.wait_row(Side::Proxy, "the cut link is down", Duration::from_secs(8), |row| {
        row.channels.iter().any(|c| matches!(c.state, ChannelState::Down | ChannelState::Stalled))
    })?;
    let alone = s.measure(Duration::from_secs(2));
    ensure!(alone > 0.8 * 20.0, "{alone:.1} of the remaining 20 Mbit/s; {}", t.story());
    for way in [Way::Up, Way::Down] {
        bed.emulator.set_cut(0, way, Cut::Whole);
    }
    t.wait_channels(2, Duration::from_secs(10))?;
    sys::sleep_until(sys::now() + 2 * SECOND);
    let both = fastest(&s, 0.8 * 40.0);
    ensure!(!s.is_broken(), "the connection broke; {}", t.story());
    ensure!(both > 0.8 * 40.0, "{both:.1} of 40 Mbit/s after the link came back; {}", t.story());
    Ok(())
}

/// Measures for three seconds, up to four times, until `enough` Mbit/s come: how soon an inner CUBIC flow grows into a link
/// that is new depends on where its slow start had ended.
fn fastest(s: &Stream, enough: f64) -> f64 {
    let each = (0..4).map(|_| s.measure(Duration::from_secs(3)));
    let mut best: f64 = 0.0;
    for mbit in each {
        best = best.max(mbit);
        if best > enough {
            break;
        }
    }
    best
}

fn one_way_only() -> Outcome {
    let bed = Bed::new(Scenario::of("one-way", &[(20, 10), (20, 20)]))?;
    let mut t = Tunnel::up(&bed, &Setup::of(&bed))?;
    let _server = Server::start(&bed.proxy)?;
    // Whoever sends into the cut must see it; the other direction may go on.
    for (way, sender) in [(Way::Up, Side::Router), (Way::Down, Side::Proxy)] {
        bed.emulator.set_cut(1, way, Cut::Cut);
        t.wait_row(sender, "the link is seen to be out", Duration::from_secs(8), |row| {
            row.channels.iter().any(|c| c.state != ChannelState::Up)
        })?;
        let p = probe(&bed.router, TUN_PROXY4, 100, Duration::from_millis(10), 200)?;
        ensure!(p.lost() == 0, "{way:?} cut: {} of 100 probes lost; {}", p.lost(), t.story());
        bed.emulator.set_cut(1, way, Cut::Whole);
        t.wait_channels(2, Duration::from_secs(10))?;
    }
    Ok(())
}

fn link_appears_later() -> Outcome {
    let bed = Bed::new(Scenario::of("later", &[(20, 10), (20, 20)]))?;
    bed.unplug(1)?;
    let mut t = Tunnel::start(&bed.router, &bed.proxy, &Setup::of(&bed))?;
    let _server = Server::start(&bed.proxy)?;
    t.wait_channels(1, START)?;
    let row = t.row(Side::Router)?;
    let missing = row.channels.iter().filter(|c| c.state == ChannelState::Missing).count();
    ensure!(missing == 1, "{missing} links missing in {row:?}");
    let s = Stream::start(&bed.router, TUN_PROXY4, Load::Download, Duration::from_secs(5))?;
    bed.plug(1)?;
    t.wait_channels(2, Duration::from_secs(10))?;
    sys::sleep_until(sys::now() + 2 * SECOND);
    let both = fastest(&s, 0.8 * 40.0);
    ensure!(both > 0.8 * 40.0, "{both:.1} of 40 Mbit/s after the link has come; {}", t.story());
    bed.unplug(1)?;
    t.wait_row(Side::Router, "the link is missing again", Duration::from_secs(8), |row| {
        row.channels.iter().any(|c| c.state != ChannelState::Up)
    })?;
    let one = s.measure(Duration::from_secs(3));
    ensure!(!s.is_broken(), "the connection broke; {}", t.story());
    ensure!(one > 0.7 * 20.0, "{one:.1} of 20 Mbit/s after the link was pulled out; {}", t.story());
    bed.plug(1)?;
    t.wait_channels(2, Duration::from_secs(10))?;
    Ok(())
}

fn no_link_at_the_start() -> Outcome {
    let bed = Bed::new(Scenario::of("none", &[(20, 10)]))?;
    bed.unplug(0)?;
    let mut t = Tunnel::start(&bed.router, &bed.proxy, &Setup::of(&bed))?;
    t.wait_row(Side::Router, "its only link is missing", START, |row| {
        row.channels.iter().all(|c| c.state == ChannelState::Missing)
    })?;
    bed.plug(0)?;
    t.wait_channels(1, Duration::from_secs(10))?;
    Ok(())
}

fn small_mtu() -> Outcome {
    let mut scenario = Scenario::of("pppoe", &[(20, 10), (20, 20)]);
    scenario.links[1].mtu = 1492;
    let bed = Bed::new(scenario)?;
    let t = Tunnel::up(&bed, &Setup::of(&bed))?;
    let _server = Server::start(&bed.proxy)?;
    let shown = bed.router.ip(&format!("link show dev {DEVICE}"))?;
    ensure!(shown.contains("mtu 1500 "), "not as everywhere else: {shown}");
    // Up to 1500 bytes with headers, and those around what one datagram of either link takes.
    for size in [1_380, 1_403, 1_404, 1_405, 1_411, 1_412, 1_413, 1_426, 1_472] {
        let p = probe(&bed.router, TUN_PROXY4, 20, Duration::from_millis(5), size)?;
        ensure!(p.lost() == 0 && p.twice == 0, "{size} bytes: {} of 20 lost; {}", p.lost(), t.story());
    }
    ensure!(t.row(Side::Proxy)?.outbound.split > 0, "nothing went in halves: {}", t.story());
    let s = Stream::start(&bed.router, TUN_PROXY4, Load::Download, Duration::from_secs(5))?;
    sys::sleep_until(sys::now() + 2 * SECOND);
    let both = s.measure(Duration::from_secs(3));
    ensure!(both > 0.8 * 40.0, "{both:.1} of 40 Mbit/s; {}", t.story());
    let dropped = t.status(Side::Router)?.dropped;
    ensure!(dropped.unsent == 0, "{dropped:?}");
    Ok(())
}

fn no_route() -> Outcome {
    let bed = Bed::new(Scenario::of("routeless", &[(20, 10), (20, 20)]))?;
    bed.router.ip("route flush table 101")?;
    let mut t = Tunnel::start(&bed.router, &bed.proxy, &Setup::of(&bed))?;
    t.wait_channels(1, START)?;
    t.wait_row(Side::Router, "the missing route is named", START, |row| {
        row.channels.iter().any(|c| c.why.contains("no route to 10.79.0.2 through wan1"))
    })?;
    Ok(())
}
